"""Healthy, too fast or too slow, by the signs of the rule itself, and what to turn, in which direction, by how much.

Healthy: a raise every 2 to 5 epochs, each with a spike and a quick recovery below the old plateau. Too fast: a raise at
every look, a loss that never settles, a rising loss called flat. Too slow: a loss that is flat for 10 epochs and more
without a raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from plateau_rule.controller.guards.dwell import PAUSE
from plateau_rule.controller.guards.plateau import Plateau
from plateau_rule.controller.language.amounts import RunLength
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.sim.logs import read
from plateau_rule.sim.noise import (
    ANOTHER_METRIC,
    BOTH_SIDES,
    FALSE_ALLOWED,
    Noise,
    NoiseError,
    false_raise,
    noise_of,
    plateaus,
    rate_of,
    threshold_for,
    window_needed,
)
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.timeline import Asked, Stay, Timeline
from plateau_rule.sim.replayer.trace import Floats

QUICKEST, SLOWEST, FLAT = 2, 5, 10  # epochs
SURE = 2.0  # standard errors
PUBLISHED = Plateau()  # window 50, threshold 0.005


@dataclass(frozen=True)
class Verdict:
    """What became of a run, or would have.

    word: "healthy", "too fast", "too slow" or "unclear". signs: what speaks for it, in sentences. turn: what to change.
    """

    word: str
    signs: tuple[str, ...]
    turn: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"Verdict: {self.word}", *(f"  - {sign}" for sign in self.signs)]
        if self.turn:
            lines += ["What to turn:", *(f"  - {each}" for each in self.turn)]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain data for JSON."""
        return {"verdict": self.word, "signs": list(self.signs), "turn": list(self.turn)}


@dataclass(frozen=True)
class _Raise:
    """One raise: the stay that it ended, the transition, and the losses before it."""

    step: int
    stay: Stay
    after: Stay
    transition: str
    losses: Floats
    by_loss: bool  # whether a guard on a metric had a say


def verdict_of_run(curriculum: Curriculum, folder: str | Path) -> Verdict:
    """Judge a run of our own by the folder that it wrote.

    curriculum: what it ran under. folder: holds metrics.jsonl and run.json.
    Raises LogError or ReplayError where the folder holds no such run.
    """
    log = read(Path(folder) / "metrics.jsonl")
    try:
        noise: Noise | None = noise_of(log)
    except NoiseError:
        noise = None
    return verdict_of(replay(curriculum, log), noise)


def verdict_of(timeline: Timeline, noise: Noise | None = None) -> Verdict:
    """Judge a replay.

    timeline: what `replay` gave. noise: the log's, without which nothing can be said about single raises.
    """
    if noise is not None and noise.crosses_zero and _plateau_of(timeline.curriculum) is not None:
        return Verdict("unclear", (BOTH_SIDES,), (ANOTHER_METRIC,))
    raises = list(_raises(timeline))
    spec = _plateau_of(timeline.curriculum)
    fast = [*_at_every_look(raises, timeline), *_against_the_loss(raises, timeline, spec, noise)]
    unsettled, recovered = _settling(raises, timeline, spec)
    fast += unsettled
    slow, held = _flat_stretches(timeline)
    if fast and slow:
        clocks = [(asked, epoch) for asked, epoch in held if not asked.watches]
        return Verdict("unclear", (*fast, *slow), (*_earlier(timeline, clocks), *_later(timeline, spec, noise)))
    if fast:
        return Verdict("too fast", tuple(fast), _later(timeline, spec, noise))
    if slow:
        return Verdict("too slow", tuple(slow), _earlier(timeline, held))
    return _quiet(raises, timeline, recovered)


def _raises(timeline: Timeline) -> Iterator[_Raise]:
    for place, decision in enumerate(timeline.decisions):
        if not decision.raises:
            continue
        stay, after = timeline.stays[place], timeline.stays[place + 1]
        by_loss = any(asked.transition == decision.transition and asked.watches for asked in stay.asked)
        yield _Raise(decision.step, stay, after, decision.transition, timeline.before[place], by_loss)


