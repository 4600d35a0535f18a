"""Zones hold exactly the pairs of moments that they say; each operation is compared with counting them out."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.verifier.zones import (
    FAR,
    Arc,
    Zone,
    closed,
    down,
    met,
    moments,
    moved,
    up,
    within,
)

PERIOD = 6
SPAN = 14  # moments that are counted out
numbers = st.integers(0, SPAN)
spans = st.tuples(numbers, numbers).map(lambda two: (min(two), max(two)))
arcs = st.none() | st.tuples(st.integers(0, PERIOD - 1), st.integers(0, PERIOD - 2))
zones = st.tuples(spans, spans, spans, arcs, arcs).map(
    lambda drawn: Zone(*drawn[0], *drawn[1], *drawn[2], drawn[3], drawn[4])
)


def lies(value: int, arc: Arc | None) -> bool:
    """Whether a number's remainder is in an arc."""
    return arc is None or (value - arc[0]) % PERIOD <= arc[1]


def pairs(zone: Zone) -> set[tuple[int, int]]:
    """All pairs of a zone."""
    return {
        (entry, anchor)
        for entry, anchor in product(range(SPAN + 1), repeat=2)
        if zone.entry_low <= entry <= zone.entry_high
        and zone.anchor_low <= anchor <= zone.anchor_high
        and zone.since_low <= entry - anchor <= zone.since_high
        and lies(entry, zone.entry_arc)
        and lies(anchor, zone.anchor_arc)
    }


@given(numbers, arcs)
def test_up_and_down(value: int, arc: Arc | None) -> None:
    """`up` is the first number from one on that lies in an arc, `down` the last one up to it."""
    assert up(value, arc, PERIOD) == next(n for n in range(value, value + PERIOD) if lies(n, arc))
    assert down(value, arc, PERIOD) == next(n for n in range(value, value - PERIOD, -1) if lies(n, arc))


def test_far_has_no_remainder() -> None:
    """What lies later than any run ends is not moved to a remainder, nor is what lies some steps before that."""
    assert [down(FAR - n, (0, 0), PERIOD) for n in (0, 1, 3)] == [FAR, FAR - 1, FAR - 3]
    assert down(10**15, (0, 0), PERIOD) == 10**15 - 4
    endless = Zone(13, FAR, 10, FAR, 3, 3, (3, 0), (0, 0))
    found = closed(endless, 10)
    assert found is not None
    assert (found.entry_high, found.since_high) == (FAR, 3)


@given(arcs, spans)
def test_moved(arc: Arc | None, by: tuple[int, int]) -> None:
    """An arc that is moved by anything between two numbers holds all sums, and nothing else."""
    found = moved(arc, *by, PERIOD)
    sums = {(n + d) % PERIOD for n in range(PERIOD) if lies(n, arc) for d in range(by[0], by[1] + 1)}
    assert {n for n in range(PERIOD) if lies(n, found)} == sums
    assert (found is None) == (len(sums) == PERIOD)


@given(arcs, arcs)
def test_met(one: Arc | None, other: Arc | None) -> None:
    """Two arcs meet in the remainders of both; where they meet twice, nothing of that is left out."""
    found = met(one, other, PERIOD)
    both = {n for n in range(PERIOD) if lies(n, one) and lies(n, other)}
    assert (found is False) == (not both)
    if found is not False:
        held = {n for n in range(PERIOD) if lies(n, found)}  # type: ignore[arg-type]
        assert both <= held
        shorter = min((one, other), key=lambda arc: PERIOD if arc is None else arc[1])
        assert held == both or found == shorter


@given(arcs, arcs)
def test_within(inner: Arc | None, outer: Arc | None) -> None:
    """An arc lies in another one if all its remainders do."""
    held = all(lies(n, outer) for n in range(PERIOD) if lies(n, inner))
    assert within(inner, outer, PERIOD) == (held and not (inner is None and outer is not None))


