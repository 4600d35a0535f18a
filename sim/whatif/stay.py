"""One stay in a state over losses that are there already: the first look that takes a transition, found in arrays.

The clocks of all looks, and what detectors say at them, are worked out at once, in pieces that grow. A detector that
has no twin along time is the controller's own, and goes through the losses one by one. What is found is only where to
look: there the run takes its step as it takes any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from plateau_rule.controller.guards import Detector, GuardInState, Reached, Watched, leaves
from plateau_rule.controller.horizon import pass_over
from plateau_rule.controller.machine import BoundTransition, Machine
from plateau_rule.controller.state import RunState
from plateau_rule.sim.batch.along import Along, along
from plateau_rule.sim.batch.along.base import Counts
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts
from plateau_rule.sim.whatif.log import LossLog
from plateau_rule.sim.whatif.looks import StayLooks, ask

FEWEST, MOST = 64, 1 << 15  # looks in a piece, at first and in the end
_SPELLED = {None: UNKNOWN, False: FALSE, True: TRUE}
Save = Callable[[], int]
"""Keeps the run as it stands; gives the next step at which to."""


class Row(NamedTuple):
    """How often in a row a transition's guards have held, after each of some looks."""

    place: int
    steps: Counts
    sustained: Counts


def pass_unlooked(machine: Machine, run: RunState, log: LossLog, step: int) -> None:
    """Take a run to a step of the stay that it is in, past losses that detectors see and no transition is asked at.

    Args:
        machine: the bound curriculum.
        run: the state of the run; it is changed in place.
        log: the losses.
        step: of the same stay.
    """
    values = log.between(run.step, step)
    for push in run.stay.pushes:
        deque(map(push, values), maxlen=0)
    _pass_clocks(machine, run, log, step)


def _pass_clocks(machine: Machine, run: RunState, log: LossLog, step: int) -> None:
    steps = step - run.step
    run.skipped_values += steps - (log.count(step) - log.count(run.step))
    pass_over(machine, run, steps)
    run.nonfinite = 0 if log.bad is None else min(int(log.bad[step]), run.time)