def _run_of(timeline: Timeline) -> RunLength:
    return timeline.setting.binding.run


def _plateau_of(curriculum: Curriculum) -> Plateau | None:
    """The first plateau guard on the loss."""
    return next((guard.value for guard, _, _ in plateaus(curriculum)), None)


# Too fast


def _at_every_look(raises: Sequence[_Raise], timeline: Timeline) -> Iterator[str]:
    """A raise in every epoch, or at every look: twice and more, within 2 epochs of each other, and no look said no.

    Where the losses do not answer to the raises, they must have gone on falling; if they are flat, nothing else could
    have happened.
    """
    decided = [each for each in raises if each.by_loss]
    per_epoch = timeline.setting.steps_per_epoch
    if len(decided) < 2:
        return
    apart = [inf if per_epoch is None else (b.step - a.step) / per_epoch for a, b in pairwise(decided)]
    steps = ", ".join(f"{timeline.shown(each.step):,}" for each in decided)
    if max(apart) <= 1:
        told = f"a raise in every epoch (steps {steps})"
    elif not any(each.stay.refused for each in decided) and (per_epoch is None or max(apart) < QUICKEST):
        told = f"a raise at every look that could bring one (steps {steps})"
    else:
        return
    if timeline.answers:
        yield told
        return
    first, last = decided[0].losses[-PUBLISHED.window :], decided[-1].losses[-PUBLISHED.window :]
    fell = (first.mean() - last.mean()) / abs(first.mean()) if len(first) and len(last) and first.mean() else 0.0
    if fell > PUBLISHED.threshold:
        yield f"{told}, while the logged loss went on falling, by {fell:.1%} between the first and the last"


def _against_the_loss(
    raises: Sequence[_Raise], timeline: Timeline, spec: Plateau | None, noise: Noise | None
) -> Iterator[str]:
    """Raises while the loss fell at twice the rate asked, or rose: by a line through more losses than the guard had."""
    if noise is None or spec is None or spec.method == "returns":
        return
    rate = rate_of(spec, _run_of(timeline), noise.steps)
    for each in raises:
        found = slope_of(each.losses, noise, max(spec.window, window_needed(rate, noise.sigma, noise.rho)))
        if found is None or not each.by_loss:
            continue
        falls, error = found
        where = f'step {timeline.shown(each.step):,} ("{each.stay.state}" -> "{each.after.state}")'
        if falls - SURE * error > 2 * rate:
            yield (
                f"{where}: raised while the loss still fell {noise.told(falls)}, "
                f"{falls / rate:.1f} times what the threshold calls flat"
            )
        elif falls + SURE * error < -rate:
            yield f"{where}: a rising loss was called flat, it grew {noise.told(-falls)}"


def slope_of(losses: Floats, noise: Noise, window: int) -> tuple[float, float] | None:
    """How fast losses fall, as a share of their mean for each of them, and its standard error; None if too few.

    losses: the last ones before a raise. noise: of the log. window: the last so many are used, at most.
    """
    losses = losses[-window:]
    count, level = len(losses), abs(float(losses.mean())) if len(losses) else 0.0
    if count < 8 or level == 0:
        return None
    place = np.arange(count) - (count - 1) / 2
    slope = float((place * (losses - losses.mean())).sum() / (place**2).sum())
    variance = (1 + noise.rho) / (1 - noise.rho) * noise.sigma**2
    return -slope / level, sqrt(12 * variance / count**3)


