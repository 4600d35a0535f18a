"""One curriculum over one log, as far as it has gone: every decision is the Controller's."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.evaluation import take_observation
from plateau_rule.controller.horizon import FastForward
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.plan import Decision, count_ends, stop_reason
from plateau_rule.controller.rate import RateClock
from plateau_rule.controller.state import SILENT, RunState
from plateau_rule.controller.step import start_run
from plateau_rule.sim.whatif.log import DROPPED, PASSED, LossLog
from plateau_rule.sim.whatif.stay import StayAlong, pass_unlooked

SHORT = 1 << 11  # losses, for which arrays do not pay


class Entered(NamedTuple):
    """The entering of a state: the first step in it, and the rate's clock on that step."""

    step: int
    state: BoundState
    rate: RateClock


class LogPlayer:
    """A run of a curriculum that observes a log.

    Args:
        machine: the bound curriculum.
        snapshots: how many are kept along the run, up to twice as many; none where it is 0.

    Attributes:
        run: the state of the run after the last observation.
        decisions: the transitions, in order.
        entries: the states that were entered, in order, the first one at step 0.
        saved: the run as it stood at some steps, which are multiples of `apart`.
        ended: why nothing more is observed; None as long as the log may go on.
    """

    def __init__(self, machine: Machine, snapshots: int = 0) -> None:
        self.machine, self.most = machine, snapshots
        self.run = start_run(machine)
        self.run.said = SILENT
        self.decisions: list[Decision] = []
        self.entries = [Entered(0, self.run.state, self.run.rate)]
        self.ended: str | None = stop_reason(machine, self.run)
        self.saved: list[tuple[int, RunState]] = [(0, self.run.copy())]
        self.apart = machine.steps_per_epoch or 64  # steps between two snapshots
        self._forward = FastForward(machine, self.run)
        self._plain = not (machine.lag or machine.lead)
        self._stay: StayAlong | None = None

    def play(self, log: LossLog, stop: int) -> None:
        """Observe up to step `stop`, or to the end of the log or of the run."""
        stop = min(stop, len(log), stop if self.machine.total_steps is None else self.machine.total_steps)
        if self._plain and stop - self.run.step > SHORT:
            self._play_along(log, stop)
            return
        self._stay = None
        if log.kinds is not None:
            self._play_points(log, stop)
            return
        while self.run.step < stop and self.ended is None:
            self._play_through(log, min(stop, self._next_mark()) if self.most else stop)
            if self.most and self.run.step == self._next_mark() - self.apart > self.saved[-1][0]:
                self._save()

    def _within(self, stop: int) -> int:
        """Up to `stop`, or to where tokens or cost end the run if it stays in its state."""
        return min(stop, count_ends(self.machine, self.run)) if self.machine.bounds else stop

    # In arrays

    def _play_along(self, log: LossLog, stop: int) -> None:
        run, special = self.run, log.special if self.machine.waits or log.kinds is not None else []
        while run.step < (here := self._within(stop)) and self.ended is None:
            stay = self._stay_along(log)
            place = bisect_left(special, run.step)
            end = min([here, *special[place : place + 1]])
            end = min(end, stay.first_dead(end) - 1)
            mark, save = (self._next_mark(), self._save) if self.most else (None, None)
            fires = stay.go(end, mark, save)
            if fires or run.step < here:
                stay.settle()
                self._step(log, fires, here)
        if self._stay is not None:
            self._stay.settle()
        self.ended = self.ended or stop_reason(self.machine, run)

    def _step(self, log: LossLog, looked: bool, stop: int) -> None:
        """Take one step as it comes; `looked`: it is looked at, whether it was logged or not."""
        step, kinds = self.run.step, log.kinds
        if kinds is None or kinds[step] != PASSED:
            self._one(log, float(log.losses[step]), kinds is not None and kinds[step] == DROPPED)
        elif looked:
            self._took(self._forward.observe_nothing(log.evaluations.get(step, {})))
        else:
            self._pass(log, min(stop, log.next_point(step)))

    def _stay_along(self, log: LossLog) -> StayAlong:
        stay = self._stay
        if stay is None or stay.stay is not self.run.stay or stay.run is not self.run:
            stay = self._stay = StayAlong(self.machine, self.run, log)
        elif stay.log is not log:
            stay.see(log)
        return stay

    # Step by step

    def _play_through(self, log: LossLog, stop: int) -> None:
        run, machine, per_epoch = self.run, self.machine, self.machine.steps_per_epoch
        start, special = run.step, log.special
        values = log.losses[max(0, start - machine.lag) : max(0, stop - machine.lag)].tolist()
        given: list[float | None] = [*[None] * (stop - start - len(values)), *values]
        marks = {*special[bisect_left(special, start) : bisect_left(special, stop)]}
        if per_epoch is not None:
            marks.update(range(start + (-start - 1) % per_epoch, stop, per_epoch))
        if not machine.lag:
            marks.update((start + np.flatnonzero(~np.isfinite(log.losses[start:stop]))).tolist())
        for mark in [*sorted(marks), stop]:
            while run.step < mark and self.ended is None:
                if machine.lag:
                    self._observe(given[run.step - start], {})
                else:
                    end = self._within(mark)
                    self._took(self._forward.observe_all(values[run.step - start : end - start])[1])
            if run.step < stop and self.ended is None:
                self._one(log, given[run.step - start])

    # Point by point

    def _play_points(self, log: LossLog, stop: int) -> None:
        """A log that lacks steps: clocks go on over these, and a look that is due there is due, as in a replay.

        A late loss comes as late where steps are lacking, and nothing comes where it lacks.
        """
        run, kinds, late = self.run, log.kinds, self.machine.lag
        assert kinds is not None
        while run.step < (here := self._within(stop)) and self.ended is None:
            target = min(here, self._next_mark()) if self.most else here
            of = run.step - late  # the step whose loss comes now
            if kinds[max(0, of)] == PASSED:
                self._pass(log, min(target, log.next_point(max(0, of)) + late))
            elif of < 0:
                self._one(log, None)
            else:
                self._one(log, float(log.losses[of]), bool(kinds[of] == DROPPED))
            if self.most and run.step % self.apart == 0:
                self._save()
        self.ended = self.ended or stop_reason(self.machine, run)

    def _pass(self, log: LossLog, step: int) -> None:
        place = bisect_left(log.special, self.run.step)
        look = min([self._forward.next_look(), *log.special[place : place + 1]])
        if min(step, look) > self.run.step:
            self._forward.pass_over(min(step, look) - self.run.step)
        if look < step:
            self._took(self._forward.observe_nothing(log.evaluations.get(look, {})))

    def _one(self, log: LossLog, value: float | None, dropped: bool = False) -> None:
        metrics = log.evaluations.get(self.run.step, {})
        self._observe(value, metrics, log.evaluates and bool(metrics), dropped)

    def _observe(
        self, value: float | None, metrics: Mapping[str, float], eval_end: bool = False, dropped: bool = False
    ) -> None:
        values = list(metrics.items())
        try:
            self._took(take_observation(self.machine, self.run, value, False, eval_end, dropped, values))
        except NonFiniteLoss as error:
            self.ended = str(error)

    def _took(self, decision: Decision | None) -> None:
        if decision is not None:
            self.decisions.append(decision)
            self.entries.append(Entered(decision.step, self.run.state, self.run.rate))
        self.ended = stop_reason(self.machine, self.run)

    # Snapshots

    def _next_mark(self) -> int:
        return self.run.step + self.apart - self.run.step % self.apart

    def _save(self) -> int:
        """Keep the run as it stands; the next step at which to."""
        if self.run.step > self.saved[-1][0]:
            self.saved.append((self.run.step, self.run.copy()))
        if len(self.saved) > 2 * self.most:
            self.apart *= 2
            self.saved = [one for one in self.saved if one[0] % self.apart == 0]
        return self._next_mark()

    def at(self, log: LossLog, step: int) -> RunState:
        """The run as it stood when `step` was about to be taken, or where it had ended before."""
        place = bisect_right(self.saved, step, key=lambda one: one[0]) - 1
        run = self.saved[place][1].copy()
        if self._goes_by(log, run, step):
            pass_unlooked(self.machine, run, log, step)
            return run
        other = LogPlayer(self.machine)
        other.resume(run)
        if log.kinds is None:
            other._play_through(log, min(step, len(log)))
        else:
            other._play_points(log, min(step, len(log)))
        return other.run

    def _goes_by(self, log: LossLog, run: RunState, step: int) -> bool:
        """Whether nothing but losses comes on the way to a step, and what is counted in a row is not asked for."""
        special = log.special if self.machine.waits or log.kinds is not None else []
        decided = bisect_right(self.decisions, run.step, key=lambda one: one.step)
        return (
            self._plain
            and step <= self.run.step
            and (decided == len(self.decisions) or self.decisions[decided].step > step)
            and bisect_left(special, run.step) == bisect_left(special, step)
            and all(way.sustain == 1 for way in run.state.transitions)
        )

    def resume(self, run: RunState) -> None:
        """Go on from here."""
        self.run, self._forward, self._stay = run, FastForward(self.machine, run), None
        self.ended = stop_reason(self.machine, run)

    def cut(self, log: LossLog, step: int) -> None:
        """Take back all that was observed from `step` on; the log still holds what lies before it."""
        if step >= self.run.step:
            return
        self.saved = [one for one in self.saved if one[0] <= step]
        self.resume(self.saved[-1][1].copy())
        self.decisions = [one for one in self.decisions if one.step <= self.run.step]
        self.entries = [one for one in self.entries if one.step <= self.run.step]
        self.play(log, step)