class StayAlong:
    """The stay that a run is in.

    Args:
        machine: the bound curriculum; without lag and lead.
        run: the state of the run; it is changed in place.
        log: the losses.
    """

    def __init__(self, machine: Machine, run: RunState, log: LossLog) -> None:
        self.machine, self.run, self.stay = machine, run, run.stay
        self.entered, self._size = run.step - run.time, FEWEST
        self._twins: dict[int, Along] = {}  # by the id of the controller's own
        self._own: list[Detector] = []  # those of the loss that have none
        self._of_loss: set[int] = set()
        for key, (metric, detector) in run.stay.detectors.items():
            if metric != "loss":
                continue
            self._of_loss.add(id(detector))
            twin = None if key in run.stay.kept else along(detector)
            if twin is None:
                self._own.append(detector)
            else:
                self._twins[id(detector)] = twin
        self._asked = [
            (place, way, guard)
            for (place, way), guard in zip(enumerate(run.state.transitions), run.stay.guards, strict=True)
            if way.at == "step" or (way.at == "epoch" and machine.steps_per_epoch is not None)
            if way.at_most is None or run.taken.get(way.key, 0) < way.at_most
        ]
        self._often = any(way.at == "step" for _, way, _ in self._asked)
        self._lagging = False  # whether the controller's own of what has a twin stand behind the run
        self.see(log)

    def see(self, log: LossLog) -> None:
        """Take the log as it is by now; what was there before is the same."""
        self.log = log
        values = log.values[log.count(self.entered) :]
        for twin in self._twins.values():
            twin.see(values)

    def first_dead(self, stop: int) -> int:
        """How many steps are complete when too many bad losses came in a row for a run; later than `stop` if not."""
        bad, run, limit = self.log.bad, self.run, self.machine.nonfinite_limit
        if bad is None:
            return stop + 1
        in_row = np.minimum(bad[run.step + 1 : stop + 1], np.arange(run.time + 1, run.time + 1 + stop - run.step))
        dead = np.flatnonzero(in_row >= limit)
        return run.step + 1 + int(dead[0]) if len(dead) else stop + 1

    # StayLooks

    def go(self, stop: int, mark: int | None = None, save: Save | None = None) -> bool:
        """Go on to step `stop`, or to the step before the first look that takes a transition.

        Args:
            stop: of the log; no run dies before it, and nothing but losses comes.
            mark: the next step at which to save.
            save: what to do there.

        Returns:
            Whether the next step takes a transition.
        """
        while self.run.step < stop:
            start = self.run.step
            end = min(stop, self._end_of_piece(start))
            fired, rows = self._first(start, end)
            target = end if fired is None else fired - 1
            while save is not None and mark is not None and mark <= target:
                if mark > self.run.step:
                    self._pass_to(mark, rows)
                    self.settle()
                mark = save()
            self._pass_to(target, rows)
            if fired is not None:
                self.settle()
                return True
        return False

    def _end_of_piece(self, start: int) -> int:
        if not self._asked:
            return len(self.log)
        looks, self._size = self._size, min(MOST, 2 * self._size)
        return start + looks * (1 if self._often else self.machine.steps_per_epoch or 1)

    def _first(self, start: int, end: int) -> tuple[int | None, list[Row]]:
        """The first look, after steps `start` to `end`, that takes a transition; and the rows of looks until then."""
        fired, rows = None, list[Row]()
        for place, way, guard in self._asked:
            steps = self._looks(way, start, end if fired is None else fired)
            if not len(steps):
                continue
            bad = self.log.bad
            bad = None if bad is None else np.minimum(bad[steps], steps - self.entered)
            looks = StayLooks(steps, bad, self.entered, self.machine.steps_per_epoch)
            holds = ask(guard, looks, self._detected, self._cost) == TRUE
            if way.sustain > 1:
                rows.append(Row(place, steps, _in_a_row(holds, self.run.sustained[place])))
                holds = rows[-1].sustained >= way.sustain
            first = int(holds.argmax())
            if holds[first]:
                fired = int(steps[first]) if fired is None else min(fired, int(steps[first]))
        return fired, rows

    def _looks(self, way: BoundTransition, start: int, end: int) -> Counts:
        if way.at == "step":
            return np.arange(start + 1, end + 1)
        per_epoch = self.machine.steps_per_epoch or 1
        return np.arange(start + per_epoch - start % per_epoch, end + 1, per_epoch)

    def _cost(self, guard: GuardInState) -> int:
        """Clocks first, then what is found in arrays, then what goes one by one."""
        costs = (0 if isinstance(leaf, Reached) else self._cost_of(leaf) for leaf in leaves(guard))
        return max(costs, default=0)

    def _cost_of(self, leaf: GuardInState) -> int:
        return 1 if isinstance(leaf, Watched) and id(leaf.detector) in self._twins else 2

    def _detected(self, guard: Watched, looks: StayLooks) -> Verdicts:
        detector = guard.detector
        if id(detector) not in self._of_loss:  # nothing comes but losses: it says what it says
            return np.full(len(looks), _SPELLED[detector.verdict()], dtype=np.int8)
        twin = self._twins.get(id(detector))
        if twin is not None:
            return twin.verdicts(self.log.counts(looks.step) - self.log.count(self.entered))
        return np.fromiter(self._one_by_one(detector, looks.step), dtype=np.int8, count=len(looks))

    def _one_by_one(self, detector: Detector, steps: Counts) -> Iterator[int]:
        """What a detector says at each look, by a copy that goes through the losses until then."""
        other, at = detector.copy(), self.run.step
        values, first = self.log.between(at, int(steps[-1])), self.log.count(at)
        place, push, verdict = 0, other.push, other.verdict
        for count in (self.log.counts(steps) - first).tolist():
            deque(map(push, values[place:count]), maxlen=0)
            place = count
            yield _SPELLED[verdict()]

    # The run

    def _pass_to(self, step: int, rows: list[Row]) -> None:
        """Take the run to a step, past looks that take nothing."""
        run = self.run
        if step == run.step:
            return
        if self._own:
            values = self.log.between(run.step, step)
            for detector in self._own:
                deque(map(detector.push, values), maxlen=0)
        _pass_clocks(self.machine, run, self.log, step)
        self._lagging = bool(self._twins)
        for place, steps, sustained in rows:
            last = int(np.searchsorted(steps, step, "right")) - 1
            if last >= 0:
                run.sustained[place] = int(sustained[last])

    def settle(self) -> None:
        """Bring the detectors that have a twin to where the run stands."""
        if not self._lagging:
            return
        self._lagging = False
        seen = self.log.count(self.run.step) - self.log.count(self.entered)
        for _, detector in self.stay.detectors.values():
            if (twin := self._twins.get(id(detector))) is not None:
                twin.fill(detector, seen)


def _in_a_row(holds: np.ndarray[tuple[int], np.dtype[np.bool_]], before: int) -> Counts:
    """How many looks in a row have held, after each; `before`: how many had, before the first."""
    places = np.arange(1, len(holds) + 1)
    last = np.maximum.accumulate(np.where(holds, 0, places))
    found: Counts = places - last + np.where(last == 0, before, 0)
    return found
