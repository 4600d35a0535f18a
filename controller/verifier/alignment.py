"""How high the learning rate is where a knob rises, for every moment at which a loss stream can make it rise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from plateau_rule.controller.language.amounts import parse_amount, steps_in
from plateau_rule.controller.language.consistency import hardness
from plateau_rule.controller.machine import BoundState, Knobs, Machine
from plateau_rule.controller.rate import RateClock, advance, learning_rate, length_steps
from plateau_rule.controller.verifier.zone_graph import ANY_CYCLE, Edge, Kind, Node, Reach
from plateau_rule.controller.verifier.zones import FAR, Zone, closed

TOLERANCE = 1e-9  # of a share of the peak, so that a restart reaches 100 % of it


class Moment(NamedTuple):
    """A raise: the first step under the new knobs, and the step on which the rate's phase began."""

    step: int
    anchor: int


class Low(NamedTuple):
    """On step `step` the rate is `share` of the peak, and `asked` was asked.

    late: whether that is after the steps within which the rate must be there.
    """

    step: int
    share: float
    asked: float
    late: bool


class Miss(NamedTuple):
    """A raise into a low rate: a transition, a moment, and what is low then."""

    edge: Edge
    moment: Moment
    step: int
    share: float
    asked: float
    late: bool


class Jump(NamedTuple):
    """The knobs around an edge, the names of those that it raises, and the longest stay after which it still does."""

    before: Knobs
    after: Knobs
    raised: tuple[str, ...]
    longest: int


