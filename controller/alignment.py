"""How high the learning rate is where a knob rises, for every moment at which a loss stream can make it rise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controller import clockwork
from controller.amounts import parse_amount, steps_in
from controller.binding import BoundState, Knobs, Machine
from controller.clockwork import RateClock
from controller.reach import Edge, Kind, Reach
from controller.sense import hardness
from controller.zones import FAR, Zone, closed, down, up

TOLERANCE = 1e-9  # of a share of the peak, so that a restart reaches 100 % of it


class Moment(NamedTuple):
    """A raise: the first step under the new knobs, and the step on which the rate's phase began."""

    step: int
    anchor: int


@dataclass(frozen=True, slots=True)
class Miss:
    """A raise into a low rate: on step `step` the rate is `share` of the peak, and `asked` was asked."""

    edge: Edge
    moment: Moment
    step: int
    share: float
    asked: float


@dataclass(slots=True)
class Raise:
    """A transition that raises knobs from one state to another, and the shares of the peak around it."""

    index: int
    source: str
    target: str
    knobs: dict[str, tuple[object, object]]
    before: list[float]
    after: list[float]


def clock_of(machine: Machine, kind: Kind, anchor: int, step: int) -> RateClock:
    """The rate's clock on a step in a state, given the descriptor of a node and the step its phase began on."""
    state = machine.states[kind.state]
    total = machine.run.total_steps
    clock = RateClock(anchor, kind.warm, kind.cycle, 1, 1.0)
    amount = clockwork.amount_in_force(clock, state)
    length = 1 if amount.unit == "rest" and total is None else steps_in(amount, machine.run, total, anchor)
    return clockwork.advanced(RateClock(anchor, kind.warm, kind.cycle, length, 1.0), machine, state, step, total)


def share(machine: Machine, clock: RateClock, state: BoundState, step: int) -> float:
    """The rate on a step as a share of the peak that is in force there."""
    return clockwork.rate(clock, machine, state, step) / (machine.peak * clock.scale * state.rate.peak)


def bends(machine: Machine, kind: Kind, most: int) -> list[int]:
    """Steps since the phase's anchor, below `most`, after which the rate turns: the ends of the warm-up and of cycles."""
    state = machine.states[kind.state]
    found, at = [kind.warm - 1] if kind.warm else [], kind.warm
    for amount in state.rate.cycles[kind.cycle : -1]:
        at += steps_in(amount, machine.run, machine.run.total_steps)
        found.append(at - 1)
    return [bend for bend in found if 0 <= bend < most]


def raised(machine: Machine, edge: Edge) -> tuple[Knobs, Knobs, tuple[str, ...], int]:
    """The knobs around an edge, those that it raises, and the longest stay after which it still does.

    A ramp is where it would have stood on the first step of the new state: what the ramp would have done by itself is
    no raise.
    """
    old, new = machine.states[edge.source.kind.state], machine.states[edge.kind.state]
    stay = machine.stay(old, machine.run.total_steps)

    def after(time: int) -> dict[str, object]:
        return {**old.knobs, **{name: ramp.value(time, stay.ramp_steps[name]) for name, ramp in old.ramps.items()}}

    def rising(time: int) -> tuple[str, ...]:
        there = after(time)
        return tuple(name for name, value in new.knobs.items() if hardness(value) > hardness(there[name]))  # type: ignore[arg-type]

    low, high = edge.spent
    names = rising(low)
    if not names or not old.ramps:
        return after(low), new.knobs, names, high  # type: ignore[return-value]
    high = min(high, max([low, *stay.ramp_steps.values()]))
    first, last = low, high
    while first < last:  # ramps only rise: find the last time at which something is still raised
        middle = (first + last + 1) // 2
        first, last = (middle, last) if rising(middle) else (first, middle - 1)
    return after(low), new.knobs, names, edge.spent[1] if rising(edge.spent[1]) else first  # type: ignore[return-value]


def moments_of(machine: Machine, reach: Reach, edge: Edge, longest: int) -> Iterator[Moment]:
    """The moments of an edge at which the rate can be lowest: the ends of each stretch on which it moves one way."""
    zone: Zone | None = edge.zone
    if longest < edge.spent[1]:  # only a short enough stay is a raise
        zone = closed(edge.zone._replace(entry_high=min(edge.zone.entry_high, edge.entered[1] + longest)), reach.period)
    if zone is None:
        return
    ends = {zone.since_low, zone.since_high}
    for bend in bends(machine, edge.kind, zone.since_high + 1):
        ends |= {since for since in (bend, bend + 1) if zone.since_low <= since <= zone.since_high}
    seen = set[Moment]()
    for end in sorted(ends):
        for since in _nearest(zone, end, reach.period):
            around = (_first(zone, since, reach.period), _last(zone, since, reach.period))
            for moment in (*around, *_held_to_the_end(machine, zone, since, reach.period)):
                if moment is not None and moment not in seen:
                    seen.add(moment)
                    yield moment


