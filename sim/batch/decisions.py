"""What was decided in many runs: one table, a row for each transition that was taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.machine import BoundState, BoundTransition, Knobs, Machine
from plateau_rule.controller.plan import Decision
from plateau_rule.sim.batch.history import Floats, Rows

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Taken:
    """One transition, taken by some runs at one step.

    Attributes:
        transition: the bound transition.
        rows: the runs that took it, from 0.
        step: the first step in the new state.
        lr_before: the learning rate of each of these runs on the last step in the old state.
        lr: the learning rate of each of these runs on the first step in the new state.
    """

    transition: BoundTransition
    rows: Rows
    step: int
    lr_before: Floats
    lr: Floats


@dataclass(frozen=True)
class Decisions:
    """Every transition that was taken, as columns of one length, ordered by run and step.

    Attributes:
        run: the run, from 0.
        step: the first step that the new state applies to.
        epoch: the epoch of that step.
        from_state: the place of the old state among the machine's states.
        to_state: the place of the new state among them.
        transition: its place among the transitions out of the old state.
        lr_before: the learning rate on the last step in the old state.
        lr: the learning rate on the first step in the new state.
        loss: the loss that was observed; NaN where an evaluation brought the transition.
    """

    run: Numbers
    step: Numbers
    epoch: Numbers
    from_state: Numbers
    to_state: Numbers
    transition: Numbers
    lr_before: Floats
    lr: Floats
    loss: Floats

    def __len__(self) -> int:
        return len(self.run)

    def ordered(self) -> Decisions:
        """The same by run, then step."""
        order = np.lexsort((self.step, self.run))
        return Decisions(*(getattr(self, column.name)[order] for column in fields(self)))

    def shifted(self, runs: int) -> Decisions:
        """The same, with runs that count from `runs`."""
        return replace(self, run=self.run + runs)

    def of(self, run: int) -> slice:
        """Where one run's decisions stand."""
        return slice(int(np.searchsorted(self.run, run)), int(np.searchsorted(self.run, run + 1)))

    def spelled(self, machine: Machine, run: int) -> Iterator[Decision]:
        """One run's decisions as the controller records them, without the lines on its guards."""
        entered = 0
        rows = self.of(run)
        for i in range(rows.start, rows.stop):
            old, new = (machine.states[int(place)] for place in (self.from_state[i], self.to_state[i]))
            step = int(self.step[i])
            loss = None if old.transitions[int(self.transition[i])].at == "eval" else float(self.loss[i])
            before, after = knobs_at(machine, old, step - 1 - entered), knobs_at(machine, new, 0)
            yield Decision(
                step,
                int(self.epoch[i]),
                old.name,
                new.name,
                old.transitions[int(self.transition[i])].title,
                before,
                after,
                float(self.lr_before[i]),
                float(self.lr[i]),
                loss,
                (),
                machine.harder(after, before),
            )
            entered = step


class Ledger:
    """Where decisions are written down as they are taken."""

    def __init__(self) -> None:
        self._rows: list[Rows] = []
        self._numbers: list[tuple[int, ...]] = []
        self._values: list[tuple[Floats, ...]] = []

    def add(self, rows: Rows, numbers: tuple[int, int, int, int, int], values: tuple[Floats, Floats, Floats]) -> None:
        """Write down that these runs took a transition.

        Args:
            rows: the runs.
            numbers: the columns of Decisions from `step` to `transition`, in their order.
            values: the columns from `lr_before` to `loss`, in their order.
        """
        self._rows.append(rows)
        self._numbers.append(numbers)
        self._values.append(values)

    def decisions(self) -> Decisions:
        """All of them as one table."""
        if not self._rows:
            return joined([])
        counts = [len(rows) for rows in self._rows]
        numbers = np.repeat(np.array(self._numbers, dtype=np.int64), counts, axis=0).T
        values = (np.concatenate(column) for column in zip(*self._values, strict=True))
        return Decisions(np.concatenate(self._rows), *numbers, *values).ordered()


def joined(parts: Sequence[Decisions]) -> Decisions:
    """Tables put below each other."""
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Decisions(empty, empty, empty, empty, empty, empty, np.zeros(0), np.zeros(0), np.zeros(0))
    return Decisions(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Decisions)))


def knobs_at(machine: Machine, state: BoundState, time: int) -> Knobs:
    """Every knob's value after `time` observations in a state."""
    ramps = machine.ramps(state, machine.length)
    return {**state.knobs, **{name: ramp.value(time) for name, ramp in ramps.items()}}