class Alignment:
    """The rates of a machine, as shares of the peak that is in force."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.total = machine, machine.run.total_steps
        self.align = machine.curriculum.check.align
        self.due = int(parse_amount(self.align.within).count) - 1  # steps after a raise on which `min` is asked
        # Over `rest` the rate falls the faster, the later a raise comes, but it is asked for only as long as the run
        # lasts: lowest after the last raise whose whole stretch lies in the run.
        self.last_whole = FAR if self.total is None else self.total - 1 - max(self.due, self.align.steps)
        self._jumps: dict[tuple[int, int], Jump] = {}
        self._restarts: dict[tuple[int, int, int], bool] = {}

    # The rate

    def clock(self, kind: Kind, anchor: int, step: int) -> RateClock:
        """The rate's clock on a step in a state, given what a node knows and the step that its phase began on."""
        machine, state = self.machine, self.machine.states[kind.state]
        length = length_steps(machine, state, kind.cycle, anchor)
        clock = RateClock(anchor, kind.warm, kind.cycle, length, 1.0)
        return advance(clock, machine, state, step)

    def share(self, kind: Kind, anchor: int, step: int) -> float:
        """The rate on a step."""
        state, clock = self.machine.states[kind.state], self.clock(kind, anchor, step)
        return learning_rate(clock, self.machine, state, step) / (self.machine.peak * clock.scale * state.rate.peak)

    def bends(self, kind: Kind, first: int, last: int) -> list[int]:
        """Steps since the anchor after which the rate turns, the ends of the warm-up and of cycles, within bounds."""
        state = self.machine.states[kind.state]
        found, at = [kind.warm - 1] if kind.warm else [], kind.warm
        for amount in state.rate.cycles[kind.cycle : -1]:
            at += steps_in(amount, self.machine.run, self.total)
            found.append(at - 1)
        return [bend for bend in found if first <= bend <= last]

    def first_below(self, kind: Kind, anchor: int, first: int, last: int, least: float) -> int | None:
        """The first step, within bounds, on which the rate is below a share of the peak."""
        start = first
        for bend in [*self.bends(kind, first - anchor, last - anchor), FAR]:
            end = min(anchor + bend, last)
            if start > end:
                continue
            if self.share(kind, anchor, start) < least:
                return start
            if self.share(kind, anchor, end) < least:  # falling from here to there
                while start < end:
                    middle = (start + end) // 2
                    low = self.share(kind, anchor, middle) < least
                    start, end = (start, middle) if low else (middle + 1, end)
                return start
            start = end + 1
        return None

    # Raises

    def jump(self, edge: Edge) -> Jump:
        """What an edge does to the knobs.

        A ramp is where it would have stood on the first step of the new state: what it would have done by itself is no
        raise.
        """
        old, new = self.machine.states[edge.source.kind.state], self.machine.states[edge.kind.state]
        if old.ramps:
            return self._from_ramp(old, new, edge.spent)
        key = (edge.source.kind.state, edge.kind.state)
        if key not in self._jumps:
            names = _harder(new.knobs, old.knobs)
            self._jumps[key] = Jump(old.knobs, new.knobs, names, FAR)
        return self._jumps[key]

    def _from_ramp(self, old: BoundState, new: BoundState, spent: tuple[int, int]) -> Jump:
        over = self.machine.ramp_steps(old, self.total)

        def knobs(time: int) -> Knobs:
            return {**old.knobs, **{name: ramp.value(time, over[name]) for name, ramp in old.ramps.items()}}

        first, last = spent[0], min(spent[1], max([spent[0], *over.values()]))
        names = _harder(new.knobs, knobs(first))
        if not names or _harder(new.knobs, knobs(last)):
            return Jump(knobs(first), new.knobs, names, FAR)
        while first < last:  # ramps only rise: find the last time at which something is still raised
            middle = (first + last + 1) // 2
            first, last = (middle, last) if _harder(new.knobs, knobs(middle)) else (first, middle - 1)
        return Jump(knobs(spent[0]), new.knobs, names, first)

    def moments(self, reach: Reach, edge: Edge) -> Iterator[tuple[Edge, Moment]]:
        """The moments of a raise at which the rate can be lowest: the ends of stretches on which it moves one way."""
        zone = self._raising(reach, edge)
        if zone is None:
            return
        for known in self._with_cycle(edge):
            bends = self.bends(known.kind, zone.since_low - 1, zone.since_high)
            turns = {
                since for bend in bends for since in (bend, bend + 1) if zone.since_low <= since <= zone.since_high
            }
            ends = sorted({zone.since_low, zone.since_high, *turns})
            found = [moment for end in ends for moment in _moments(zone, end, reach.period, self.last_whole)]
            falling = zone._replace(since_low=max([zone.since_low, *(bend + 1 for bend in bends)]))
            for moment in dict.fromkeys([*found, *_last(falling, reach.period, self.last_whole)]):
                yield known, moment

    def _raising(self, reach: Reach, edge: Edge) -> Zone | None:
        """When an edge raises a knob: after a stay that is short enough."""
        high = min(edge.zone.entry_high, edge.entered[1] + self.jump(edge).longest)
        return closed(edge.zone._replace(entry_high=high), reach.period)

    def _with_cycle(self, edge: Edge) -> Iterator[Edge]:
        """The edge, for each cycle that the rate can be in where that was not kept."""
        if edge.kind.cycle != ANY_CYCLE:
            yield edge
            return
        for cycle in range(len(self.machine.states[edge.kind.state].rate.cycles) or 1):
            yield Edge(edge.source, edge.place, edge.spent, edge.steps, edge.entered, edge.phase, edge.shift,
                       edge.kind._replace(cycle=cycle), edge.zone, edge.to)  # fmt: skip

    def miss(self, reach: Reach, edge: Edge, moment: Moment) -> Miss | None:
        """The first step after a raise on which the rate is lower than asked, as long as the new state can last."""
        if edge.shift is None and self._fine_after_restart(edge.kind, moment):
            return None
        end = FAR if self.total is None else self.total - 1  # the last step of the stay
        end = min(end, _longest(reach, edge, moment.step) - 1)
        low = self._low(edge.kind, moment, end)
        return None if low is None else Miss(edge, moment, *low)

    def _fine_after_restart(self, kind: Kind, moment: Moment) -> bool:
        """Whether a restart there is followed by a high rate however long the stay; it need be asked only once."""
        rate = self.machine.states[kind.state].rate
        if (rate.cycles[kind.cycle] if rate.cycles else rate.length).unit == "rest":
            return False
        key = (kind.state, kind.cycle, kind.warm)
        if key not in self._restarts:
            self._restarts[key] = self._low(kind, Moment(moment.step, moment.step), FAR) is None
        return self._restarts[key]

    def _low(self, kind: Kind, moment: Moment, end: int) -> Low | None:
        """The first step up to `end` on which the rate after a raise is lower than asked."""
        first = moment.step + self.due
        if first <= end:
            found = self.share(kind, moment.anchor, first)
            if found < self.align.min - TOLERANCE:
                return Low(first, found, self.align.min, False)
        last = min(end, moment.step + self.align.steps)
        step = self.first_below(kind, moment.anchor, first + 1, last, self.align.hold - TOLERANCE)
        return None if step is None else Low(step, self.share(kind, moment.anchor, step), self.align.hold, True)

    def left(self, found: Miss) -> int:
        """Steps of the run that were left at the first raise of this kind: FAR where no late raise is the reason.

        Over `rest` a restart falls the faster, the later it comes; what is low only because the run ends has a first
        step, between the earliest raise and the one that was found.
        """
        edge, state = found.edge, self.machine.states[found.edge.kind.state]
        amount = state.rate.cycles[edge.kind.cycle] if state.rate.cycles else state.rate.length
        if self.total is None or edge.shift is not None or amount.unit != "rest":
            return FAR
        first, last = edge.zone.entry_low, found.moment.step
        while first < last:
            middle = (first + last) // 2
            low = self._low(edge.kind, Moment(middle, middle), self.total - 1) is not None
            first, last = (first, middle) if low else (middle + 1, last)
        return self.total - first

    def before(self, reach: Reach, edge: Edge) -> Iterator[float]:
        """Shares of the peak on the last step of the stay that an edge ends, for the moments at which it raises."""
        for moment in dict.fromkeys(moment for _, moment in self.moments(reach, edge)):
            anchor = None if edge.shift is None else moment.anchor
            for _, begun in reach.before(edge, moment.step, anchor):
                yield self.share(edge.source.kind, begun, moment.step - 1)


