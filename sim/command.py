"""The commands `replay`, `noise` and `plot`. What they need is imported when they are called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from controller.errors import PlateauError

if TYPE_CHECKING:
    from rich.console import Console

    from sim.logs import Log
    from sim.noise import Noise
    from sim.setting import Given
    from sim.timeline import Timeline

Progress = Callable[[int, int | None], None]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Several = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]


class UsageError(PlateauError):
    """Words on the command line that do not go together."""


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How to read the log."""

    column: str | None = None
    """Column (key, tag) that holds the losses."""
    metric: str | None = None
    """The same without the name of the run, where columns carry one."""
    step_column: str | None = None
    """Column that holds the steps."""
    run: str | None = None
    """Which run, where the log holds several: its name, a part of it, or its number."""
    repeats: Literal["last", "first"] = "last"
    """Which loss of a step that is logged more than once to use."""
    ema: float | None = None
    """Coefficient of an exponential moving average to take back, from 0 to below 1."""
    keep_zeros: Flag = False
    """Take exact zeros in Hugging Face logs for zeros; they stand for NaN otherwise."""


@Parameter(name="*")
@dataclass(frozen=True)
class Binding:
    """What the run was, where neither its record nor the log tells."""

    epochs: int | None = None
    """Epochs in the run."""
    steps_per_epoch: int | None = None
    """Optimizer steps in an epoch."""
    tokens_per_step: int | None = None
    """Tokens in an optimizer step."""
    limit: Several = ()
    """Largest value of a knob, as cutoff=1025; once for each knob."""
    peak: float | None = None
    """Peak learning rate, in place of the curriculum's."""
    lag: int | None = None
    """Steps by which losses reach the controller late."""

    def given(self) -> Given:
        """The same as data, limits read."""
        from sim.setting import Given

        limits = dict(map(_limit, self.limit)) or None
        return Given(limits, self.epochs, self.steps_per_epoch, self.tokens_per_step, self.peak, self.lag)


READING, BINDING = Reading(), Binding()


