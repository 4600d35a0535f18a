"""Healthy, too fast or too slow, by the signs of the rule itself, and what to turn, in which direction, by how much.

Healthy: a raise every 2 to 5 epochs, each with a spike and a quick recovery below the old plateau. Too fast: a raise at
every look, a loss that never settles, a rising loss called flat. Too slow: a loss that is flat for 10 epochs and more
without a raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from plateau_rule.controller.guards.plateau import Plateau
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.sim.lint import lint, rate_of
from plateau_rule.sim.logs import read
from plateau_rule.sim.noise import (
    ANOTHER_METRIC,
    BOTH_SIDES,
    Noise,
    NoiseError,
    noise_of,
    spread_of_halves,
    window_needed,
)
from plateau_rule.sim.replayer.advice import earlier, later, plateau_of, watches
from plateau_rule.sim.replayer.lines import SURE, line_of, slope_around, slope_of, surely_flat
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.timeline import Asked, LoggedStay, Timeline
from plateau_rule.sim.replayer.trace import Floats

QUICKEST, SLOWEST, FLAT = 2, 5, 10  # epochs
PUBLISHED = Plateau()  # window 50, threshold 0.005


@dataclass(frozen=True)
class RunVerdict:
    """What became of a run, or would have.

    Attributes:
        word: "healthy", "too fast", "too slow" or "unclear".
        signs: what speaks for it, in sentences.
        turn: what to change.
    """

    word: str
    signs: tuple[str, ...]
    turn: tuple[str, ...]

    @property
    def line(self) -> str:
        """The verdict and its first reason, in one line."""
        return f"Verdict: {self.word}" + (f": {self.signs[0]}" if self.signs else "")

    @property
    def details(self) -> str:
        """The other reasons, and what to turn; empty if there are none."""
        lines = ["Also:", *(f"  - {sign}" for sign in self.signs[1:])] if self.signs[1:] else []
        if self.turn:
            lines += ["What to turn:", *(f"  - {each}" for each in self.turn)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.line}\n{self.details}".rstrip("\n")

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain data for JSON."""
        return {"verdict": self.word, "signs": list(self.signs), "turn": list(self.turn)}


@dataclass(frozen=True)
class _Raise:
    """One raise: the stay that it ended, the transition, and the losses before it."""

    step: int
    stay: LoggedStay
    after: LoggedStay
    transition: str
    losses: Floats
    by_loss: bool  # whether a guard on a metric was true; else a timeout, or another clock, decided


def verdict_of_run(curriculum: Curriculum, folder: str | Path) -> RunVerdict:
    """Judge a run of our own by the folder that it wrote.

    Args:
        curriculum: what it ran under.
        folder: holds metrics.jsonl and run.json.

    Raises:
        LogError: metrics.jsonl is missing or is no log.
        ReplayError: run.json cannot be read, or the log does not fit.
    """
    log = read(Path(folder) / "metrics.jsonl")
    try:
        noise: Noise | None = noise_of(log)
    except NoiseError:
        noise = None
    return verdict_of(replay(curriculum, log), noise)


def verdict_of(timeline: Timeline, noise: Noise | None = None) -> RunVerdict:
    """Judge a replay.

    Args:
        timeline: what `replay` gave.
        noise: the log's; without it, nothing can be said about single raises.
    """
    if noise is not None and noise.crosses_zero and plateau_of(timeline.curriculum) is not None:
        return RunVerdict("unclear", (BOTH_SIDES,), (ANOTHER_METRIC,))
    raises = list(_raises(timeline))
    spec = plateau_of(timeline.curriculum)
    fast = [*_at_every_look(raises, timeline, noise), *_against_the_loss(raises, timeline, spec, noise)]
    unsettled, recovered = _settling(raises, timeline, spec)
    fast += unsettled
    slow, held = _flat_stretches(timeline, spec, noise)
    if fast and slow:  # one part asks to loosen what the other asks to tighten
        both = "some raises came too fast and others too slowly, so no one setting is to be turned"
        return RunVerdict("unclear", (both, *fast, *slow), ())
    if fast:
        return RunVerdict("too fast", tuple(fast), later(timeline, spec, noise))
    if slow:
        return RunVerdict("too slow", tuple(slow), earlier(timeline, held, spec, noise))
    return _quiet(raises, timeline, recovered, noise)


def _raises(timeline: Timeline) -> Iterator[_Raise]:
    for place, decision in enumerate(timeline.decisions):
        if not decision.raises:
            continue
        stay, after = timeline.stays[place], timeline.stays[place + 1]
        by_loss = any(_was_true(line) for line in decision.guards[1:])
        yield _Raise(decision.step, stay, after, decision.transition, timeline.before[place], by_loss)


