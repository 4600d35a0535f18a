"""What to turn on a curriculum so that its raises come earlier, or later; never what the noise of a log forbids."""

from __future__ import annotations

from collections.abc import Sequence

from plateau_rule.controller.guards import WORDS
from plateau_rule.controller.guards.dwell import PAUSE, Dwell
from plateau_rule.controller.guards.plateau import Plateau
from plateau_rule.controller.guards.word import Advice, MetricWord
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.sim.lint import plateaus, rate_of, threshold_for, whole_repeats
from plateau_rule.sim.noise import FALSE_ALLOWED, Noise, false_raise, window_needed
from plateau_rule.sim.replayer.lines import SURE, slope_of
from plateau_rule.sim.replayer.timeline import Asked, Timeline
from plateau_rule.sim.replayer.trace import Floats

LONGER_LOG = "the noise of this log hides what the threshold asks for: no window that fits into it can tell"
LEAST = f"add {PAUSE} to the guards, so that a raise is never answered by the next look"


def _dwell(timeline: Timeline) -> tuple[str, ...]:
    """To wait after a raise, unless the curriculum does already."""
    asked = {each.guard.rpartition("(")[2].rstrip(")") for stay in timeline.stays for each in stay.asked}
    return () if Dwell.name in asked else (LEAST,)


def later(timeline: Timeline, spec: Plateau | None, noise: Noise | None) -> tuple[str, ...]:
    """What makes raises come later: first the window (noise), then the threshold (rate)."""
    if spec is None or spec.method == "returns" or noise is None:
        left = [stay for stay, decision in zip(timeline.stays, timeline.decisions, strict=False) if decision.raises]
        turned = (asked.advice for stay in left for asked in stay.asked if asked.watches)
        return (*dict.fromkeys(advice.later for advice in turned if advice is not None), *_dwell(timeline))
    turn, run = [], timeline.setting.binding.run
    rate = rate_of(spec, run, noise.steps)
    needed = whole_repeats(window_needed(rate, noise.sigma, noise.rho), rate, noise)
    longer = needed
    if spec.method == "halves":
        now = false_raise(spec.window, rate * spec.window / 2, noise.sigma, noise.rho)
        if now > FALSE_ALLOWED and needed > spec.window:
            threshold = threshold_for(spec, rate, needed, run, noise.steps)
            if needed > noise.points or threshold >= 1:
                turn.append(LONGER_LOG)
                longer = spec.window
            else:
                then = false_raise(needed, rate * needed / 2, noise.sigma, noise.rho)
                turn.append(
                    f"first lengthen window from {spec.window} to {needed}, with threshold = {threshold:.3g} to keep "
                    f"the rate: in this noise (sigma {noise.sigma:.1%}) a look at twice the threshold then fires "
                    f"falsely with {then:.1%}, not {now:.1%}"
                )
    window = max(spec.window, longer) if spec.method == "halves" else spec.window
    raised = zip(timeline.decisions, timeline.before, strict=True)
    before = [losses for decision, losses in raised if decision.raises]
    falls = max((_clear_fall(losses, noise, max(window, needed)) for losses in before), default=0.0)
    if 0 < falls <= 2 * rate:
        lower = threshold_for(spec, falls / 2, window, run, noise.steps)
        beside = f" (at window = {window})" if spec.method == "halves" else ""
        turn.append(
            f"{'then ' if turn else ''}lower threshold to {lower:.2g}{beside}: the loss still fell {noise.told(falls)} "
            "when it was raised"
        )
    if spec.method == "halves":
        turn.append('or let method = "trend" decide, which waits until the noise allows an answer')
    return (*turn, *_dwell(timeline))


def _clear_fall(losses: Floats, noise: Noise, window: int) -> float:
    """How fast losses fall, by the fewest of them that tell it from noise; 0 if all of them do not."""
    while (found := slope_of(losses, noise, window)) is not None:
        if found[0] > SURE * found[1]:
            return found[0]
        if window >= len(losses):
            break
        window *= 2
    return 0.0


def earlier(
    timeline: Timeline, held: Sequence[tuple[Asked, int]], spec: Plateau | None, noise: Noise | None
) -> tuple[str, ...]:
    """What makes raises come earlier, for the guards that held, each with the epoch from which on it did."""
    turn: dict[str, None] = {}
    for asked, epoch in held:
        closest = f"{asked.closest.removeprefix(f'{asked.guard}: ')} at step {timeline.shown(asked.closest_step):,}"
        if asked.unknown == asked.looks:
            turn[f"{asked.guard} never had enough losses to answer ({closest}): shorten its window"] = None
        elif asked.advice is None:
            continue
        elif asked.watches:
            turn[f"{_looser(asked.advice, spec, noise, timeline)} (closest: {closest})"] = None
        else:
            turn[f"{asked.advice.earlier}: the loss is flat from epoch {epoch} on ({closest})"] = None
    return tuple(turn)


def _looser(advice: Advice, spec: Plateau | None, noise: Noise | None, timeline: Timeline) -> str:
    """What makes a guard come earlier, without a window shorter than the noise allows."""
    if spec is not None and noise is not None and spec.method == "halves" and "shorten window" in advice.earlier:
        needed = window_needed(rate_of(spec, timeline.setting.binding.run, noise.steps), noise.sigma, noise.rho)
        if spec.window <= needed:
            return f"raise threshold; the window is no longer than this noise asks for ({needed})"
    return advice.earlier


def watches(title: str) -> bool:
    """Whether a guard asks about a metric, by the word that its title ends with."""
    return isinstance(WORDS.get(title.rpartition("(")[2].rstrip(")")), MetricWord)


def plateau_of(curriculum: Curriculum) -> Plateau | None:
    """The first plateau guard on the loss."""
    return next((guard.value for guard, _, _ in plateaus(curriculum)), None)
