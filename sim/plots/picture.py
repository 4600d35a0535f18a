"""What there is to draw of a run or a replay: losses, states, knobs and rate on one time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.ladders import number_of, ranks_of
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.climbs import Climb, planned
from plateau_rule.sim.logs import Log
from plateau_rule.sim.replayer.setting import record_of
from plateau_rule.sim.replayer.timeline import Timeline
from plateau_rule.sim.replayer.trace import Floats, Trace, Tracer


@dataclass(frozen=True)
class StateSpan:
    """A stay in a state: from a step up to another, with the knobs in it."""

    state: str
    start: int
    stop: int


@dataclass(frozen=True)
class Picture:
    """What there is to draw of one run, or of one replay.

    name: what to call it. trace: the losses. spans: the states. knobs: values at steps, each until the next, `inf` for
    a `full` that is not bound. rate: steps and rates, or None. per_epoch: steps in an epoch, or None. first_step: what
    the log calls step 0. stand_in: the step from which the losses no longer answer, or None. words: of a knob whose
    values are no numbers, what its places stand for.
    """

    name: str
    trace: Trace
    spans: tuple[StateSpan, ...]
    knobs: Mapping[str, tuple[NDArray[np.int64], Floats]]
    rate: tuple[NDArray[np.int64], Floats] | None
    per_epoch: int | None
    first_step: int = 0
    stand_in: int | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def picture_of(timeline: Timeline) -> Picture:
    """A replay, as something to draw."""
    last = max(timeline.final.step, int(timeline.trace.step[-1]) + 1 if len(timeline.trace.step) else 0)
    spans = tuple(
        StateSpan(stay.state, stay.entered, last if stay.left is None else stay.left) for stay in timeline.stays
    )
    steps = np.array([sample.step for sample in timeline.samples], dtype=np.int64)
    ranks = ranks_of(timeline.curriculum)
    knobs = {
        name: (steps, np.array([number_of(ranks, name, sample.knobs[name]) for sample in timeline.samples]))
        for name in timeline.curriculum.knob
    }
    rate = steps, np.array([sample.lr for sample in timeline.samples])
    first_raise = timeline.decisions[0].step if timeline.decisions and timeline.answers is not True else None
    first_step = 0 if timeline.setting.stretched else timeline.setting.first_step
    per_epoch = timeline.setting.steps_per_epoch
    units = _units(timeline.curriculum)
    return Picture(
        timeline.curriculum.name,
        timeline.trace,
        spans,
        knobs,
        rate,
        per_epoch,
        first_step,
        first_raise,
        units,
        _words(timeline.curriculum),
    )


def picture_of_climb(machine: Machine, climb: Climb) -> Picture:
    """What a curriculum plans on a climb, as something to draw; there are no losses in it."""
    last = machine.curriculum.state[-1].name
    name = climb.name if climb.reaches == last else f"{climb.name}, ends in {climb.reaches}"
    plans = list(planned(machine, climb))
    steps = np.array([plan.step for plan in plans], dtype=np.int64)
    knobs = {
        knob: (steps, np.array([machine.number(knob, plan.knobs[knob]) for plan in plans]))
        for knob in machine.curriculum.knob
    }
    rate = steps, np.array([plan.lr for plan in plans])
    spans = tuple(StateSpan(visit.state.name, visit.entered, visit.left) for visit in climb.visits)
    units, words = _units(machine.curriculum), _words(machine.curriculum)
    per_epoch = machine.run.steps_per_epoch
    return Picture(name, Tracer(1).trace(), spans, knobs, rate, per_epoch, units=units, words=words)


def _units(curriculum: Curriculum) -> dict[str, str]:
    return {name: knob.unit for name, knob in curriculum.knob.items() if knob.unit}


def _words(curriculum: Curriculum) -> dict[str, tuple[str, ...]]:
    return {name: tuple(map(str, places)) for name, places in ranks_of(curriculum).items()}


def picture_of_log(log: Log, name: str, per_epoch: int | None = None) -> Picture:
    """A log, as something to draw: of a run of ours with its states, knobs and rate as they were written down.

    log: what `read` gives. name: what to call it. per_epoch: steps in an epoch, for the second axis; by default what
    the record beside the log says.
    """
    if per_epoch is None and (record := record_of(log)) is not None:
        per_epoch = record["steps_per_epoch"]
    tracer = Tracer(len(log))
    rates: list[tuple[NDArray[np.int64], Floats]] = []
    for chunk in log.chunks():
        tracer.add(chunk.step, chunk.loss)
        if chunk.lr is not None:
            rates.append((chunk.step, chunk.lr))
    last = (log.report.used.last_step or 0) + 1
    starts = [*(change.step for change in log.changes), last]
    spans = tuple(
        StateSpan(change.state, start, stop)
        for change, start, stop in zip(log.changes, starts, starts[1:], strict=False)
    )
    knobs: dict[str, tuple[NDArray[np.int64], Floats]] = {}
    for knob in log.changes[0].knobs if log.changes else ():
        values = [change.knobs.get(knob) for change in log.changes]
        if all(value == "full" or isinstance(value, int | float) for value in values):
            numbers = np.array([inf if value == "full" else float(value) for value in values])  # type: ignore[arg-type]
            knobs[knob] = np.array(starts[:-1], dtype=np.int64), numbers
    rate = None
    if rates:
        steps, values_of_rate = (np.concatenate(parts) for parts in zip(*rates, strict=True))
        known = np.isfinite(values_of_rate)
        rate = (steps[known], values_of_rate[known]) if known.any() else None
    return Picture(name, tracer.trace(), spans, knobs, rate, per_epoch)


def smoothed(trace: Trace, cuts: Sequence[int]) -> Floats:
    """A moving mean over some 100th of the curve, of a short one over up to 35 points, near ones with the most weight.

    At its ends it is a line through as many, weighted the same way: a mean that gets narrower there ends in the noise
    of a single point, which looks like a hook.

    cuts: steps at which it begins anew, so that no spike is smeared over them.
    """
    edges = [0, *np.searchsorted(trace.step, cuts).tolist(), len(trace.step)]
    widest = max(len(trace.step) // 110, min(35, len(trace.step) // 14)) // 2
    parts = [np.empty(0)]
    for start, stop in pairwise(edges):
        losses, count = trace.mean[start:stop], trace.count[start:stop].astype(np.float64)
        reach = min(widest, (stop - start - 1) // 2)
        if reach < 1:
            parts.append(losses)
            continue
        kernel = _near(np.arange(-reach, reach + 1), reach)
        mean = np.convolve(losses * count, kernel, "same") / np.convolve(count, kernel, "same")
        wide = min(stop - start, 2 * reach + 1)
        for place in range(reach):
            mean[place] = _line_at(place, losses[:wide], count[:wide], reach)
            mean[-1 - place] = _line_at(place, losses[-wide:][::-1], count[-wide:][::-1], reach)
        parts.append(mean)
    return np.concatenate(parts)


def _near(distance: NDArray[np.int64], reach: int) -> Floats:
    """Weights that die away with the distance (tricube)."""
    weight: Floats = (1 - (np.abs(distance) / (reach + 1)) ** 3) ** 3
    return weight


def _line_at(place: int, losses: Floats, count: Floats, reach: int) -> float:
    """What the line that fits losses best says at a place near their first, by the weights of the near and the many."""
    off = np.arange(len(losses)) - place
    weight = count * _near(off, max(2 * reach - place, 2))  # at `reach` the mean's own, so that both meet
    middle, level = np.average(off, weights=weight), np.average(losses, weights=weight)
    slope = float((weight * (off - middle) * (losses - level)).sum() / (weight * (off - middle) ** 2).sum())
    return float(np.clip(level - slope * middle, losses.min(), losses.max()))
