"""One stay in a state over losses that are there already: the first look that takes a transition, found in arrays.

The clocks of all looks, and what detectors say at them, are worked out at once, in pieces that grow. A detector that
has no twin along time is the controller's own, and goes through the losses one by one. What is found is only where to
look: there the run takes its step as it takes any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from plateau_rule.controller.guards import Detector, GuardInState, Reached, Watched, leaves
from plateau_rule.controller.horizon import due, pass_over
from plateau_rule.controller.machine import BoundTransition, Machine, Stay
from plateau_rule.controller.state import RunState
from plateau_rule.sim.batch.along import along
from plateau_rule.sim.batch.along.base import Counts
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts
from plateau_rule.sim.whatif.log import LossLog
from plateau_rule.sim.whatif.looks import StayLooks, ask

FEWEST, MOST = 64, 1 << 15  # looks in a piece, at first and in the end
SPELLED = {None: UNKNOWN, False: FALSE, True: TRUE}
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
    bad = log.bad_losses(run.step, step)
    run.skipped_values += bad
    pass_over(machine, run, steps)
    in_row = log.bad(np.array([step]), step - run.time)
    run.nonfinite = 0 if in_row is None else int(in_row[0])


class _Ahead:
    """A copy of a stay whose detectors go ahead of the run, one by one through the losses of a piece.

    Args:
        stay: as it stands; it is left as it is, where there is something to copy.
        own: which detectors go ahead.
        log: the losses.
        start: the step at which they stand.
    """

    def __init__(self, stay: Stay, own: Sequence[str], log: LossLog, start: int) -> None:
        self.stay = stay.copy() if own else stay
        self.keys = {id(detector): key for key, (_, detector) in self.stay.detectors.items()}
        self._before, self._log, self._start = stay, log, start
        self._at = dict.fromkeys(own, start)
        self._said: dict[str, tuple[Counts, Verdicts]] = {}

    def verdicts(self, key: str, steps: Counts) -> Verdicts:
        """What a detector says at each of these looks."""
        if key not in self._said:
            detector = self.stay.detectors[key][1]
            self._said[key] = steps, self._go(detector, steps)
            self._at[key] = int(steps[-1])
            return self._said[key][1]
        known, said = self._said[key]
        places = np.minimum(np.searchsorted(known, steps), len(known) - 1)
        if (known[places] == steps).all():
            return said[places]
        return self._go(self._before.detectors[key][1].copy(), steps)  # it cannot go back

    def _go(self, detector: Detector, steps: Counts) -> Verdicts:
        values = self._log.between(self._start, int(steps[-1]))
        counts = (self._log.counts(steps) - self._log.count(self._start)).tolist()
        return np.fromiter(_one_by_one(detector, values, counts), dtype=np.int8, count=len(steps))

    def finish(self, end: int) -> None:
        """Bring all of them to the end of the piece."""
        for key, at in self._at.items():
            deque(map(self.stay.detectors[key][1].push, self._log.between(at, end)), maxlen=0)


def _one_by_one(detector: Detector, values: Sequence[float], counts: Sequence[int]) -> Iterator[int]:
    """What a detector says after so many values, for each of these counts."""
    place, push, verdict = 0, detector.push, detector.verdict
    for count in counts:
        if count == place + 1:
            push(values[place])
        else:
            deque(map(push, values[place:count]), maxlen=0)
        place = count
        yield SPELLED[verdict()]


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
        of_loss = {key: detector for key, (metric, detector) in run.stay.detectors.items() if metric == "loss"}
        twins = {key: along(detector) for key, detector in of_loss.items() if key not in run.stay.kept}
        self._twins = {key: twin for key, twin in twins.items() if twin is not None}
        self._own = [key for key in of_loss if key not in self._twins]  # those of the loss that go one by one
        self._asked = [
            (place, way)
            for place, way in enumerate(run.state.transitions)
            if way.at == "step" or (way.at == "epoch" and machine.steps_per_epoch is not None)
            if way.at_most is None or run.taken.get(way.key, 0) < way.at_most
        ]
        self._often = any(way.at == "step" for _, way in self._asked)
        per_epoch = machine.steps_per_epoch
        self._closings = per_epoch if any(way.at == "epoch" for way in run.state.transitions) else None
        hands = {"step": 0, "time": self.entered}
        self._due = {need + hands[hand] for hand, need in due(run.stay.guards) if hand in hands}
        self._due |= {need * per_epoch for hand, need in due(run.stay.guards) if hand == "epoch" and per_epoch}
        self._lagging = False  # whether the controller's own of what has a twin stand behind the run
        self._ahead = _Ahead(run.stay, (), log, run.step)
        self.see(log)

    def see(self, log: LossLog) -> None:
        """Take the log as it is by now; what was there before is the same."""
        self.log = log
        values = log.values[log.count(self.entered) :]
        for twin in self._twins.values():
            twin.see(values)

    def first_dead(self, stop: int) -> int:
        """How many steps are complete when too many bad losses came in a row for a run; later than `stop` if not."""
        steps = np.arange(self.run.step + 1, stop + 1) if self.log.has_bad else None
        in_row = None if steps is None else self.log.bad(steps, self.entered)
        if steps is None or in_row is None:
            return stop + 1
        dead = np.flatnonzero(in_row >= self.machine.nonfinite_limit)
        return int(steps[dead[0]]) if len(dead) else stop + 1

    # Looks

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
            if self._own and mark is not None:
                end = min(end, max(mark, start + 1))  # where it is saved, all of it stands at that step
            self._ahead = _Ahead(self.stay, self._own if self._asked else (), self.log, start)
            fired, rows = self._first(start, end)
            target = end if fired is None else fired - 1
            ahead = fired is None and self._take_over(end)
            while save is not None and mark is not None and mark <= target:
                if mark > self.run.step:
                    self._pass_to(mark, rows, ahead)
                    self.settle()
                mark = save()
            self._pass_to(target, rows, ahead)
            if fired is not None:
                self.settle()
                return True
        return False

    def _end_of_piece(self, start: int) -> int:
        if not self._asked:
            return len(self.log)
        looks, self._size = self._size, min(MOST, 2 * self._size)
        return start + looks * (self.log.spacing if self._often else self.machine.steps_per_epoch or 1)

    def _first(self, start: int, end: int) -> tuple[int | None, list[Row]]:
        """The first look, after steps `start` to `end`, that takes a transition; and the rows of looks until then."""
        fired, rows = None, list[Row]()
        for place, way in self._asked:
            steps = self._looks(way, start, end if fired is None else fired)
            if not len(steps):
                continue
            looks = StayLooks(steps, self.log.bad(steps, self.entered), self.entered, self.machine.steps_per_epoch)
            holds = ask(self._ahead.stay.guards[place], looks, self._detected, self._cost) == TRUE
            if way.sustain > 1:
                rows.append(Row(place, steps, _in_a_row(holds, self.run.sustained[place])))
                holds = rows[-1].sustained >= way.sustain
            first = int(holds.argmax())
            if holds[first]:
                fired = int(steps[first]) if fired is None else min(fired, int(steps[first]))
        return fired, rows

    def _looks(self, way: BoundTransition, start: int, end: int) -> Counts:
        if way.at == "step":
            return np.arange(start + 1, end + 1) if self.log.points is None else self._looks_at_points(start, end)
        per_epoch = self.machine.steps_per_epoch or 1
        return np.arange(start + per_epoch - start % per_epoch, end + 1, per_epoch)

    def _looks_at_points(self, start: int, end: int) -> Counts:
        """In a log that lacks steps: where one was logged, the first of the state, and where a clock is due."""
        assert self.log.points is not None
        first, last = np.searchsorted(self.log.points, (start, end))
        others = [step for step in (self.entered + 1, *self._due) if start < step <= end]
        if self._closings is not None:
            others += range(start + self._closings - start % self._closings, end + 1, self._closings)
        return np.union1d(self.log.points[first:last] + 1, np.array(others, dtype=np.int64))

    def _cost(self, guard: GuardInState) -> int:
        """Clocks first, then what is found in arrays, then what goes one by one."""
        costs = (0 if isinstance(leaf, Reached) else self._cost_of(leaf) for leaf in leaves(guard))
        return max(costs, default=0)

    def _cost_of(self, leaf: GuardInState) -> int:
        return 2 if isinstance(leaf, Watched) and self._ahead.keys[id(leaf.detector)] in self._own else 1

    def _detected(self, guard: Watched, looks: StayLooks) -> Verdicts:
        key = self._ahead.keys[id(guard.detector)]
        twin = self._twins.get(key)
        if twin is not None:
            return twin.verdicts(self.log.counts(looks.step) - self.log.count(self.entered))
        if key in self._own:
            return self._ahead.verdicts(key, looks.step)
        # Nothing comes but losses: it says what it says.
        return np.full(len(looks), SPELLED[guard.detector.verdict()], dtype=np.int8)

    # The run

    def _take_over(self, end: int) -> bool:
        """Go on with the detectors that have gone through the piece already, if any have."""
        if self._ahead.stay is self.stay:
            return False
        self._ahead.finish(end)
        self.stay = self.run.stay = self._ahead.stay
        return True

    def _pass_to(self, step: int, rows: list[Row], ahead: bool) -> None:
        """Take the run to a step, past looks that take nothing; `ahead`: detectors that go one by one are there."""
        run = self.run
        if step == run.step:
            return
        if self._own and not ahead:
            values = self.log.between(run.step, step)
            for key in self._own:
                deque(map(self.stay.detectors[key][1].push, values), maxlen=0)
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
        for key, twin in self._twins.items():
            twin.fill(self.stay.detectors[key][1], seen)


def _in_a_row(holds: np.ndarray[tuple[int], np.dtype[np.bool_]], before: int) -> Counts:
    """How many looks in a row have held, after each; `before`: how many had, before the first."""
    places = np.arange(1, len(holds) + 1)
    last = np.maximum.accumulate(np.where(holds, 0, places))
    found: Counts = places - last + np.where(last == 0, before, 0)
    return found
