"""How a node of the zone graph is entered on a given step: the transitions that lead there, with their steps."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.rate import RateClock, advance, after_transition, start_clock
from plateau_rule.controller.verifier.zone_graph import Edge, Node, Reach
from plateau_rule.controller.verifier.zones import closed

Taken = list[tuple[int, int]]  # transitions, by their places among a state's, and the steps that they apply from


def trail(reach: Reach, node: Node, entry: int, anchor: int | None, tries: int = 60) -> Taken | None:
    """How a node is entered on a step, with the rate's phase begun on another.

    Args:
        reach: what was explored.
        node: the node.
        entry: the step that it is entered on.
        anchor: the step that the rate's phase began on.
        tries: the number of ways that may turn out to lead nowhere.

    Returns:
        The places of the transitions taken, with their steps.
    """
    edges: list[Edge] = []
    while (edge := (edges[-1].source if edges else node).by) is not None:
        edges.append(edge)
    if not edges:
        return [] if entry == 0 else None
    found: list[tuple[int, int | None]] = [(entry, anchor)]
    ways = [before(reach, edges[0], entry, anchor)]
    while ways and tries >= 0:
        way = next(ways[-1], None)
        if way is None:
            ways.pop()
            found.pop()
            tries -= 1
        elif len(ways) == len(edges):
            return [(edge.place, step) for edge, (step, _) in zip(edges, found, strict=True)][::-1]
        else:
            found.append(way)
            ways.append(before(reach, edges[len(ways)], *way))
    return None


def trail_through(reach: Reach, edge: Edge, step: int, anchor: int | None) -> Taken | None:
    """How an edge is taken so that it applies from a step on."""
    return trail(reach, Node(edge.kind, edge.zone, edge), step, anchor)


def clock_on(machine: Machine, taken: Taken, step: int) -> tuple[RateClock, BoundState]:
    """The rate's clock on a step after some transitions, and the state that they lead to."""
    clock, state = start_clock(machine), machine.states[0]
    for place, step in taken:
        clock, state = (
            after_transition(clock, machine, state.transitions[place], step),
            machine.by_name[state.transitions[place].target],
        )
    return advance(clock, machine, state, step), state


def before(reach: Reach, edge: Edge, step: int, anchor: int | None) -> Iterator[tuple[int, int]]:
    """Entries of the stay that an edge ends on `step`, the earliest and the latest, with their anchors' ends."""
    zone, period = edge.source.zone, reach.period
    begun = max(zone.anchor_low, step - edge.phase[1]), min(zone.anchor_high, step - edge.phase[0])
    if edge.shift is not None and anchor is not None:
        begun = max(begun[0], anchor - edge.shift), min(begun[1], anchor - edge.shift)
    low = max(zone.entry_low, edge.entered[0], step - edge.spent[1])
    high = min(zone.entry_high, edge.entered[1], step - edge.spent[0])
    part = zone._replace(entry_low=low, entry_high=high, anchor_low=begun[0], anchor_high=begun[1])
    inside = closed(part, period)
    if inside is not None:
        first = closed(inside._replace(entry_high=inside.entry_low), period)
        last = closed(inside._replace(entry_low=inside.entry_high), period)
        found = [(part.entry_low, part.anchor_high, part.anchor_low) for part in (first, last) if part]
        yield from dict.fromkeys((entry, anchor) for entry, *anchors in found for anchor in anchors)