def _nearest(zone: Zone, since: int, period: int) -> set[int]:
    """Steps since the anchor that the zone has, at or next to a wanted number."""
    if zone.anchor_low == zone.anchor_high:
        anchor = zone.anchor_low
        found = {
            down(since + anchor, zone.entry_arc, period) - anchor,
            up(since + anchor, zone.entry_arc, period) - anchor,
        }
    elif zone.entry_arc and zone.anchor_arc and zone.entry_arc[1] == zone.anchor_arc[1] == 0:
        arc = ((zone.entry_arc[0] - zone.anchor_arc[0]) % period, 0)
        found = {down(since, arc, period), up(since, arc, period)}
    else:
        found = {since}
    return {number for number in found if zone.since_low <= number <= zone.since_high}


def _first(zone: Zone, since: int, period: int) -> Moment | None:
    step = up(max(zone.entry_low, zone.anchor_low + since), zone.entry_arc, period)
    return _moment(zone, step, since, period)


def _last(zone: Zone, since: int, period: int) -> Moment | None:
    step = down(min(zone.entry_high, zone.anchor_high + since), zone.entry_arc, period)
    return _moment(zone, step, since, period)


def _held_to_the_end(machine: Machine, zone: Zone, since: int, period: int) -> Iterator[Moment | None]:
    """The moments around the last raise whose whole stretch of [check] align lies in the run.

    A rate that falls over `rest` falls the faster, the later it began, and is asked for only as long as the run lasts.
    """
    total = machine.run.total_steps
    if total is not None:
        last = min(max(zone.entry_low, total - 1 - machine.curriculum.check.align.steps), zone.entry_high)
        yield _moment(zone, down(last, zone.entry_arc, period), since, period)
        yield _moment(zone, up(last, zone.entry_arc, period), since, period)


def _moment(zone: Zone, step: int, since: int, period: int) -> Moment | None:
    anchor = step - since
    fits = zone.anchor_low <= anchor <= zone.anchor_high and up(anchor, zone.anchor_arc, period) == anchor
    return Moment(step, anchor) if fits and zone.entry_low <= step <= zone.entry_high else None


def miss(machine: Machine, reach: Reach, edge: Edge, moment: Moment) -> Miss | None:
    """The first step after a raise on which the rate is lower than asked, as long as the new state can last."""
    align = machine.curriculum.check.align
    due = int(parse_amount(align.within).count) - 1
    state, total = machine.states[edge.kind.state], machine.run.total_steps
    end = min(FAR if total is None else total, _longest(reach, edge, moment.step)) - 1  # the last step of the stay
    first = moment.step + due
    if first <= end:
        found = share(machine, clock_of(machine, edge.kind, moment.anchor, first), state, first)
        if found < align.min - TOLERANCE:
            return Miss(edge, moment, first, found, align.min)
    last = min(end, moment.step + align.steps)
    step = _first_below(machine, edge.kind, moment.anchor, first + 1, last, align.hold - TOLERANCE)
    if step is None:
        return None
    found = share(machine, clock_of(machine, edge.kind, moment.anchor, step), state, step)
    return Miss(edge, moment, step, found, align.hold)


def _longest(reach: Reach, edge: Edge, entry: int) -> int:
    """The last step at which a stay that is entered on a step can be ended."""
    if edge.to is None:
        return FAR
    found = FAR
    for course, first, last in reach.courses_of(edge.to):
        if first <= entry <= last:
            arc = (entry % reach.period, 0)
            for deadline in course.deadlines:
                bound, _ = deadline.bound(reach.period, entry, entry, arc)
                found = min(found, bound.steps + entry * bound.relative)
    return found


def _first_below(machine: Machine, kind: Kind, anchor: int, first: int, last: int, least: float) -> int | None:
    """The first step of some on which the rate is below a share of the peak."""
    state = machine.states[kind.state]

    def low(step: int) -> bool:
        return share(machine, clock_of(machine, kind, anchor, step), state, step) < least

    start = first
    for bend in [*bends(machine, kind, FAR), FAR]:
        end = min(anchor + bend, last)
        if end < start or start > last:
            continue
        if low(start):
            return start
        if low(end):  # falling from here to there
            high = end
            while start < high:
                middle = (start + high) // 2
                start, high = (start, middle) if low(middle) else (middle + 1, high)
            return start
        start = end + 1
    return None
