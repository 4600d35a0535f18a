"""One curriculum over one log, as far as it has gone: every decision is the Controller's."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.evaluation import take_observation
from plateau_rule.controller.horizon import FastForward
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.plan import Decision, stop_reason
from plateau_rule.controller.rate import RateClock
from plateau_rule.controller.state import SILENT, RunState
from plateau_rule.controller.step import start_run
from plateau_rule.sim.whatif.thin import Floats


class LoggedRun(NamedTuple):
    """What a run has logged.

    Attributes:
        losses: [step], the loss of each step from step 0 on; NaN or infinite where it was.
        evaluations: what came with the observation of a step beside its loss, by step.
    """

    losses: Floats
    evaluations: Mapping[int, Mapping[str, float]]


class Entered(NamedTuple):
    """The entering of a state: the first step in it, and the rate's clock on that step."""

    step: int
    state: BoundState
    rate: RateClock


class LogPlayer:
    """A run of a curriculum that observes a log.

    Attributes:
        run: the state of the run after the last observation.
        decisions: the transitions, in order.
        entries: the states that were entered, in order, the first one at step 0.
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

    def play(self, log: LoggedRun, stop: int) -> None:
        """Observe up to step `stop`, or to the end of the log or of the run."""
        stop = min(stop, len(log.losses))
        special = sorted(log.evaluations)
        while self.run.step < stop and self.ended is None:
            target = stop
            if self.most:
                target = min(stop, self.run.step + self.apart - self.run.step % self.apart)
            self._play_to(log, target, special)
            if self.most and self.run.step % self.apart == 0 and self.run.step > self.saved[-1][0]:
                self._save()

    def _play_to(self, log: LoggedRun, stop: int, special: Sequence[int]) -> None:
        run, machine, per_epoch = self.run, self.machine, self.machine.steps_per_epoch
        start = run.step
        values = log.losses[max(0, start - machine.lag) : max(0, stop - machine.lag)].tolist()
        given: list[float | None] = [*[None] * (stop - start - len(values)), *values]
        careful = {*np.flatnonzero(~np.isfinite(log.losses[start:stop])).tolist()} if not machine.lag else set()
        marks = sorted(
            {start + place for place in careful}
            | {*special[bisect_left(special, start) : bisect_left(special, stop)]}
            | ({*range(start + (-start - 1) % per_epoch, stop, per_epoch)} if per_epoch else set())
        )
        for mark in [*marks, stop]:
            while run.step < mark and self.ended is None:
                if machine.lag:
                    self._one(given[run.step - start], {})
                else:
                    self._took(self._forward.observe_all(values[run.step - start : mark - start])[1])
            if run.step < stop and self.ended is None:
                self._one(given[run.step - start], log.evaluations.get(run.step, {}))

    def _one(self, value: float | None, metrics: Mapping[str, float]) -> None:
        try:
            self._took(take_observation(self.machine, self.run, value, metrics=list(metrics.items())))
        except NonFiniteLoss as error:
            self.ended = str(error)

    def _took(self, decision: Decision | None) -> None:
        if decision is not None:
            self.decisions.append(decision)
            self.entries.append(Entered(decision.step, self.run.state, self.run.rate))
        self.ended = stop_reason(self.machine, self.run)

    # Snapshots

    def _save(self) -> None:
        self.saved.append((self.run.step, self.run.copy()))
        if len(self.saved) > 2 * self.most:
            self.apart *= 2
            self.saved = [one for one in self.saved if one[0] % self.apart == 0]

    def nearest(self, step: int) -> RunState:
        """A copy of the run as it stood at the last snapshot up to a step."""
        return self.saved[bisect_right(self.saved, step, key=lambda one: one[0]) - 1][1].copy()

    def at(self, log: LoggedRun, step: int) -> RunState:
        """The run as it stood when `step` was about to be taken; where it had ended, its end."""
        other = LogPlayer(self.machine)
        other.resume(self.nearest(step))
        other.play(log, step)
        return other.run

    def resume(self, run: RunState) -> None:
        """Go on from here."""
        self.run, self._forward = run, FastForward(self.machine, run)
        self.ended = stop_reason(self.machine, run)

    def cut(self, log: LoggedRun, step: int) -> None:
        """Take back all that was observed from `step` on; the log still holds what lies before it."""
        if step >= self.run.step:
            return
        self.saved = [one for one in self.saved if one[0] <= step]
        self.resume(self.saved[-1][1].copy())
        self.decisions = [one for one in self.decisions if one.step <= self.run.step]
        self.entries = [one for one in self.entries if one.step <= self.run.step]
        self.play(log, step)
