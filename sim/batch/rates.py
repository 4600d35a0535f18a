"""The learning rate of many runs at once, to the bit that of `controller.rate`.

Runs that stand alike share a clock, and clocks are set only by the controller's own functions; what is worked out here
for many clocks at once is `learning_rate`, in the same order of operations and with the same cosine.
"""

from __future__ import annotations

from math import cos, inf, nan, pi

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.rate import (
    FAR,
    RateClock,
    advance,
    after_transition,
    counts_over,
    learning_rate,
    peak_in_force,
    phase_of,
    start_clock,
)
from plateau_rule.sim.batch.history import Floats, Rows

_COLUMNS = ("top", "floor", "decay", "anchor", "warm", "length", "warm_from")
_SHAPES = ("cosine", "linear", "constant", "wsd")


class Rates:
    """The rate's clocks of `runs` runs of one machine; the first state is entered on step 0."""

    def __init__(self, machine: Machine, runs: int) -> None:
        self._machine = machine
        self.clock_of = np.zeros(runs, dtype=np.intp)  # the place of each run's clock
        self._clocks: list[tuple[BoundState, RateClock]] = []
        self._known: dict[tuple[str, RateClock], int] = {}
        self._table = np.zeros((len(_COLUMNS), 64))
        self._shape = np.zeros(64, dtype=np.int8)
        self._most = 64  # clocks, before those that no run has any more are dropped
        self._due: float = inf  # the first step on which a cycle is over
        self._metered = np.zeros(64, dtype=np.bool_)  # whether a meter measures the length
        self._place(machine.states[0], start_clock(machine))

    def _place(self, state: BoundState, clock: RateClock) -> int:
        """Where a clock stands in the table, put there if it is new."""
        key = (state.name, clock)
        if key in self._known:
            return self._known[key]
        place = self._known[key] = len(self._clocks)
        self._clocks.append((state, clock))
        self._write(place)
        return place

    def _write(self, place: int) -> None:
        state, clock = self._clocks[place]
        if place >= self._table.shape[1]:
            self._table = np.concatenate((self._table, np.zeros_like(self._table)), axis=1)
            self._shape = np.concatenate((self._shape, np.zeros_like(self._shape)))
            self._metered = np.concatenate((self._metered, np.zeros_like(self._metered)))
        rate = state.rate
        top, start = peak_in_force(clock, self._machine, state), clock.warm_from
        self._table[:, place] = (top, rate.floor, rate.decay, clock.anchor, clock.warm_steps, clock.length_steps,
                                 nan if start is None else start)  # fmt: skip
        self._shape[place] = _SHAPES.index(rate.shape)
        self._metered[place] = clock.counts is not None and clock.counts.meter is not None
        if clock.cycle + 1 < len(rate.cycles):
            self._due = min(self._due, clock.anchor + clock.warm_steps + clock.length_steps)

    def _drop_unused(self) -> None:
        used, self.clock_of = np.unique(self.clock_of, return_inverse=True)
        self._clocks = [self._clocks[place] for place in used.tolist()]
        self._known = {(state.name, clock): place for place, (state, clock) in enumerate(self._clocks)}
        for place in range(len(self._clocks)):
            self._write(place)
        self._most = max(64, 2 * len(self._clocks))

    def take(
        self, rows: Rows, transition: BoundTransition, old: BoundState, new: BoundState, step: int
    ) -> tuple[Floats, Floats]:
        """These runs take a transition, and `step` is the first step in the new state: the rates before and after."""
        if len(self._clocks) >= self._most:
            self._drop_unused()
        restarts = any(action.name == "lr_restart" for action in transition.actions)
        places, which = self._distinct(self.clock_of[rows])
        before, after = np.empty(len(places)), np.empty(len(places))
        entered = np.empty(len(places), dtype=np.intp)
        done: dict[object, tuple[int, float]] = {}
        for i, place in enumerate(places.tolist()):
            clock = self._clocks[place][1]
            before[i] = learning_rate(clock, self._machine, old, step - 1)
            clock = advance(clock, self._machine, old, step)
            matters = (clock.cycle, clock.scale) if restarts else clock  # a restart forgets the rest
            if matters not in done:
                clock = after_transition(clock, self._machine, transition, step)
                done[matters] = self._place(new, clock), learning_rate(clock, self._machine, new, step)
            entered[i], after[i] = done[matters]
        self.clock_of[rows] = entered[which]
        return before[which], after[which]

    def _distinct(self, clocks: Rows) -> tuple[Rows, Rows]:
        """The clocks that occur, and for each run which of them; np.unique would sort."""
        occurs = np.zeros(len(self._clocks), dtype=np.bool_)
        occurs[clocks] = True
        places = np.flatnonzero(occurs)
        order = np.empty(len(occurs), dtype=np.intp)
        order[places] = np.arange(len(places))
        return places, order[clocks]

    def advance_to(self, step: int) -> None:
        """Go on to the cycles that `step` is in."""
        if step < self._due:
            return
        self._due = inf
        for place, (state, clock) in enumerate(self._clocks):
            self._clocks[place] = state, advance(clock, self._machine, state, step)
            self._write(place)
        self._known = {(state.name, clock): place for place, (state, clock) in enumerate(self._clocks)}

    def on(self, step: int) -> Floats:
        """The learning rate of every run on `step`."""
        top, floor, decay, anchor, warm, length, start = self._table[:, : len(self._clocks)]
        passed = step - anchor
        phase = np.clip((passed - warm) / np.maximum(length, 1.0), 0.0, 1.0)
        for place in np.flatnonzero(self._metered[: len(phase)]).tolist():
            phase[place] = self._by_meter(place, step)
        share = np.ones(len(phase))
        for code, shape in enumerate(_SHAPES):
            places: NDArray[np.intp] = np.flatnonzero(self._shape[: len(phase)] == code)
            if len(places) and shape != "constant":
                share[places] = _SHARE[shape](phase[places], decay[places])
        rates = top * (floor + (1.0 - floor) * share)
        warming = passed < warm
        if warming.any():
            share = (passed + 1.0) / (warm + 1.0)
            if not np.isnan(start).all():
                from_start = start + (1.0 - start) * passed / np.maximum(warm, 1.0)
                share = np.where(np.isnan(start), share, from_start)
            rates = np.where(warming, top * share, rates)
        if self._machine.lowest:
            rates = np.maximum(rates, self._machine.lowest)
        found: Floats = rates[self.clock_of]
        return found

    def _by_meter(self, place: int, step: int) -> float:
        """A phase that a meter measures: whole numbers, which may be too large for a float."""
        since, length = phase_of(self._clocks[place][1], step)
        return 0.0 if since <= 0 else 1.0 if since >= length else since / length

    def end_of(self, rows: Rows) -> NDArray[np.int64]:
        """The step on which a meter ends each of these runs, if it stays in its state."""
        places, which = self._distinct(self.clock_of[rows])
        ends = np.empty(len(places), dtype=np.int64)
        for i, place in enumerate(places.tolist()):
            ends[i] = min(counts_over(self._machine, self._clocks[place][1]), FAR)
        return ends[which]


def _cosine(phase: Floats, decay: Floats) -> Floats:
    # Not numpy's cosine: its last bit may differ from that of the controller's.
    return 0.5 * (1.0 + np.fromiter(map(cos, (pi * phase).tolist()), dtype=np.float64, count=len(phase)))


def _linear(phase: Floats, decay: Floats) -> Floats:
    return 1.0 - phase


def _wsd(phase: Floats, decay: Floats) -> Floats:
    return np.where(phase < 1.0 - decay, 1.0, np.minimum(1.0, (1.0 - phase) / decay))


_SHARE = {"cosine": _cosine, "linear": _linear, "wsd": _wsd}
