"""The learning rate as a share of the peak in force: on a step, and bounds on it over a box of steps and anchors.

Between two bends (the end of the warm-up, the ends of cycles) a share only falls with the steps since the anchor, and
in a warm-up it only rises. Over `rest`, a later anchor makes it fall faster. So the lowest and the highest share
in a box are taken in its corners and at the bends inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

from plateau_rule.controller.bound_rates import EndlessCycles
from plateau_rule.controller.language.amounts import Amount, steps_in
from plateau_rule.controller.machine import LATE_SHARE, LATE_STEPS, BoundState, Machine, Warmup
from plateau_rule.controller.rate import RateClock, advance, length_steps, multiplier, share_of_peak, warming
from plateau_rule.controller.verifier.metered import Phase0
from plateau_rule.controller.verifier.zone_graph import ANY_CYCLE, ANY_WARMUP, Kind

Range = tuple[int, int]


class Phase(NamedTuple):
    """What is known of the rate's clock: the state, the cycle at the anchor, the warm-up after it."""

    state: BoundState
    cycle: int
    warm: Warmup


class Shares:
    """The shares of a machine's rate."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.total = machine, machine.run.total_steps
        self._lifts, self._late = lifts(machine), late_counts(machine)
        self._warmups = {Warmup(), machine.warmup, *(state.rate.warmup for state in machine.states)}

    def share(self, kind: Kind, anchor: int, step: int, counted: Sequence[Phase0] = ()) -> float:
        """The rate on a step in a state, given what a node knows and the step that its phase began on.

        Where a meter measures the length, the least that it can be.
        """
        if counted:
            return self.bounds(kind, (step - anchor, step - anchor), (anchor, anchor), counted)[0]
        machine, state = self.machine, self.machine.states[kind.state]
        warm, length = kind.warm, length_steps(machine, state, kind.cycle, anchor + kind.warm.steps)
        clock = RateClock(anchor, warm.steps, kind.cycle, length, 1.0, warm.start)
        return max(share_of_peak(advance(clock, machine, state, step), state, step), self._lifts[kind.state])

    def bounds(
        self, kind: Kind, since: Range, anchors: Range, counted: Sequence[Phase0] = (), restarted: bool = False
    ) -> tuple[float, float]:
        """The least and the most that the share can be.

        Args:
            kind: what a node knows.
            since: so many steps after an anchor.
            anchors: the steps that it can be on.
            counted: what each meter has counted by then.
            restarted: whether the rate was restarted; in the last part of the run it is then judged as just before it.
        """
        least, most = inf, -inf
        for phase in self._phases(kind):
            meter = self.machine.meter_of(phase.state.rate.length) if not phase.state.rate.cycles else None
            ends = self._ends(phase, since, anchors) if meter is None else (
                self._metered(phase, since, counted[meter], meter, restarted)
            )  # fmt: skip
            for low, high in ends:
                least, most = min(least, low), max(most, high)
        lift = self._lifts[kind.state]
        return max(least, lift), max(most, lift)

    def _phases(self, kind: Kind) -> Iterator[Phase]:
        """What the rate's clock may be; where nodes are merged, any cycle, with a warm-up behind it or not."""
        state = self.machine.states[kind.state]
        if kind.cycle != ANY_CYCLE:
            yield Phase(state, kind.cycle, kind.warm)
            return
        for cycle in range(1 if _are_alike(state) else len(state.rate.cycles) or 1):
            for warm in self._warmups if kind.warm == ANY_WARMUP else {kind.warm, Warmup()}:
                yield Phase(state, cycle, warm)

    def _ends(self, phase: Phase, since: Range, anchors: Range) -> Iterator[tuple[float, float]]:
        """The least and the most between two bends, for each such stretch inside the range."""
        state, (first, last), (warm, begins_at) = phase.state, since, phase.warm
        if first < warm:
            yield warming(first, warm, begins_at), warming(min(last, warm - 1), warm, begins_at)
        cycles, start = state.rate.cycles or (state.rate.length,), warm
        begun, beyond = min(phase.cycle, len(cycles) - 1), len(cycles)
        if _are_alike(state):  # as many as it takes to have seen a whole one
            start += max(0, first - start) // (length := self._length(cycles[0], 0)) * length
            begun, beyond = 0, 3
        for number in range(begun, beyond):
            amount, goes_on = cycles[number], number + 1 == len(cycles)
            longest, shortest = (self._length(amount, anchor + start) for anchor in anchors)
            end = last if goes_on else min(last, start + longest - 1)
            if end >= max(first, start):
                passed = max(first, start) - start
                yield self._multiplier(state, end - start, shortest), self._multiplier(state, passed, longest)
            start += longest
            if start > last and not goes_on:
                return

    def _metered(
        self, phase: Phase, since: Range, counted: Phase0, meter: int, restarted: bool
    ) -> Iterator[tuple[float, float]]:
        """The same where a meter measures the length: a share falls with what was counted since phase 0."""
        state, (first, last), (warm, begins_at) = phase.state, since, phase.warm
        if first < warm:
            yield warming(first, warm, begins_at), warming(min(last, warm - 1), warm, begins_at)
        if last < warm:
            return
        amount, length = state.rate.length, self.machine.length or 0
        if amount.unit == "rest":
            begun = counted.begun
            if restarted:
                begun = min(begun[0], length - self._late[meter]), min(begun[1], length - self._late[meter])
            shortest, longest = max(0, length - begun[1]), max(0, length - begun[0])
        else:
            shortest = longest = self.machine.count_in(amount, self.machine.length)
        low, high = (max(0, count) for count in counted.since)
        yield self._multiplier(state, high, shortest), self._multiplier(state, low, longest)

    def _length(self, amount: Amount, anchor: int) -> int:
        if amount.unit == "rest" and self.total is None:
            return 1
        return steps_in(amount, self.machine.run, self.total, anchor)

    @staticmethod
    def _multiplier(state: BoundState, steps: int, length: int) -> float:
        rate = state.rate
        return multiplier(rate.shape, rate.floor, rate.decay, steps, length)


def lifts(machine: Machine) -> list[float]:
    """For each state, the share of the peak that the lowest rate of the file surely keeps; 0 if the peak may grow."""
    actions = (action for state in machine.states for way in state.transitions for action in way.actions)
    if not machine.lowest or any(action.name == "lr_scale" and float(action.argument or 1) > 1 for action in actions):
        return [0.0] * len(machine.states)
    tops = (machine.peak * state.rate.peak * state.rate.follow for state in machine.states)
    return [min(1.0, machine.lowest / top) if top > 0 else 0.0 for top in tops]


def late_counts(machine: Machine) -> list[int]:
    """For each meter, how much lies in the last part of a run, where `rest` alone makes the rate fall."""
    found = []
    for meter, told in enumerate(machine.meters):
        prices = [machine.tally(state, machine.length).extremes(meter)[1] for state in machine.states]
        late = max(int(LATE_SHARE * (told.bound or 0)), LATE_STEPS * machine.align.steps * max(prices))
        found.append(min(late, max(0, (told.bound or 0) - 1)))
    return found


def _are_alike(state: BoundState) -> bool:
    """Whether the rate has cycles without end, all of them as long as the first."""
    cycles = state.rate.cycles
    return isinstance(cycles, EndlessCycles) and cycles.factor == 1
