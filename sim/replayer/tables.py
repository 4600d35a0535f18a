"""A replay and a log's noise, as tables and sentences for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plateau_rule.sim.lint import lint
from plateau_rule.sim.logs import Log
from plateau_rule.sim.noise import Noise, NoiseError, noise_of
from plateau_rule.sim.replayer.timeline import Timeline
from plateau_rule.sim.replayer.verdict import verdict_of

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Where tables go; as wide as the terminal, or 120 columns into a file."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False, width=width)


def print_noise(noise: Noise) -> None:
    """Print noise, spikes and trend of a log."""
    print(f"noise     sigma {noise.sigma:.2%} of the loss, rho {noise.rho:.2f} from one point to the next", end="")
    print(f" ({noise.sigma_first:.2%} in the first quarter, {noise.sigma_last:.2%} in the last)")
    share = noise.spikes / noise.points
    height = f", as a rule by {noise.spike_height:.1%}" if noise.spikes else ""
    print(f"spikes    {noise.spikes:,} of {noise.points:,} points ({share:.2%}) stand out upwards{height}")
    first, last = noise.told(noise.fall_first), noise.told(noise.fall_last)
    print(f"trend     falls {first} in the first quarter, {last} in the last")
    if noise.points < 200:
        print(f"          estimated from {noise.points} points only: take these figures as rough")


def print_why(timeline: Timeline, step: int) -> None:
    """Print every guard as it stood when a step was planned."""
    plan = timeline.final
    print(f'{timeline.curriculum.name}, step {step:,} (epoch {plan.epoch}), state "{plan.state}":')
    for line in timeline.lines:
        print(f"  {line}")


def print_timelines(log: Log, timelines: Sequence[Timeline]) -> None:
    """Everything a person wants to know of a replay, the verdict first."""
    out = console()
    try:
        noise: Noise | None = noise_of(log)
    except NoiseError:
        noise = None
    verdicts = [verdict_of(timeline, noise) for timeline in timelines]
    for timeline, verdict in zip(timelines, verdicts, strict=True):
        print(f"{timeline.curriculum.name}. {verdict.line}" if len(timelines) > 1 else verdict.line)
    print()
    print(log.report)
    for timeline, verdict in zip(timelines, verdicts, strict=True):
        print(f"\n{timeline.curriculum.name}: {timeline.points:,} points")
        for note in timeline.notes:
            print(f"  {note}")
        for reason, count in timeline.skipped.items():
            if reason not in log.report.dropped:
                print(f"  {count:,} points: {reason}")
        print()
        out.print(_transitions_table(timeline))
        out.print(_guards_table(timeline))
        final = timeline.final
        knobs = ", ".join(f"{name} {value}" for name, value in final.knobs.items())
        end = f'Ends at step {timeline.shown(final.step):,} in state "{final.state}" ({knobs}, rate {final.lr:.3g})'
        print(f"{end}: {timeline.ended}.")
        print(_what_it_tells(timeline))
        if verdict.details:
            print(f"\n{verdict.details}")
        for each in lint(timeline.curriculum, noise) if noise is not None else ():
            if each.warning:
                print(f"warning: {each}")
    if len(timelines) > 1:
        out.print(_summary_table(timelines, noise))


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