@given(zones)
def test_closed_keeps_the_pairs(zone: Zone) -> None:
    """Closing a zone loses no pair and adds none; None has none; without arcs every bound is reached by some pair."""
    found, held = closed(zone, PERIOD), pairs(zone)
    if found is None:
        assert held == set()
        return
    assert pairs(found) == held
    assert (found.entry_arc, found.anchor_arc) == (zone.entry_arc, zone.anchor_arc)
    if zone.entry_arc is None and zone.anchor_arc is None:
        entries, anchors = {e for e, _ in held}, {a for _, a in held}
        apart = {e - a for e, a in held}
        assert found[:6] == (min(entries), max(entries), min(anchors), max(anchors), min(apart), max(apart))
    assert lies(found.entry_low, zone.entry_arc)
    assert lies(found.entry_high, zone.entry_arc)
    assert lies(found.anchor_low, zone.anchor_arc)
    assert lies(found.anchor_high, zone.anchor_arc)
    turns = (
        [n for n in range(PERIOD) if lies(n, zone.entry_arc)],
        [n for n in range(PERIOD) if lies(n, zone.anchor_arc)],
    )
    apart = {(e - a) % PERIOD for e in turns[0] for a in turns[1]}
    assert {found.since_low % PERIOD, found.since_high % PERIOD} <= apart


def test_closed_with_remainders() -> None:
    """Two moments at known remainders lie a known remainder apart."""
    zone = Zone(0, 30, 0, 30, 1, 14, (4, 0), (2, 0))
    assert closed(zone, PERIOD) == Zone(4, 28, 2, 26, 2, 14, (4, 0), (2, 0))
    assert closed(zone._replace(since_low=3, since_high=7), PERIOD) is None
    # Two stretches of remainders lie a stretch apart: from 0 back to 3 or 4 it is 6 or 7, 16 or 17, and so on.
    wide = Zone(20, 90, 13, 84, 0, 21, (0, 0), (3, 1))
    assert closed(wide, 10) == wide._replace(since_low=6, since_high=17)
    assert closed(wide._replace(since_low=8, since_high=15), 10) is None
    assert closed(Zone(0, 30, 0, 31, 0, 31, None, (2, 1)), PERIOD) == Zone(2, 30, 2, 27, 0, 28, None, (2, 1))
    assert closed(Zone(7, 8, 0, 30, 0, 30, (4, 0), None), PERIOD) is None


@given(zones, spans, spans, spans, arcs)
def test_moments(
    zone: Zone, entered: tuple[int, int], spent: tuple[int, int], steps: tuple[int, int], arc: Arc | None
) -> None:
    """Nobody who can observe is forgotten: every entry, time and step of theirs is within what is found."""
    found = moments(zone, PERIOD, entered, spent, steps, arc)
    looks = [
        (entry, anchor, time)
        for entry, anchor in pairs(zone)
        for time in range(spent[0], spent[1] + 1)
        if entered[0] <= entry <= entered[1] and steps[0] <= entry + time <= steps[1] and lies(entry + time, arc)
    ]
    if found is None:
        assert looks == []
        return
    for entry, anchor, time in looks:
        assert found.low <= entry + time <= found.high
        assert found.spent_low <= time <= found.spent_high
        assert lies(entry + time, found.arc)
        assert (entry, anchor) in pairs(found.zone)
    assert found.zone.entry_low >= entered[0]
    assert found.zone.entry_high <= entered[1]
    assert lies(found.low, found.arc)
    assert lies(found.high, found.arc)


def test_moments_to_the_step() -> None:
    """The bounds of an observation at an epoch's end, of those who enter on known remainders, are exact."""
    zone = Zone(2, 14, 0, 0, 2, 14, (2, 0), (0, 0))  # entered at 2, 8 or 14, in a phase that began at 0
    found = moments(zone, PERIOD, (0, 10), (3, 20), (0, 17), (0, 0))
    assert found is not None
    assert found[:5] == (6, 12, 4, 10, (0, 0))
    assert found.zone == Zone(2, 8, 0, 0, 2, 8, (2, 0), (0, 0))
    wide = Zone(1, 13, 0, 0, 1, 13, (1, 2), (0, 0))  # from 1 to 3, or ten later
    found = moments(wide, 10, (0, 20), (1, 20), (0, 30), (0, 0))
    assert found is not None
    assert found[:5] == (10, 30, 7, 19, (0, 0))
    free = Zone(0, 10, 0, 0, 0, 10, None, None)
    found = moments(free, PERIOD, (0, 10), (1, 100), (20, 30), None)
    assert found is not None
    assert found[:4] == (20, 30, 10, 30)
    assert moments(free, PERIOD, (0, 10), (1, 20), (7, 11), (0, 0)) is None
    assert moments(zone, PERIOD, (3, 7), (1, 20), (0, 17), None) is None
    assert moments(zone, PERIOD, (0, 10), (1, 3), (0, 17), (0, 0)) is None
    assert moments(zone, PERIOD, (0, 10), (5, 20), (0, 6), None) is None
    assert moments(zone, PERIOD, (0, 10), (6, 6), (0, 17), (0, 0)) is None