def _was_true(line: str) -> bool:
    """Whether a line about a guard says that it asks about a metric, and was true."""
    title, _, said = line.strip().partition(": ")
    return watches(title) and said.endswith("-> true")


# Too fast


def _at_every_look(raises: Sequence[_Raise], timeline: Timeline, noise: Noise | None) -> Iterator[str]:
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
    # As far again after the last: more losses to tell by, and a curve that slows down is no steeper there.
    first, last = decided[0].step, decided[-1].step
    onwards = timeline.trace.between(first, 2 * last - first)
    line = line_of(onwards.mean, onwards.count.astype(np.float64), noise)
    points = int(timeline.trace.between(first, last).count.sum())
    fell = 0.0 if line is None else (line.falls - SURE * line.error) * points
    if fell > PUBLISHED.threshold:
        yield f"{told}, while the logged loss went on falling, by {fell:.1%} at least between the first and the last"


def _against_the_loss(
    raises: Sequence[_Raise], timeline: Timeline, spec: Plateau | None, noise: Noise | None
) -> Iterator[str]:
    """Raises while the loss fell at twice the rate asked, or rose: by a line through more losses than the guard had."""
    if noise is None or spec is None or spec.method == "returns":
        return
    rate = rate_of(spec, timeline.setting.binding.run, noise.steps)
    for each in raises:
        window = max(spec.window, window_needed(rate, noise.sigma, noise.rho))
        found = slope_of(each.losses, noise, window)
        if found is None or not each.by_loss:
            continue
        falls, error = found
        if (
            timeline.answers is not True
            and (around := slope_around(timeline.trace, each.step, noise, window)) is not None
        ):
            falls, error = max((falls, error), around, key=lambda line: line[0] - SURE * line[1])
        where = f'step {timeline.shown(each.step):,} ("{each.stay.state}" -> "{each.after.state}")'
        if falls - SURE * error > 2 * rate and _goes_on(each, timeline, noise, window, rate):
            yield (
                f"{where}: raised while the loss still fell {noise.told(falls)}, "
                f"{falls / rate:.1f} times what the threshold calls flat"
            )
        elif falls + SURE * error < -rate:
            yield f"{where}: a rising loss was called flat, it grew {noise.told(-falls)}"


