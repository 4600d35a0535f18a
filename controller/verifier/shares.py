"""The learning rate as a share of the peak in force: on a step, and bounds on it over a box of steps and anchors.

Between two bends (the end of the warm-up, the ends of cycles) a share only falls with the steps since the anchor, and
in a warm-up it only rises. Over `rest`, a later anchor makes it fall faster. So the lowest and the highest share
in a box are taken in its corners and at the bends inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from plateau_rule.controller.language.amounts import Amount, steps_in
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.rate import RateClock, advance, learning_rate, length_steps, multiplier
from plateau_rule.controller.verifier.zone_graph import ANY_CYCLE, Kind

Range = tuple[int, int]


class Phase(NamedTuple):
    """What is known of the rate's clock: the state, the cycle at the anchor, the steps of warm-up after it."""

    state: BoundState
    cycle: int
    warm: int


class Shares:
    """The shares of a machine's rate."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.total = machine, machine.run.total_steps

    def share(self, kind: Kind, anchor: int, step: int) -> float:
        """The rate on a step in a state, given what a node knows and the step that its phase began on."""
        machine, state = self.machine, self.machine.states[kind.state]
        clock = RateClock(anchor, kind.warm, kind.cycle, length_steps(machine, state, kind.cycle, anchor), 1.0)
        clock = advance(clock, machine, state, step)
        return learning_rate(clock, machine, state, step) / (machine.peak * clock.scale * state.rate.peak)

    def bounds(self, kind: Kind, since: Range, anchors: Range) -> tuple[float, float]:
        """The least and the most that the share can be, this many steps after an anchor in a range."""
        least, most = inf, -inf
        for phase in self._phases(kind):
            for low, high in self._ends(phase, since, anchors):
                least, most = min(least, low), max(most, high)
        return least, most

    def _phases(self, kind: Kind) -> Iterator[Phase]:
        """What the rate's clock may be; where nodes are merged, any cycle, with a warm-up behind it or not."""
        state = self.machine.states[kind.state]
        if kind.cycle != ANY_CYCLE:
            yield Phase(state, kind.cycle, kind.warm)
            return
        for cycle in range(len(state.rate.cycles) or 1):
            for warm in {kind.warm, 0}:
                yield Phase(state, cycle, warm)

    def _ends(self, phase: Phase, since: Range, anchors: Range) -> Iterator[tuple[float, float]]:
        """The least and the most between two bends, for each such stretch inside the range."""
        state, (first, last), warm = phase.state, since, phase.warm
        if first < warm:
            yield (first + 1) / (warm + 1), min(last + 1, warm) / (warm + 1)
        cycles = state.rate.cycles[phase.cycle :] or (state.rate.length,)
        start = warm
        for number, amount in enumerate(cycles):
            goes_on = number + 1 == len(cycles)
            begins = start if number else 0  # a warm-up belongs to the cycle that it stands before
            longest, shortest = (self._length(amount, anchor + begins) for anchor in anchors)
            end = last if goes_on else min(last, start + longest - 1)
            if end >= max(first, start):
                begun = max(first, start) - start
                yield self._multiplier(state, end - start, shortest), self._multiplier(state, begun, longest)
            start += longest
            if start > last and not goes_on:
                return

    def _length(self, amount: Amount, anchor: int) -> int:
        if amount.unit == "rest" and self.total is None:
            return 1
        return steps_in(amount, self.machine.run, self.total, anchor)

    @staticmethod
    def _multiplier(state: BoundState, steps: int, length: int) -> float:
        rate = state.rate
        return multiplier(rate.shape, rate.floor, rate.decay, steps, length)
