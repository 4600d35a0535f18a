"""A replay and a log's noise, as tables and sentences for people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from plateau_rule.controller.plan import Decision
from plateau_rule.sim.lint import lint
from plateau_rule.sim.logs import Log
from plateau_rule.sim.noise import Noise, NoiseError, noise_of
from plateau_rule.sim.periods import FEWEST, REPEATS
from plateau_rule.sim.replayer.timeline import Timeline
from plateau_rule.sim.replayer.verdict import verdict_of

if TYPE_CHECKING:
    from rich.console import Console

LONG = 30  # letters of a knob's change, above which it is broken: a mixture of sources
WIDE = 100  # columns, below which there are lines in place of tables


def console() -> Console:
    """Where tables go; as wide as the terminal, or 120 columns into a file."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False, width=columns() or 120)


def columns() -> int | None:
    """How many columns there are to print in; None into a file or a pipe, where lines may be long."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return None


def say(text: str) -> None:
    """Print lines, those that are too wide for the terminal broken, and what follows set in as far as their text."""
    room = columns()
    for line in text.split("\n"):
        label = len(line) - len(line[12:].lstrip()) if line.startswith("  ") and line[2:3].isalpha() else 0
        indent = label if 0 < label <= 20 and "  " in line.strip() else len(line) - len(line.lstrip(" -")) or 2
        print(
            "\n".join(wrap(line, room, subsequent_indent=" " * indent, break_on_hyphens=False))
            if room and len(line) > room
            else line
        )


def show(renderable: Any) -> None:
    """Print a table, without the blanks that fill its lines."""
    out = console()
    with out.capture() as captured:
        out.print(renderable)
    print("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def print_noise(noise: Noise) -> None:
    """Print noise, spikes and trend of a log."""
    quarters = f"({noise.sigma_first:.2%} in the first quarter, {noise.sigma_last:.2%} in the last)"
    told = f"sigma {noise.sigma:.2%} of the loss, rho {noise.rho:.2f} from one point to the next {quarters}"
    say(f"noise     {told}")
    share = noise.spikes / noise.points
    height = f", as a rule by {noise.spike_height:.1%}" if noise.spikes else ""
    say(f"spikes    {noise.spikes:,} of {noise.points:,} points ({share:.2%}) stand out upwards{height}")
    first, last = noise.told(noise.fall_first), noise.told(noise.fall_last)
    say(f"trend     falls {first} in the first quarter, {last} in the last")
    say(f"period    {_period_of(noise)}")
    if noise.points < 200:
        say(f"          estimated from {noise.points} points only: take these figures as rough")


def _period_of(noise: Noise) -> str:
    """With which period the losses repeat, and what covers it; or how long one could have been seen."""
    period = noise.period
    if period is None:
        if noise.points < FEWEST:
            return f"not looked for in fewer than {FEWEST} points"
        return f"none is seen, of up to {noise.points // REPEATS:,} losses ({REPEATS} repeats of it must be there)"
    return (
        f"the losses repeat every {noise.told_period(period)}, {period.repeats:.3g} times, with a swing of "
        f"±{period.swing:.2%}. A min_window of {period.window:,} covers it"
    )


def print_why(timeline: Timeline, step: int) -> None:
    """Print every guard as it stood when a step was planned."""
    plan = timeline.final
    print(f'{timeline.curriculum.name}, step {step:,} (epoch {plan.epoch}), state "{plan.state}":')
    for line in timeline.lines:
        print(f"  {line}")


def print_timelines(log: Log, timelines: Sequence[Timeline]) -> None:
    """Everything a person wants to know of a replay, the verdict first."""
    try:
        noise: Noise | None = noise_of(log, timelines[0].setting.steps_per_epoch)
    except NoiseError:
        noise = None
    verdicts = [verdict_of(timeline, noise) for timeline in timelines]
    for timeline, verdict in zip(timelines, verdicts, strict=True):
        say(f"{timeline.curriculum.name}. {verdict.line}" if len(timelines) > 1 else verdict.line)
    print()
    say(str(log.report))
    for timeline, verdict in zip(timelines, verdicts, strict=True):
        print(f"\n{timeline.curriculum.name}: {timeline.points:,} points")
        for note in timeline.notes:
            say(f"  {note}")
        for reason, count in timeline.skipped.items():
            if reason not in log.report.dropped:
                print(f"  {count:,} point{'s' * (count != 1)}: {reason}")
        print()
        if (columns() or WIDE) < WIDE:
            say("\n".join((*_transition_lines(timeline), "", *_guard_lines(timeline), "")))
        else:
            show(_transitions_table(timeline))
            show(_guards_table(timeline))
        final = timeline.final
        values = ", ".join([*(f"{name} {value}" for name, value in final.knobs.items()), f"rate {final.lr:.3g}"])
        end = f'Ends at step {timeline.shown(final.step):,} in state "{final.state}" ({values})'
        say(f"{end}: {timeline.ended}.")
        say(_what_it_tells(timeline))
        if verdict.details:
            print()
            say(verdict.details)
        for each in lint(timeline.curriculum, noise) if noise is not None else ():
            if each.warning:
                say(f"warning: {each}")
    if len(timelines) > 1:
        show(_summary_table(timelines, noise))


def data_of(log: Log, timelines: Sequence[Timeline]) -> list[dict[str, Any]]:
    """Replays as plain data for JSON, each with its verdict, the advice, and what noise does to its guards."""
    try:
        noise: Noise | None = noise_of(log, timelines[0].setting.steps_per_epoch)
    except NoiseError:
        noise = None
    found = []
    for timeline in timelines:
        lints = lint(timeline.curriculum, noise) if noise is not None else []
        found.append(
            timeline.as_dict()
            | verdict_of(timeline, noise).as_dict()
            | {"noise": None if noise is None else _plain(asdict(noise))}
            | {"guards": [_plain(asdict(each)) for each in lints]}
        )
    return found


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Values without numbers that JSON does not know."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in values.items()}


def _transition_lines(timeline: Timeline) -> list[str]:
    """The transitions as sentences, for a narrow terminal."""
    lines = []
    for decision in timeline.decisions:
        knobs = ", ".join(f"{name} {told}" for name, told in _knobs(timeline, decision).items())
        rate = f"rate {decision.lr_before:.3g} → {decision.lr:.3g}"
        loss = "" if decision.loss is None else f", loss {decision.loss:.4g}"
        step = f"step {timeline.shown(decision.step):,}, epoch {decision.epoch:,}"
        lines.append(f"{step}: {decision.from_state} → {decision.to_state}, {knobs}, {rate}{loss}")
        lines += [f"    {line.strip().removesuffix(' -> true')}" for line in decision.guards[1:]]
    return lines or ["No transition."]


def _knobs(timeline: Timeline, decision: Decision) -> dict[str, str]:
    """What a transition did to each knob."""
    before, after = decision.knobs_before, decision.knobs
    return {
        name: f"{before[name]} → {after[name]}" if before[name] != after[name] else f"{after[name]}"
        for name in timeline.curriculum.knob
    }


def _guard_lines(timeline: Timeline) -> list[str]:
    """How close each guard came, as sentences, for a narrow terminal."""
    per_epoch = timeline.setting.steps_per_epoch
    lines = ["Where it was held:"]
    for stay in timeline.stays:
        stop = timeline.final.step if stay.left is None else stay.left
        epochs = "" if per_epoch is None else f", {(stop - stay.entered) / per_epoch:.1f} epochs"
        last = timeline.shown(max(stay.entered, stop - 1))
        lines.append(f"{stay.state}, steps {timeline.shown(stay.entered):,} to {last:,}{epochs}")
        for each in stay.asked:
            if each.looks:
                closest = f"{each.closest.removeprefix(f'{each.guard}: ')} (step {timeline.shown(each.closest_step):,})"
                lines.append(f"    {each.guard}: true at {each.true:,} of {each.looks:,} looks; closest {closest}")
    return lines


def _summary_table(timelines: Sequence[Timeline], noise: Noise | None) -> Any:
    """Several curricula side by side, a line each."""
    from rich.table import Table

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
    shown = [_knobs(timeline, decision) for decision in timeline.decisions]
    table.add_column("transition", no_wrap=True)
    for name in timeline.curriculum.knob:
        table.add_column(name, no_wrap=all(len(knobs[name]) <= LONG for knobs in shown))
    table.add_column("rate", no_wrap=True)
    table.add_column("loss", justify="right")
    table.add_column("because")
    for decision, knobs in zip(timeline.decisions, shown, strict=True):
        table.add_row(
            f"{timeline.shown(decision.step):,}",
            f"{decision.epoch:,}",
            f"{decision.from_state} → {decision.to_state}",
            *knobs.values(),
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
            reason = "final: nothing to be held from"
            if stay.asked:
                reason = "never looked at" if stay.left is None else "left at the first look"
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
        return "The run that wrote this log made the same transitions, on the same steps."
    told = "The run that wrote this log made other transitions. " if timeline.answers is False else ""
    if not timeline.decisions:
        return f"{told}Without a transition, this is what would have happened."
    first = timeline.shown(timeline.decisions[0].step)
    return (
        f"{told}Up to the first transition (step {first:,}) this is what would have happened. From there on the log is "
        "a stand-in: its losses do not answer to the raise or to the rate. --first-only stops there."
    )
