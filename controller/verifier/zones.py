"""Sets of moments, written as bounds: when a state was entered, and when the rate's phase began.

A zone holds pairs (entry, anchor) of optimizer steps: the first step of the stay in a state, and the step on which the
rate's phase began. It bounds each of them and their distance, as a timed automaton's zone does (Dill 1989), and says
where in an epoch each of them can lie: a stretch of remainders modulo the steps of an epoch. Time is never counted out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

FAR = 1 << 60  # later than any run ends; so is what lies a run before it
Arc = tuple[int, int]  # remainders from the first number on, this many more after it, around the end of an epoch


Range = tuple[int, int]


class CountSpan(NamedTuple):
    """What a meter has counted by the entry into a state, each at the least and at the most.

    Attributes:
        run: since the run began.
        since: since phase 0 of the rate; below 0 in a warm-up, by what will be counted until it is over, if the state
            lasts as long.
        begun: by phase 0. It is the one less the other; bounds on all three say more than on two of them.
        skews: for each price, `run` less as many times the price as there were steps.
        phase_skews: the same of `since`, with the steps since the anchor.
    """

    run: Range
    since: Range
    begun: Range
    skews: tuple[Range, ...]
    phase_skews: tuple[Range, ...]

    @property
    def bounds(self) -> tuple[Range, ...]:
        """All of them."""
        return (self.run, self.since, self.begun, *self.skews, *self.phase_skews)


Spans = tuple[CountSpan, ...]


class Zone(NamedTuple):
    """Pairs (entry, anchor) with low <= entry, anchor, entry - anchor <= high; an arc of None holds every remainder."""

    entry_low: int
    entry_high: int
    anchor_low: int
    anchor_high: int
    since_low: int
    since_high: int
    entry_arc: Arc | None
    anchor_arc: Arc | None
    spans: Spans = ()  # what each meter has counted, see `metered`


class Moments(NamedTuple):
    """Steps at which something may be observed by someone who came from a zone, with what is left of the zone."""

    low: int
    high: int
    spent_low: int  # time in the state
    spent_high: int
    arc: Arc | None
    zone: Zone


def up(value: int, arc: Arc | None, period: int) -> int:
    """The smallest number from `value` on whose remainder lies in an arc."""
    if arc is None:
        return value
    over = (value - arc[0]) % period
    return value if over <= arc[1] else value + period - over


def down(value: int, arc: Arc | None, period: int) -> int:
    """The largest number up to `value` whose remainder lies in an arc; what lies beyond every run has none."""
    if arc is None or value >= FAR // 2:
        return value
    over = (value - arc[0]) % period
    return value if over <= arc[1] else value - over + arc[1]


def moved(arc: Arc | None, low: int, high: int, period: int) -> Arc | None:
    """The remainders of numbers of an arc plus anything from low to high."""
    if arc is None or arc[1] + high - low >= period - 1:
        return None
    return (arc[0] + low) % period, arc[1] + high - low


def met(one: Arc | None, other: Arc | None, period: int) -> Arc | bool | None:
    """The remainders in both arcs, or False where there is none; where they meet twice, the shorter arc."""
    if one is None or other is None:
        return one or other
    if one[1] > other[1]:
        one, other = other, one
    into = (one[0] - other[0]) % period
    if into + one[1] <= other[1]:
        return one
    if into <= other[1]:  # the shorter one begins inside the longer one
        return one if into + one[1] >= period else (one[0], other[1] - into)
    ahead = period - into
    return (other[0], one[1] - ahead) if ahead <= one[1] else False


def within(inner: Arc | None, outer: Arc | None, period: int) -> bool:
    """Whether all of one arc lies in another."""
    if outer is None:
        return True
    return inner is not None and (inner[0] - outer[0]) % period + inner[1] <= outer[1]


def closed(zone: Zone, period: int) -> Zone | None:
    """The same pairs with bounds as tight as they follow from each other, or None where there is no pair."""
    e0, e1, a0, a1, p0, p1, e_arc, a_arc, spans = zone
    p_arc = _apart(e_arc, a_arc, period)
    while True:  # a round moves a bound onto a remainder, or onto what another bound leaves; soon none is left to move
        before = (e0, e1, a0, a1, p0, p1)
        e0, e1 = up(max(e0, a0 + p0), e_arc, period), down(min(e1, a1 + p1), e_arc, period)
        a0, a1 = up(max(a0, e0 - p1), a_arc, period), down(min(a1, e1 - p0), a_arc, period)
        p0, p1 = up(max(p0, e0 - a1), p_arc, period), down(min(p1, e1 - a0), p_arc, period)
        if e0 > e1 or a0 > a1 or p0 > p1:
            return None
        if (e0, e1, a0, a1, p0, p1) == before:
            return Zone(e0, e1, a0, a1, p0, p1, e_arc, a_arc, spans)


def _apart(one: Arc | None, other: Arc | None, period: int) -> Arc | None:
    """The remainders of what lies between numbers of two arcs."""
    if one is None or other is None:
        return None
    return moved(one, -other[0] - other[1], -other[0], period)


def moments(
    zone: Zone, period: int, entered: tuple[int, int], spent: tuple[int, int], steps: tuple[int, int], arc: Arc | None
) -> Moments | None:
    """When someone from a zone, entered within bounds, can observe with so much time spent, at such steps."""
    inside = closed(
        zone._replace(entry_low=max(zone.entry_low, entered[0]), entry_high=min(zone.entry_high, entered[1])), period
    )
    if inside is None:
        return None
    low, high = max(steps[0], inside.entry_low + spent[0]), min(steps[1], inside.entry_high + spent[1])
    least, most = max(spent[0], low - inside.entry_high), min(spent[1], high - inside.entry_low)
    if low > high or least > most:
        return None
    found = met(moved(inside.entry_arc, least, most, period), arc, period)
    if found is False:
        return None
    there = found if isinstance(found, tuple) else None
    low, high = up(low, there, period), down(high, there, period)
    apart = _apart(there, inside.entry_arc, period)
    least = up(max(least, low - inside.entry_high), apart, period)
    most = down(min(most, high - inside.entry_low), apart, period)
    if low > high or least > most:
        return None
    return Moments(low, high, least, most, there, inside)


def contains(outer: Zone, inner: Zone, period: int) -> bool:
    """Whether every pair of one zone is in another."""
    return (
        outer.entry_low <= inner.entry_low
        and outer.entry_high >= inner.entry_high
        and outer.anchor_low <= inner.anchor_low
        and outer.anchor_high >= inner.anchor_high
        and outer.since_low <= inner.since_low
        and outer.since_high >= inner.since_high
        and within(inner.entry_arc, outer.entry_arc, period)
        and within(inner.anchor_arc, outer.anchor_arc, period)
        and all(
            low <= other_low and high >= other_high
            for one, other in zip(outer.spans, inner.spans, strict=True)
            for (low, high), (other_low, other_high) in zip(one.bounds, other.bounds, strict=True)
        )
    )


def hull(one: Zone, other: Zone) -> Zone:
    """A zone around two; it may hold pairs that neither has."""
    return Zone(
        min(one.entry_low, other.entry_low),
        max(one.entry_high, other.entry_high),
        min(one.anchor_low, other.anchor_low),
        max(one.anchor_high, other.anchor_high),
        min(one.since_low, other.since_low),
        max(one.since_high, other.since_high),
        one.entry_arc if one.entry_arc == other.entry_arc else None,
        one.anchor_arc if one.anchor_arc == other.anchor_arc else None,
        around(one.spans, other.spans),
    )


def around(one: Spans, other: Spans) -> Spans:
    """What was counted in one of two cases, nobody knows in which."""
    return tuple(
        CountSpan(
            _around(mine.run, others.run),
            _around(mine.since, others.since),
            _around(mine.begun, others.begun),
            tuple(map(_around, mine.skews, others.skews)),
            tuple(map(_around, mine.phase_skews, others.phase_skews)),
        )
        for mine, others in zip(one, other, strict=True)
    )


def _around(one: Range, other: Range) -> Range:
    return min(one[0], other[0]), max(one[1], other[1])


def cut(zone: Zone, period: int) -> Iterator[Zone]:
    """The two halves of a zone: by the entry while that is not known, then by the anchor; none of a single moment."""
    low, high = zone.entry_low, zone.entry_high
    if low < high:
        middle = low + (high - low) // 2 if high < FAR // 2 else min(high - 1, 2 * low + 1000)
        parts = (zone._replace(entry_high=middle), zone._replace(entry_low=middle + 1))
    elif zone.anchor_low < zone.anchor_high:
        middle = (zone.anchor_low + zone.anchor_high) // 2
        parts = (zone._replace(anchor_high=middle), zone._replace(anchor_low=middle + 1))
    else:
        return
    yield from (part for part in (closed(part, period) for part in parts) if part is not None)