def _settling(raises: Sequence[_Raise], timeline: Timeline, spec: Plateau | None) -> tuple[list[str], list[str]]:
    """Whether the loss came below the old plateau after each raise; only a log that answers to these raises tells."""
    unsettled: list[str] = []
    recovered: list[str] = []
    if timeline.answers is not True:
        return unsettled, recovered
    window = (spec or PUBLISHED).window
    per_epoch = timeline.setting.steps_per_epoch or 20 * window
    for each in raises:
        after = timeline.trace.between(each.step, each.after.left)
        if len(each.losses) < 2 or len(after.mean) < 2:
            continue
        plateau = float(each.losses[-window:].mean())
        size = max(1, window // max(1, int(after.count[0])))
        mean = np.convolve(after.mean, np.full(min(size, len(after.mean)), 1 / min(size, len(after.mean))), "valid")
        below = np.flatnonzero(mean < plateau)
        where = f"step {timeline.shown(each.step):,}"
        if len(below):
            took = int(after.step[min(int(below[0]) + size - 1, len(after.step) - 1)]) - each.step + 1
            spike = float(after.high[: max(1, size)].max()) / plateau - 1 if plateau > 0 else 0.0
            recovered.append(
                f"{where}: a spike of {max(0.0, spike):.1%}, below the old plateau of {plateau:.4g} "
                f"after {took:,} steps"
            )
        elif each.after.left is not None:
            unsettled.append(
                f"{where}: the loss never came below the old plateau of {plateau:.4g} before the next raise"
            )
        elif timeline.final.step - each.step > per_epoch:
            unsettled.append(f"{where}: an epoch later the loss is still above the old plateau of {plateau:.4g}")
    return unsettled, recovered


# Too slow


def _flat_stretches(timeline: Timeline) -> tuple[list[str], list[tuple[Asked, int]]]:
    """Stays of which 10 epochs are flat by the published formula; the guards that held them, and from which epoch."""
    per_epoch = timeline.setting.steps_per_epoch
    if per_epoch is None:
        return [], []
    found: list[str] = []
    held: list[tuple[Asked, int]] = []
    for stay in timeline.stays:
        if not stay.asked:
            continue
        stop = timeline.final.step if stay.left is None else stay.left
        if timeline.answers is not True and stay is not timeline.stays[0]:
            break  # the log is a stand-in from the first raise on
        for start in range(stay.entered, stop - FLAT * per_epoch + 1, per_epoch):
            older = timeline.trace.between(start, start + FLAT // 2 * per_epoch).average
            newer = timeline.trace.between(start + FLAT // 2 * per_epoch, start + FLAT * per_epoch).average
            if older != 0 and (older - newer) / abs(older) < PUBLISHED.threshold:
                guards = _holding(stay)
                held += [(guard, start // per_epoch) for guard in guards]
                found.append(
                    f'"{stay.state}": flat for {FLAT} epochs from step {timeline.shown(start):,} on '
                    f"({(older - newer) / abs(older):.2%} between its halves) without a raise, held by "
                    + (_named(guards) or "no look at all")
                )
                break
    return found, held


def _holding(stay: Stay) -> list[Asked]:
    """The guards that were true least often."""
    least = min((asked.true / asked.looks for asked in stay.asked if asked.looks), default=0.0)
    return [asked for asked in stay.asked if asked.looks and asked.true / asked.looks == least and least < 1]


def _named(guards: Sequence[Asked]) -> str:
    def said(asked: Asked) -> str:
        return "unknown at all" if asked.unknown == asked.looks else f"true at {asked.true} of"

    return " and ".join(f"{asked.guard} ({said(asked)} {asked.looks} looks)" for asked in guards)


# What to turn


LEAST = f"add {PAUSE} to the guards, so that a raise is never answered by the next look"


def _later(timeline: Timeline, spec: Plateau | None, noise: Noise | None) -> tuple[str, ...]:
    """What makes raises come later: first the window (noise), then the threshold (rate)."""
    if spec is None or spec.method == "returns" or noise is None:
        left = [stay for stay, decision in zip(timeline.stays, timeline.decisions, strict=False) if decision.raises]
        turned = (asked.advice for stay in left for asked in stay.asked if asked.watches)
        return (*dict.fromkeys(advice.later for advice in turned if advice is not None), LEAST)
    turn, run = [], _run_of(timeline)
    rate = rate_of(spec, run, noise.steps)
    needed = window_needed(rate, noise.sigma, noise.rho)
    if spec.method == "halves":
        now = false_raise(spec.window, rate * spec.window / 2, noise.sigma, noise.rho)
        if now > FALSE_ALLOWED and needed > spec.window:
            then = false_raise(needed, rate * needed / 2, noise.sigma, noise.rho)
            threshold = threshold_for(spec, rate, needed, run, noise.steps)
            turn.append(
                f"first lengthen window from {spec.window} to {needed}, with threshold = {threshold:.3g} to keep the "
                f"rate: in this noise (sigma {noise.sigma:.1%}) a look at twice the threshold then fires falsely with "
                f"{then:.1%}, not {now:.1%}"
            )
    window = max(spec.window, needed) if spec.method == "halves" else spec.window
    falls = max((_clear_fall(each.losses, noise, max(window, needed)) for each in _raises(timeline)), default=0.0)
    if 0 < falls <= 2 * rate:
        lower = threshold_for(spec, falls / 2, window, run, noise.steps)
        beside = f" (at window = {window})" if spec.method == "halves" else ""
        turn.append(
            f"{'then ' if turn else ''}lower threshold to {lower:.2g}{beside}: the loss still fell {noise.told(falls)} "
            "when it was raised"
        )
    if spec.method == "halves":
        turn.append('or let method = "trend" decide, which waits until the noise allows an answer')
    return (*turn, LEAST)


def _clear_fall(losses: Floats, noise: Noise, window: int) -> float:
    """How fast losses fall, by the fewest of them that tell it from noise; 0 if all of them do not."""
    while (found := slope_of(losses, noise, window)) is not None:
        if found[0] > SURE * found[1]:
            return found[0]
        if window >= len(losses):
            break
        window *= 2
    return 0.0


def _earlier(timeline: Timeline, held: Sequence[tuple[Asked, int]]) -> tuple[str, ...]:
    """What makes raises come earlier, for the guards that held, each with the epoch from which on it did."""
    turn: dict[str, None] = {}
    for asked, epoch in held:
        earlier = f"loosen {asked.guard}" if asked.advice is None else asked.advice.earlier
        closest = f"{asked.closest.removeprefix(f'{asked.guard}: ')} at step {timeline.shown(asked.closest_step):,}"
        if asked.unknown == asked.looks:
            turn[f"{asked.guard} never had enough losses to answer ({closest}): shorten its window"] = None
        elif asked.watches:
            turn[f"{earlier} (closest: {closest})"] = None
        else:
            turn[f"{earlier}: the loss is flat from epoch {epoch} on ({closest})"] = None
    return tuple(turn)


# Neither


def _quiet(raises: Sequence[_Raise], timeline: Timeline, recovered: Sequence[str]) -> Verdict:
    """No sign of trouble: healthy if there were raises at healthy distances, else unclear and why."""
    per_epoch = timeline.setting.steps_per_epoch
    if not any(stay.asked for stay in timeline.stays):
        return Verdict("unclear", ("this curriculum has nothing to raise",), ())
    if not raises:
        waited = "" if per_epoch is None else f" in {timeline.final.step / per_epoch:.1f} epochs"
        guards = _holding(timeline.stays[0])
        held = f", held by {_named(guards)}" if guards else ""
        return Verdict("unclear", (f"no raise{waited}{held}; and no {FLAT} flat epochs either",), ())
    if per_epoch is None:
        return Verdict("unclear", ("how long an epoch is, is not known: give steps_per_epoch",), ())
    apart = [((each.stay.left or 0) - each.stay.entered) / per_epoch for each in raises]
    after = ", ".join(f"{epochs:.1f}" for epochs in apart)
    told = f"{len(raises)} raise{'s' * (len(raises) > 1)}, after {after} epochs in the state before"
    if not any(each.by_loss for each in raises):
        return Verdict("unclear", (f"{told}: the clock decided, not the loss", *recovered), ())
    if all(QUICKEST <= epochs <= SLOWEST for epochs in apart):
        stand_in = () if timeline.answers else ("a replay cannot see the spike and the recovery after a raise",)
        return Verdict("healthy", (told, *recovered, *stand_in), ())
    return Verdict("unclear", (f"{told}; {QUICKEST} to {SLOWEST} are usual", *recovered), ())