def _goes_on(each: _Raise, timeline: Timeline, noise: Noise, window: int, rate: float) -> bool:
    """Whether a fall that a long line shows is more than the end of an earlier one, which the guard rightly left out.

    Losses that do not answer to the raise tell by what comes after it; others by the newer half of the line.
    """
    if timeline.answers is True:
        newer = slope_of(each.losses, noise, window // 2)
        return newer is None or newer[0] - newer[1] > rate
    after = timeline.trace.between(each.step, None)
    after = after.part(0, int(np.searchsorted(np.cumsum(after.count), window)) + 1)
    points, half = int(after.count.sum()), len(after.step) // 2
    if half < 1 or 2 * points < window:
        return False
    older, newest = after.part(0, half).average, after.part(half, len(after.step)).average
    falls = (older - newest) / abs(older) if older else 0.0
    return falls - spread_of_halves(points, noise.sigma, noise.rho) > rate * points / 2


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


def _flat_stretches(
    timeline: Timeline, spec: Plateau | None, noise: Noise | None
) -> tuple[list[str], list[tuple[Asked, int]]]:
    """Stays of which 10 epochs are surely flat; the guards that held them, and from which epoch."""
    per_epoch = timeline.setting.steps_per_epoch
    if per_epoch is None:
        return [], []
    rate = None
    if noise is not None and spec is not None and spec.method != "returns":
        rate = rate_of(spec, timeline.setting.binding.run, noise.steps)
    found: list[str] = []
    held: list[tuple[Asked, int]] = []
    for stay in timeline.stays:
        if not stay.asked:
            continue
        stop = timeline.final.step if stay.left is None else stay.left
        if timeline.answers is not True and stay is not timeline.stays[0]:
            break  # the log is a stand-in from the first raise on
        flat = next(_flat_from(timeline, stay.entered, stop, rate, noise), None)
        if flat is not None:
            start, epochs, falls = flat
            guards = _holding(stay)
            held += [(guard, start // per_epoch) for guard in guards]
            way = "falls" if falls >= 0 else "rises"
            holding = _named(guards) or "no look at all"
            found.append(
                f'"{stay.state}": flat for {epochs} epochs from step {timeline.shown(start):,} on '
                f"({way} {abs(falls):.2%} between its halves) without a raise, held by {holding}"
            )
    return found, held


def _flat_from(
    timeline: Timeline, entered: int, stop: int, rate: float | None, noise: Noise | None
) -> Iterator[tuple[int, int, float]]:
    """Stretches of a stay that are surely flat: first step, epochs, and how far the loss falls between their halves.

    Of 10 epochs, and of more: noise hides less of a long stretch, and a loss that fell no faster over it than is flat
    did so for 10 of its epochs.
    """
    per_epoch = timeline.setting.steps_per_epoch or 1
    most = (stop - entered) // per_epoch
    lengths = sorted({*(FLAT * 2 ** (half / 2) for half in range(20) if FLAT * 2 ** (half / 2) < most), float(most)})
    for epochs in (int(length) for length in lengths if length >= FLAT):
        limit = PUBLISHED.threshold * epochs / FLAT
        for start in range(entered, stop - epochs * per_epoch + 1, per_epoch * max(1, epochs // FLAT)):
            falls = surely_flat(timeline.trace.between(start, start + epochs * per_epoch), limit, rate, noise)
            if falls is not None:
                yield start, epochs, falls


def _holding(stay: LoggedStay) -> list[Asked]:
    """The guards that were true least often."""
    least = min((asked.true / asked.looks for asked in stay.asked if asked.looks), default=0.0)
    return [asked for asked in stay.asked if asked.looks and asked.true / asked.looks == least and least < 1]


def _named(guards: Sequence[Asked]) -> str:
    def said(asked: Asked) -> str:
        return "unknown at all" if asked.unknown == asked.looks else f"true at {asked.true} of"

    return " and ".join(f"{asked.guard} ({said(asked)} {asked.looks} looks)" for asked in guards)


# Neither


def _quiet(raises: Sequence[_Raise], timeline: Timeline, recovered: Sequence[str], noise: Noise | None) -> RunVerdict:
    """No sign of trouble: healthy if there were raises at healthy distances, else unclear and why."""
    per_epoch = timeline.setting.steps_per_epoch
    if not any(stay.asked for stay in timeline.stays):
        return RunVerdict("unclear", ("this curriculum has nothing to raise",), ())
    if not any(asked.looks for stay in timeline.stays for asked in stay.asked) and not timeline.decisions:
        return RunVerdict("unclear", ("no transition was ever looked at",), ())
    if not raises:
        waited = "" if per_epoch is None else f" in {timeline.final.step / per_epoch:.1f} epochs"
        guards = _holding(timeline.stays[0])
        held = f", held by {_named(guards)}" if guards else ""
        return RunVerdict("unclear", (f"no raise{waited}{held}; nor {FLAT} epochs that are surely flat",), ())
    if per_epoch is None:
        return RunVerdict("unclear", ("how long an epoch is, is not known: give steps_per_epoch",), ())
    apart = [((each.stay.left or 0) - each.stay.entered) / per_epoch for each in raises]
    after = ", ".join(f"{epochs:.1f}" for epochs in apart)
    told = f"{len(raises)} raise{'s' * (len(raises) > 1)}, after {after} epochs in the state before"
    clocks = [each for each in raises if not each.by_loss]
    if len(clocks) == len(raises):
        return RunVerdict("unclear", (f"{told}: the clock decided, not the loss", *recovered), ())
    doubts = [*_not_trained(raises, timeline), *_by_chance(timeline, noise)]
    if clocks:
        steps = ", ".join(f"{timeline.shown(each.step):,}" for each in clocks)
        doubts.append(f"the clock decided at step{'s' * (len(clocks) > 1)} {steps}, not the loss")
    if not all(QUICKEST <= epochs <= SLOWEST for epochs in apart):
        doubts.append(f"{QUICKEST} to {SLOWEST} epochs are usual")
    if doubts:
        return RunVerdict("unclear", (f"{told}; {doubts[0]}", *doubts[1:], *recovered), ())
    stand_in = () if timeline.answers else ("a replay cannot see the spike and the recovery after a raise",)
    return RunVerdict("healthy", (told, *recovered, *stand_in), ())


def _not_trained(raises: Sequence[_Raise], timeline: Timeline) -> Iterator[str]:
    """States that were entered too late to be trained in, or never."""
    last = timeline.stays[-1]
    if last.entered >= timeline.final.step and len(timeline.stays) > 1:
        yield f'"{last.state}" was entered after the last step, and never trained in'
    elif last.asked:
        yield f'"{last.state}" is not the last state: the end of the curriculum was not reached'


def _by_chance(timeline: Timeline, noise: Noise | None) -> Iterator[str]:
    """Looks that noise decides, so that raises at good distances may be luck."""
    for each in lint(timeline.curriculum, noise) if noise is not None else ():
        if each.warning and each.false_raise is not None:
            yield f"in this noise a look fires falsely with {each.false_raise:.1%}, so luck may have placed them"
            return
