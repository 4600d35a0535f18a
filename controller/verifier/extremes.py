"""The lowest and the highest rates around a raise, for the table of raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from plateau_rule.controller.verifier.alignment import Alignment
from plateau_rule.controller.verifier.budget import Budget, Part
from plateau_rule.controller.verifier.zone_graph import Edge, Node, Reach
from plateau_rule.controller.verifier.zones import Zone, closed, cut

PRECISE = 1e-6  # of a share, where the lowest and the highest are looked for
MOST_CUTS = 200  # of a box, then
Pair = tuple[float, float]


def around(rates: Alignment, reach: Reach, edge: Edge) -> tuple[Pair, Pair] | None:
    """The lowest and the highest shares on the last step before a raise, and on its first step."""
    zone = rates.raising(reach, edge)
    if zone is None:
        return None
    source = edge.source
    since = (edge.phase[0], edge.phase[1])
    old = zone._replace(anchor_low=max(source.zone.anchor_low, 0), anchor_high=source.zone.anchor_high,
                        since_low=since[0], since_high=since[1], anchor_arc=source.zone.anchor_arc)  # fmt: skip
    before = closed(old, reach.period)

    def shares_before(box: Zone) -> tuple[float, float]:
        since, anchors = (box.since_low - 1, box.since_high - 1), (box.anchor_low, box.anchor_high)
        counted = rates.counted(source, (edge.spent[0] - 1, edge.spent[1] - 1))
        return rates.shares.bounds(source.kind, since, anchors, counted)

    def shares_after(box: Zone) -> tuple[float, float]:
        since, anchors = (box.since_low, box.since_high), (box.anchor_low, box.anchor_high)
        return rates.shares.bounds(edge.kind, since, anchors, rates.counted(Node(edge.kind, box, edge), (0, 0)))

    if before is None:
        return None
    return (_extremes(before, reach.period, rates.budget, shares_before),
            _extremes(zone, reach.period, rates.budget, shares_after))  # fmt: skip


def _extremes(
    zone: Zone, period: int, budget: Budget | Part, bounds: Callable[[Zone], tuple[float, float]]
) -> tuple[float, float]:
    """The lowest and the highest of something in a zone that is bounded in a box, and exact at a point."""
    found = []
    for sign in (1, -1):
        best, number = float("inf"), 0

        def least(box: Zone, sign: int = sign) -> float:
            low, high = bounds(box)
            return low if sign > 0 else -high

        boxes = [(least(zone), 0, zone)]
        while boxes:
            bound, _, box = heappop(boxes)
            if bound >= best - PRECISE or number > MOST_CUTS:
                break
            for corner in _corners(box, period):
                best = min(best, least(corner))
            for half in cut(box, period):
                number += 1
                budget.spend(0.2)
                heappush(boxes, (least(half), number, half))
        found.append(sign * best)
    return found[0], found[1]


def _corners(zone: Zone, period: int) -> Iterator[Zone]:
    """A few single moments of a zone: with the fewest and the most steps since the anchor, early and late."""
    for since in (zone.since_low, zone.since_high):
        pinned = closed(zone._replace(since_low=since, since_high=since), period)
        if pinned is not None:
            for entry in {pinned.entry_low, pinned.entry_high}:
                point = closed(pinned._replace(entry_low=entry, entry_high=entry), period)
                if point is not None:
                    yield point