def _limit(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        if name and equals:
            return name, int(number) if number.isdigit() else float(number)
    except ValueError:
        pass
    raise UsageError(f"--limit {text}: expected KNOB=NUMBER, for instance --limit cutoff=1025")


def replay(
    *words: str,
    log: Several = (),
    json: Flag = False,
    plot: Path | None = None,
    why: int | None = None,
    first_only: Flag = False,
    reading: Reading = READING,
    binding: Binding = BINDING,
) -> None:
    """Show logged losses to a curriculum: when would it have raised, and why not earlier?

    `plateau replay CURRICULUM LOG...` replays one curriculum, over logs that are parts of one run.
    `plateau replay A.toml B.toml --log LOG` puts several side by side.

    Args:
        words: a curriculum and its logs; or, with --log, several curricula.
        log: a log; several are parts of one run. All other words are curricula then.
        json: print one JSON object instead of tables.
        plot: draw a picture into this file, .png or .svg.
        why: print every guard as it stood when this step was planned.
        first_only: stop after the first transition; what comes after it, a log cannot tell.
        reading: how to read the log.
        binding: what the run was.
    """
    from controller import load
    from sim.replay import replay as replay_log

    curricula, logs = _sorted_out(words, log)
    if plot is not None:
        from sim.plots import drawable

        drawable(plot)
    loaded = [load(name) for name in curricula]
    given = binding.given()
    history = _read(logs, reading)
    timelines = []
    for curriculum in loaded:
        with _bar(f"replaying {curriculum.name}", "points") as progress:
            timelines.append(
                replay_log(curriculum, history, given, first_only=first_only, until=why, progress=progress)
            )
    if json:
        found = [timeline.as_dict() for timeline in timelines]
        _print_json(found[0] if len(found) == 1 else {"timelines": found})
    elif why is not None:
        for timeline in timelines:
            _print_why(timeline, why)
    else:
        _print_timelines(history, timelines)
    if plot is not None:
        from sim.plots import draw, picture_of

        title = f"{', '.join(each.curriculum.name for each in timelines)} over {', '.join(map(_short, logs))}"
        path = draw([picture_of(timeline) for timeline in timelines], plot, title)
        print(f"Drawn: {path}", file=sys.stderr)


def noise(
    *logs: str,
    curriculum: str = "plateau",
    json: Flag = False,
    reading: Reading = READING,
) -> None:
    """Estimate the noise of a log, and whether a curriculum's windows can tell a plateau from it.

    Args:
        logs: logs that are parts of one run.
        curriculum: whose plateau guards to look at: a file, or the name of a shipped one.
        json: print one JSON object instead of sentences.
        reading: how to read the log.
    """
    from dataclasses import asdict

    from controller import load
    from sim.noise import lint, noise_of

    guards = load(curriculum)
    history = _read(logs, reading)
    found = noise_of(history)
    lints = lint(guards, found)
    if json:
        _print_json({**asdict(found), "curriculum": guards.name, "guards": [asdict(each) for each in lints]})
        return
    print(history.report)
    print()
    _print_noise(found)
    if lints:
        print(f'\nWhat it does to curriculum "{guards.name}":')
    for each in lints:
        print(f"{'warning' if each.warning else 'ok'}: {each}")


def plot(
    *runs: str,
    out: Path = Path("curve.png"),
    steps_per_epoch: int | None = None,
    reading: Reading = READING,
) -> None:
    """Draw runs: losses, states, knobs and rate on one time axis.

    Args:
        runs: runs to draw above each other: folders of ours, or logs.
        out: the picture to write, .png or .svg.
        steps_per_epoch: optimizer steps in an epoch, for the axis of epochs.
        reading: how to read the logs.
    """
    from sim.plots import draw, drawable, picture_of_log

    if not runs:
        raise UsageError("plateau plot: name a run's folder or a log")
    drawable(out)
    pictures = [picture_of_log(_read([run], reading), _short(run), steps_per_epoch) for run in runs]
    print(f"Drawn: {draw(pictures, out)}")


# Words


def _sorted_out(words: Sequence[str], logs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which words are curricula, and which are logs."""
    if logs:
        if not words:
            raise UsageError("plateau replay: name a curriculum, by its file or by the name of a shipped one")
        return list(words), list(logs)
    if len(words) < 2:
        raise UsageError("plateau replay: name a curriculum and a log: plateau replay CURRICULUM LOG...")
    if second := next((word for word in words[1:] if word.endswith(".toml")), None):
        raise UsageError(f"{second} is a curriculum; with more than one, name the log by --log LOG")
    return [words[0]], list(words[1:])


def _short(run: str) -> str:
    path = Path(run).resolve()
    return path.parent.name if path.name == "metrics.jsonl" else path.name


def _read(logs: Sequence[str], reading: Reading) -> Log:
    from sim.logs import read

    if not logs:
        raise UsageError("name a log, or the folder of a run")
    if reading.ema is not None and not 0 <= reading.ema < 1:
        raise UsageError(f"--ema {reading.ema:g}: expected a coefficient from 0 to below 1")
    with _bar("reading", "bytes") as progress:
        return read(
            list(logs),
            column=reading.column,
            metric=reading.metric,
            step_column=reading.step_column,
            run=reading.run,
            repeats=reading.repeats,
            ema=reading.ema,
            keep_zeros=reading.keep_zeros,
            progress=progress,
        )


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Progress | None]:
    """A progress bar on the standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield show


# Showing


def _print_json(found: Any) -> None:
    import json

    print(json.dumps(found, allow_nan=False))


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False, width=width)


def _print_noise(noise: Noise) -> None:
    print(f"noise     sigma {noise.sigma:.2%} of the loss, rho {noise.rho:.2f} from one point to the next", end="")
    print(f" ({noise.sigma_first:.2%} in the first quarter, {noise.sigma_last:.2%} in the last)")
    share = noise.spikes / noise.points
    height = f", as a rule by {noise.spike_height:.1%}" if noise.spikes else ""
    print(f"spikes    {noise.spikes:,} of {noise.points:,} points ({share:.2%}) stand out upwards{height}")
    first, last = noise.told(noise.fall_first), noise.told(noise.fall_last)
    print(f"trend     falls {first} in the first quarter, {last} in the last")
    if noise.points < 200:
        print(f"          estimated from {noise.points} points only: take these figures as rough")


def _print_why(timeline: Timeline, step: int) -> None:
    plan = timeline.final
    print(f'{timeline.curriculum.name}, step {step:,} (epoch {plan.epoch}), state "{plan.state}":')
    for line in timeline.lines:
        print(f"  {line}")


def _print_timelines(log: Log, timelines: Sequence[Timeline]) -> None:
    """Everything a person wants to know of a replay, the log first."""
    from sim.noise import NoiseError, lint, noise_of
    from sim.verdict import verdict_of

    console = _console()
    print(log.report)
    try:
        noise: Noise | None = noise_of(log)
    except NoiseError:
        noise = None
    for timeline in timelines:
        print(f"\n{timeline.curriculum.name}: {timeline.points:,} points")
        for note in timeline.notes:
            print(f"  {note}")
        for reason, count in timeline.skipped.items():
            if reason not in log.report.dropped:
                print(f"  {count:,} points: {reason}")
        print()
        console.print(_transitions_table(timeline))
        console.print(_guards_table(timeline))
        final = timeline.final
        knobs = ", ".join(f"{name} {value}" for name, value in final.knobs.items())
        end = f'Ends at step {timeline.shown(final.step):,} in state "{final.state}" ({knobs}, rate {final.lr:.3g})'
        print(f"{end}: {timeline.ended}.")
        print(_what_it_tells(timeline))
        print()
        print(verdict_of(timeline, noise))
        for each in lint(timeline.curriculum, noise) if noise is not None else ():
            if each.warning:
                print(f"warning: {each}")
    if len(timelines) > 1:
        console.print(_summary_table(timelines, noise))


def _summary_table(timelines: Sequence[Timeline], noise: Noise | None) -> Any:
    """Several curricula side by side, a line each."""
    from rich.table import Table

    from sim.verdict import verdict_of

    table = Table(box=None, pad_edge=False, header_style="bold", title="\nSide by side", title_justify="left")
    for name in ("curriculum", "transitions at steps", "ends in", "rate there", "verdict"):
        table.add_column(name)
    for timeline in timelines:
        steps = ", ".join(f"{timeline.shown(decision.step):,}" for decision in timeline.decisions[:8])
        more = f", … ({len(timeline.decisions)} in all)" if len(timeline.decisions) > 8 else ""
        final = timeline.final
        table.add_row(
            timeline.curriculum.name,
            (steps or "none") + more,
            final.state,
            f"{final.lr:.3g}",
            verdict_of(timeline, noise).word,
        )
    return table


def _transitions_table(timeline: Timeline) -> Any:
    from rich.table import Table

    if not timeline.decisions:
        return "No transition.\n"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("step", "epoch"):
        table.add_column(name, justify="right")
    for name in ("transition", *timeline.curriculum.knob, "rate"):
        table.add_column(name, no_wrap=True)
    table.add_column("loss", justify="right")
    table.add_column("because")
    for decision in timeline.decisions:
        knobs = [
            f"{decision.knobs_before[name]} → {decision.knobs[name]}"
            if decision.knobs_before[name] != decision.knobs[name]
            else f"{decision.knobs[name]}"
            for name in timeline.curriculum.knob
        ]
        table.add_row(
            f"{timeline.shown(decision.step):,}",
            f"{decision.epoch:,}",
            f"{decision.from_state} → {decision.to_state}",
            *knobs,
            f"{decision.lr_before:.3g} → {decision.lr:.3g}",
            "" if decision.loss is None else f"{decision.loss:.4g}",
            "\n".join(line.strip().removesuffix(" -> true") for line in decision.guards[1:]),
        )
    return table


def _guards_table(timeline: Timeline) -> Any:
    """For each state, how close each guard came at the looks that took nothing."""
    from rich.table import Table

    per_epoch = timeline.setting.steps_per_epoch
    share = f" (of looks at every step, one in {timeline.sampled} is counted)" if timeline.sampled > 1 else ""
    title = f"\nWhere it was held{share}"
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for name in ("state", "steps", "epochs", "guard", "true at", "closest"):
        table.add_column(name, justify="right" if name == "epochs" else "left", no_wrap=name in ("steps", "true at"))
    for stay in timeline.stays:
        stop = timeline.final.step if stay.left is None else stay.left
        steps = f"{timeline.shown(stay.entered):,} to {timeline.shown(max(stay.entered, stop - 1)):,}"
        epochs = "" if per_epoch is None else f"{(stop - stay.entered) / per_epoch:.1f}"
        asked = [each for each in stay.asked if each.looks]
        if not asked:
            reason = "no look that took nothing" if stay.asked else "final: nothing to be held from"
            table.add_row(stay.state, steps, epochs, "", "", reason)
        for place, each in enumerate(asked):
            head = (stay.state, steps, epochs) if place == 0 else ("", "", "")
            closest = each.closest.removeprefix(f"{each.guard}: ")
            seen = f"{each.true:,} of {each.looks:,} looks"
            table.add_row(*head, each.guard, seen, f"{closest} (step {timeline.shown(each.closest_step):,})")
    return table


def _what_it_tells(timeline: Timeline) -> str:
    """What a replay can and cannot tell, of this one."""
    if timeline.answers:
        return "The run that wrote this log made these very transitions, on the same steps."
    told = "The run that wrote this log made other transitions. " if timeline.answers is False else ""
    if not timeline.decisions:
        return f"{told}Without a transition, this is what would have happened."
    first = timeline.shown(timeline.decisions[0].step)
    return (
        f"{told}Up to the first transition (step {first:,}) this is what would have happened. From there on the log is "
        "a stand-in: its losses do not answer to the raise or to the rate. --first-only stops there."
    )
