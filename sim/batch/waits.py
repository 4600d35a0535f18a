"""Transitions that were decided and do not apply yet, in many runs: what `find_ahead` does for one.

What clocks have in store for a stay is asked of the controller's own rules, once for all runs that enter a state on the
same step with the same transitions left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.certainty import first_certain, is_clockwork
from plateau_rule.controller.machine import BoundTransition, Machine
from plateau_rule.controller.state import Due
from plateau_rule.controller.step import start_run
from plateau_rule.sim.batch.clocks import Clocks
from plateau_rule.sim.batch.exits import Exit
from plateau_rule.sim.batch.history import Floats, Mask, Rows

ALWAYS = -(1 << 40)  # a step so early that no run has it: what was certain before the run
NONE = -1  # no transition
Fired = tuple[Exit, Rows, Floats | None]  # a transition, the runs that take it now, and the loss of every run
Count = Callable[[BoundTransition, Rows, int], None]


class Waits:
    """What waits in each run, and what clocks have in store for it.

    Args:
        machine: the bound curriculum.
        runs: the number of runs.
        clocks: those of the batch.
        exits: of each state.
        used: gives how often a transition was taken in each run, by its key; None where it never was.
        count: adds to that.
    """

    def __init__(
        self,
        machine: Machine,
        runs: int,
        clocks: Clocks,
        exits: Sequence[Sequence[Exit]],
        used: Callable[[str], NDArray[np.int64] | None],
        count: Count,
    ) -> None:
        self._machine, self._clocks, self._exits, self._used, self._count = machine, clocks, exits, used, count
        self.place = np.full(runs, NONE, dtype=np.int64)  # of the transition that waits, among those of the state
        self._step = np.zeros(runs, dtype=np.int64)  # the first step that it applies to
        self._known = np.zeros(runs, dtype=np.int64)  # the step whose observation decided it
        self._loss = np.zeros(runs)
        self._by_clocks = np.zeros(runs, dtype=np.bool_)
        self._since = np.full(runs, ALWAYS, dtype=np.int64)  # the step that made the present stay certain
        self._due_place = np.full(runs, NONE, dtype=np.int64)
        self._due_step = np.zeros(runs, dtype=np.int64)
        self._clockwork = [is_clockwork(machine, s, machine.stay(s, machine.length)) for s in machine.states]
        self._stores: dict[tuple[int, int, int], Due | None] = {}

    def enter(self, place: int, rows: Rows, since: NDArray[np.int64] | int) -> None:
        """These runs enter a state; `since` is the step whose observation made that certain."""
        step, ways = self._clocks.step, self._machine.states[place].transitions
        self.place[rows] = self._due_place[rows] = NONE
        self._since[rows] = since
        codes = np.zeros(len(rows), dtype=np.int64)
        for bit, way in enumerate(ways):
            used = None if way.at_most is None else self._used(way.key)
            if used is not None and way.at_most is not None:
                codes |= (used[rows] >= way.at_most).astype(np.int64) << bit
        for code in np.unique(codes).tolist():
            due = self._in_store(place, step, code)
            if due is None or not ways[due.place].lead:
                continue
            some, lead = rows[codes == code], ways[due.place].lead
            if due.time > lead:
                self._due_place[some], self._due_step[some] = due.place, step + due.time
            else:
                self._wait(ways[due.place], due.place, some, np.maximum(step + due.time, self._since[some] + 1 + lead))
                self._known[some], self._by_clocks[some] = self._since[some], True

    def _in_store(self, place: int, step: int, code: int) -> Due | None:
        """What clocks decide in a stay that begins at a step, where the transitions of a code are used up."""
        key = (place, step, code)
        if key not in self._stores:
            machine, run = self._machine, start_run(self._machine)
            run.state, run.stay = machine.states[place], machine.stay(machine.states[place], machine.length)
            run.step, run.epoch, run.waiting, run.due = step, self._clocks.epoch, None, None
            run.sustained = [0] * len(run.state.transitions)
            run.taken = {way.key: way.at_most or 0 for bit, way in enumerate(run.state.transitions) if code >> bit & 1}
            self._stores[key] = first_certain(machine, run)
        return self._stores[key]

    def _wait(self, way: BoundTransition, place: int, rows: Rows, step: NDArray[np.int64] | int) -> None:
        self.place[rows], self._step[rows], self._due_place[rows] = place, step, NONE
        self._count(way, rows, 1)

    def known(self, exit_: Exit, place: int, rows: Rows) -> NDArray[np.int64]:
        """The step whose observation made the transition certain that these runs take now."""
        since = self._since[rows] if self._clockwork[place] else np.full(len(rows), self._clocks.step - 1)
        found: NDArray[np.int64] = np.where(self.place[rows] == exit_.place, self._known[rows], since)
        return found

    def sort(
        self, place: int, inside: Mask, fired: list[tuple[Exit, Rows]], losses: Floats | None, dead: Mask | None
    ) -> list[Fired]:
        """Of what fired in a state, and what waits, what is taken now; the rest waits.

        Args:
            place: the state.
            inside: [run], whether a run is in it.
            fired: the transitions whose guards held, of runs where something waits only those that wait for nothing.
            losses: [run].
            dead: [run], where only what answers non-finite losses may be taken; None where nowhere.
        """
        chosen = np.full(len(inside), NONE, dtype=np.int64)
        for exit_, rows in fired:
            chosen[rows] = exit_.place
            self.place[rows] = NONE  # what waited is dropped
        found = self._ready(place, inside & (chosen == NONE), losses, dead)
        self._decide_due(place, inside, chosen, dead)
        for exit_ in self._exits[place]:
            rows = np.flatnonzero(inside & (chosen == exit_.place))
            if not len(rows):
                continue
            if not exit_.transition.lead:
                found.append((exit_, rows, losses))
                continue
            self._known[rows], self._by_clocks[rows] = self._clocks.step - 1, False
            self._loss[rows] = np.nan if losses is None else losses[rows]
            self._wait(exit_.transition, exit_.place, rows, self._clocks.step + exit_.transition.lead)
        return found

    def _ready(self, place: int, inside: Mask, losses: Floats | None, dead: Mask | None) -> list[Fired]:
        """What waits, and applies now."""
        found = list[Fired]()
        for exit_ in self._exits[place]:
            ready = inside & (self.place == exit_.place) & (self._clocks.step >= self._step)
            if dead is not None and not exit_.answers_nonfinite:
                ready &= ~dead
            if ready.any():
                rows = np.flatnonzero(ready)
                self._count(exit_.transition, rows, -1)  # it was counted when it was decided
                now = np.full(len(inside), np.nan) if losses is None else losses
                found.append((exit_, rows, np.where(self._by_clocks, now, self._loss)))
        return found

    def _decide_due(self, place: int, inside: Mask, chosen: NDArray[np.int64], dead: Mask | None) -> None:
        """Let what clocks have in store wait from now on, where no earlier transition of the file was chosen."""
        for exit_ in self._exits[place]:
            due = inside & (self._due_place == exit_.place)
            due &= self._clocks.step >= self._due_step - exit_.transition.lead
            due &= (chosen == NONE) | (chosen >= exit_.place)
            if dead is not None and not exit_.answers_nonfinite:
                due &= ~dead
            if due.any():
                rows = np.flatnonzero(due)
                chosen[rows] = NONE
                self._known[rows] = self._since[rows] if self._clockwork[place] else self._clocks.step - 1
                self._by_clocks[rows] = True
                self._wait(exit_.transition, exit_.place, rows, self._due_step[rows])
