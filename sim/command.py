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
    from sim.logs import Log
    from sim.setting import Given

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
    from sim.tables import print_timelines, print_why

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
            print_why(timeline, why)
    else:
        print_timelines(history, timelines)
    if plot is not None:
        from sim.picture import picture_of
        from sim.plots import draw

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
    from sim.tables import print_noise

    guards = load(curriculum)
    history = _read(logs, reading)
    found = noise_of(history)
    lints = lint(guards, found)
    if json:
        _print_json({**asdict(found), "curriculum": guards.name, "guards": [asdict(each) for each in lints]})
        return
    print(history.report)
    print()
    print_noise(found)
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
    from sim.picture import picture_of_log
    from sim.plots import draw, drawable

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


def _print_json(found: Any) -> None:
    import json

    print(json.dumps(found, allow_nan=False))