def _harder(new: Knobs, old: Knobs) -> tuple[str, ...]:
    return tuple(name for name, value in new.items() if hardness(value) > hardness(old[name]))


def _moments(zone: Zone, since: int, period: int, between: int) -> Iterator[Moment]:
    """Moments of a zone with (about) so many steps since the anchor: the first, the last, and around one between."""
    for pinned in _nearest(zone, since, period):
        steps = {pinned.entry_low, pinned.entry_high}
        if pinned.entry_low < between < pinned.entry_high:
            early, late = pinned._replace(entry_high=between), pinned._replace(entry_low=between)
            steps |= {step for part in (closed(early, period), closed(late, period)) if part for step in part[:2]}
        yield from (Moment(step, step - pinned.since_low) for step in sorted(steps))


def _last(zone: Zone, period: int, between: int) -> Iterator[Moment]:
    """The last moments of a zone, and up to one between: with their earliest anchor, and with the latest of all.

    Over `rest` the rate can be lowest there, where remainders leave the latest entries no longest distance.
    """
    parts = [closed(zone._replace(entry_high=min(zone.entry_high, high)), period) for high in (between, FAR)]
    ends = [end for part in parts if part for end in (part._replace(entry_low=part.entry_high),
                                                      part._replace(anchor_low=part.anchor_high))]  # fmt: skip
    yield from (Moment(end.entry_high, end.anchor_low) for end in (closed(one, period) for one in ends) if end)


def _nearest(zone: Zone, since: int, period: int) -> Iterator[Zone]:
    """What a zone holds with so many steps since the anchor, or else with the next numbers below and above."""
    exactly = closed(zone._replace(since_low=since, since_high=since), period)
    if exactly is not None:
        yield exactly
        return
    for low, high, rising in ((zone.since_low, since - 1, False), (since + 1, zone.since_high, True)):
        while (part := closed(zone._replace(since_low=low, since_high=high), period)) is not None:
            number = part.since_low if rising else part.since_high
            pinned = closed(part._replace(since_low=number, since_high=number), period)
            if pinned is not None:
                yield pinned
                break
            low, high = (number + 1, high) if rising else (low, number - 1)  # its remainders fit, its bounds do not


def _longest(reach: Reach, edge: Edge, entry: int) -> int:
    """The last step at which a stay that is entered on a step can be ended."""
    found = FAR
    for course, first, last in reach.courses_of(Node(edge.kind, edge.zone, edge)):
        if first <= entry <= last:
            for deadline in course.deadlines:
                bound, _ = deadline.bound(reach.period, entry, entry, (entry % reach.period, 0))
                found = min(found, bound.steps + entry * bound.relative)
    return found
