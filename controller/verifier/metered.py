"""What the meters can have counted when a state is entered, as bounds; within a stay they are exact.

Tokens and cost depend on how long a run was in which state. A node keeps the least and the most of them, from the start
of the run and since the rate's phase began; from there on, a stay counts what its tally says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plateau_rule.controller.machine import BoundState, Machine, Warmup
from plateau_rule.controller.tally import StayTally
from plateau_rule.controller.verifier.zones import FAR, CountSpan, Range, Spans, Zone

WHOLE = 10**30  # more than a meter without a bound counts
ANYTHING = (-(10**40), 10**40)
MOST_SKEWS = 6  # prices that counts are held against


class Phase0(NamedTuple):
    """What a meter has counted at some moments of a stay: since phase 0, and by phase 0."""

    since: Range
    begun: Range


class Meterings:
    """The spans of a machine's meters."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self._bounds = machine, dict(machine.bounds)
        states = [state for state in machine.states if state.stop is None] or list(machine.states)
        self.prices: list[Range] = []
        self._skews: list[tuple[int, ...]] = []
        for meter in range(len(machine.meters)):
            found = [self.tally(state).extremes(meter) for state in states]
            self.prices.append((min(low for low, _ in found), max(high for _, high in found)))
            every = sorted({price for both in found for price in both})
            self._skews.append(tuple(every if len(every) <= MOST_SKEWS else every[:1] + every[-1:]))
        self._anything = self._widest()

    @classmethod
    def deciding(cls, machine: Machine) -> Meterings | None:
        """Those of a machine whose run or rate is measured by a meter; None where meters only count."""
        rates = [state.rate for state in machine.states if not state.rate.cycles]
        decides = machine.bounds or any(machine.meter_of(rate.length) is not None for rate in rates)
        return cls(machine) if decides else None

    def tally(self, state: BoundState) -> StayTally:
        """What is counted in a stay in a state."""
        return self.machine.tally(state, self.machine.length)

    def run_steps(self) -> tuple[int, int]:
        """The fewest and the most steps that a run can have; FAR where nothing bounds it."""
        total = FAR if self.machine.total_steps is None else self.machine.total_steps
        fewest, most = total, total
        for meter, bound in self.machine.bounds:
            low, high = self.prices[meter]
            fewest, most = min(fewest, -(-bound // high)), min(most, -(-bound // low))
        return fewest, most

    def start(self) -> Spans:
        """On the first step of a run."""
        begun = self._warming(self.machine.states[0], self.machine.warmup.steps)
        return tuple(
            CountSpan(
                (0, 0), (-count, -count), (count, count), ((0, 0),) * len(skews), ((-count, -count),) * len(skews)
            )
            for count, skews in zip(begun, self._skews, strict=True)
        )

    def _warming(self, state: BoundState, steps: int) -> list[int]:
        return [self.tally(state).at(meter, max(0, steps)) for meter in range(len(self.machine.meters))]

    def anything(self) -> Spans:
        """Where nothing is known."""
        return self._anything

    def _widest(self) -> Spans:
        found = []
        longest = max([self.machine.warmup.steps, *(state.rate.warmup.steps for state in self.machine.states)])
        for meter, (_, high) in enumerate(self.prices):
            most, wide = self._bounds.get(meter, WHOLE), (ANYTHING,) * len(self._skews[meter])
            skews = ((0, ANYTHING[1]), *wide[1:-1], (ANYTHING[0], 0)) if len(wide) > 1 else ((0, 0),)
            found.append(CountSpan((0, most), (-longest * high, most), (0, most + longest * high), skews, wide))
        return tuple(found)

    def gone_on(self, zone: Zone, old: BoundState, spent: Range) -> Spans:
        """After a stay, in the next state, where nobody asks for the rate's phase."""
        return tuple(
            wide._replace(run=run, skews=skews)
            for meter, (span, wide) in enumerate(zip(self.tight(zone), self.anything(), strict=True))
            for run, skews, _ in [self._gone_on(meter, span, old, spent)]
        )

    # From one stay to the next

    def entered(self, zone: Zone, old: BoundState, new: BoundState, spent: Range, since: Range, warm: Warmup) -> Spans:
        """After a stay, in the next state, where the rate's phase goes on.

        Args:
            zone: where the stay was entered.
            old: its state.
            new: the next one.
            spent: how many steps the stay can have.
            since: how many steps the rate's anchor can lie back then.
            warm: the warm-up after that anchor.
        """
        found = []
        for meter, span in enumerate(self.tight(zone)):
            run, skews, moved = self._gone_on(meter, span, old, spent)
            low, high = self._counted(meter, old, spent)
            phase, begun = (span.since[0] + low, span.since[1] + high), span.begun
            phase_skews = tuple(
                (low + by[0], high + by[1]) for (low, high), by in zip(span.phase_skews, moved, strict=True)
            )
            if since[0] < warm.steps:  # the warm-up may go on, and counts what the next state does
                least = -self.tally(new).at(meter, warm.steps - since[0])
                most = -self.tally(new).at(meter, max(0, warm.steps - since[1]))
                phase = (least, most) if since[1] < warm.steps else (min(phase[0], least), max(phase[1], most))
                begun, phase_skews = (run[0] - phase[1], run[1] - phase[0]), (ANYTHING,) * len(moved)
            found.append(CountSpan(run, phase, begun, skews, phase_skews))
        return tuple(found)

    def restarted(self, zone: Zone, old: BoundState, new: BoundState, spent: Range) -> Spans:
        """After a stay, in the next state, where the rate's phase begins."""
        found, warming = [], self._warming(new, new.rate.warmup.steps)
        for meter, span in enumerate(self.tight(zone)):
            (low, high), skews, _ = self._gone_on(meter, span, old, spent)
            count = warming[meter]
            phase = (-count, -count)
            found.append(CountSpan((low, high), phase, (low + count, high + count), skews, (phase,) * len(skews)))
        return tuple(found)

    def in_another_cycle(self, spans: Spans) -> Spans:
        """The same where a cycle of the rate has begun meanwhile, nobody knows by what."""
        found = []
        for span in spans:
            wide = (ANYTHING,) * len(span.phase_skews)
            found.append(span._replace(since=(0, span.run[1]), begun=(0, span.run[1]), phase_skews=wide))
        return tuple(found)

    def _counted(self, meter: int, state: BoundState, spent: Range) -> Range:
        tally = self.tally(state)
        return tally.at(meter, spent[0]), tally.at(meter, spent[1])

    def _gone_on(
        self, meter: int, span: CountSpan, old: BoundState, spent: Range
    ) -> tuple[Range, tuple[Range, ...], tuple[Range, ...]]:
        """What was counted in the run after a stay; its skews, and by how much they have moved."""
        low, high = self._counted(meter, old, spent)
        least, most = self.tally(old).extremes(meter)
        moved = tuple(
            (min((least - price) * steps for steps in spent), max((most - price) * steps for steps in spent))
            for price in self._skews[meter]
        )
        skews = tuple((low + by[0], high + by[1]) for (low, high), by in zip(span.skews, moved, strict=True))
        # A state is entered only while the run is not over.
        run = span.run[0] + low, min(span.run[1] + high, self._bounds.get(meter, WHOLE + 1) - 1)
        return run, skews, moved

    def ended(self, meter: int, span: CountSpan, state: BoundState, spent: Range, steps: Range) -> Range:
        """What a meter has counted at the end of a run that is over in a state, after so many steps in all."""
        low, high = self._counted(meter, state, spent)
        _, skews, _ = self._gone_on(meter, span, state, spent)
        return _within((span.run[0] + low, span.run[1] + high), self._skews[meter], skews, steps)

    # What follows

    def tight(self, zone: Zone) -> Spans:
        """A zone's spans, as tight as they follow from when it is entered."""
        entries, phases = (zone.entry_low, zone.entry_high), (zone.since_low, zone.since_high)
        found = []
        for meter, span in enumerate(zone.spans):
            prices = self._skews[meter]
            run = _within(span.run, prices, span.skews, entries)
            since = _within(span.since, prices, span.phase_skews, phases)
            since = max(since[0], run[0] - span.begun[1]), min(since[1], run[1] - span.begun[0])
            begun = max(span.begun[0], run[0] - since[1]), min(span.begun[1], run[1] - since[0])
            found.append(CountSpan(run, since, begun, span.skews, span.phase_skews))
        return tuple(found)

    def over_from(self, state: BoundState, zone: Zone) -> int:
        """After how many steps in a state the run can be over."""
        tally, spans = self.tally(state), self.tight(zone)
        return min((tally.steps(m, bound - spans[m].run[1]) for m, bound in self.machine.bounds), default=FAR)

    def over_by(self, state: BoundState, zone: Zone) -> int:
        """After how many steps in a state the run is over for sure."""
        tally, spans = self.tally(state), self.tight(zone)
        return min((tally.steps(m, bound - spans[m].run[0]) for m, bound in self.machine.bounds), default=FAR)

    def at(self, state: BoundState, zone: Zone, times: Range) -> Sequence[Phase0]:
        """What each meter has counted after some times in a state."""
        found = []
        for meter, span in enumerate(self.tight(zone)):
            low, high = self._counted(meter, state, times)
            found.append(Phase0((span.since[0] + low, span.since[1] + high), span.begun))
        return found


def _within(count: Range, prices: tuple[int, ...], skews: tuple[Range, ...], steps: Range) -> Range:
    """A count, as the skews allow it after so many steps."""
    low, high = count
    for price, (least, most) in zip(prices, skews, strict=True):
        low, high = max(low, price * steps[0] + least), min(high, price * steps[1] + most)
    return low, high
