"""The earliest and the latest climb of a machine: when each state is entered, and what is planned on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from plateau_rule.controller.errors import BindingError, Fault
from plateau_rule.controller.machine import Knobs, Machine
from plateau_rule.controller.rate import FAR, advance, after_transition, counts_over, learning_rate, start_clock
from plateau_rule.controller.verifier.explored import explore
from plateau_rule.controller.verifier.findings import visits_of
from plateau_rule.controller.verifier.trails import Taken, trail
from plateau_rule.controller.verifier.witness import Visit
from plateau_rule.controller.verifier.zone_graph import Edge, Node, Reach
from plateau_rule.controller.verifier.zones import Zone


class Planned(NamedTuple):
    """What is planned for a step: the state's name, the knobs, the learning rate."""

    step: int
    state: str
    knobs: Knobs
    lr: float


class Climb(NamedTuple):
    """A run through the states: which it is, its stays in order, and the state in which it ends."""

    name: str
    visits: tuple[Visit, ...]
    reaches: str


def climbs(machine: Machine) -> tuple[Climb, ...]:
    """The climb that is over soonest, and the one that stays in each state as long as some loss can keep it there.

    They are one where the losses decide nothing, and the first is missing where there are too many configurations to
    find it.

    Raises:
        BindingError: the length of the run is not known.
    """
    if machine.run.total_steps is None and not machine.bounds:
        raise BindingError([Fault("unresolved-amount", ("run",), "the length of the run is not known",
                                  "epochs and steps_per_epoch",
                                  "State them in [run], or as --epochs and --steps-per-epoch")])  # fmt: skip
    walk = Reach(machine, explored=False)
    quickest, latest = _quickest(machine), _on(walk, [])
    earliest = None if quickest is None else _on(walk, quickest)
    if earliest == latest:
        return (_climb(machine, "whatever the losses", latest),)
    found = [] if earliest is None else [_climb(machine, "earliest", earliest)]
    return (*found, _climb(machine, "latest", latest))


def _climb(machine: Machine, name: str, taken: Taken) -> Climb:
    state, clock = machine.states[0], start_clock(machine)
    for place, step in taken:
        transition = state.transitions[place]
        clock = after_transition(clock, machine, transition, step)
        state = machine.by_name[transition.target]
    end = FAR if machine.run.total_steps is None else machine.run.total_steps
    if machine.bounds:  # the run ends with what is counted, if that comes first
        end = min(end, counts_over(machine, clock))
    if state.stop is not None and taken:
        end = taken[-1][1]
    return Climb(name, visits_of(machine, taken, end), state.name)


def _quickest(machine: Machine) -> Taken | None:
    """The quickest way to the last state that can be reached."""
    explored = explore(machine)
    reach = explored.by_run
    goal = max(node.kind.state for node in explored.whole.nodes)
    for node in sorted((n for n in reach.nodes if n.kind.state == goal), key=lambda node: node.zone.entry_low):
        taken = trail(reach, node, node.zone.entry_low, None)
        if taken is not None:
            return taken
    return None


def _on(reach: Reach, taken: Taken) -> Taken:
    """On from some transitions: each state left as late as it can be, and never where some loss keeps the run in it."""
    node, found = reach.nodes[0], list(taken)
    for place, step in taken:
        edges, _ = reach.ways_on(node)
        node = _entered(reach, next(e for e in edges if e.place == place and e.steps[0] <= step <= e.steps[1]), step)
    while (edge := _last(reach, node)) is not None:
        found.append((edge.place, edge.steps[1]))
        node = _entered(reach, edge, edge.steps[1])
    return found


def _entered(reach: Reach, edge: Edge, step: int) -> Node:
    """What is entered by a transition out of a state that was entered on one step, if it is taken on another."""
    anchor = step if edge.shift is None else edge.zone.anchor_low
    arcs = ((step % reach.period, 0), (anchor % reach.period, 0)) if reach.period > 1 else (None, None)
    zone = Zone(step, step, anchor, anchor, step - anchor, step - anchor, *arcs)
    return Node(edge.kind, zone._replace(spans=edge.zone.spans), edge)


def _last(reach: Reach, node: Node) -> Edge | None:
    """The transition that ends a stay that no loss can keep up until the run is over; a retreat only if it must be."""
    edges, stays = reach.ways_on(node)
    if reach.state(node).stop is not None or stays or not edges:
        return None
    return max(edges, key=lambda edge: (edge.steps[1], not reach.transition(edge).regress, -edge.place))


def planned(machine: Machine, climb: Climb, most: int = 2000) -> Iterator[Planned]:
    """What is planned on a climb, on its first and last steps in each state and on about `most` steps between them."""
    clock = start_clock(machine)
    stride = max(1, climb.visits[-1].left // most)
    for visit in climb.visits:
        ramps = machine.ramps(visit.state, machine.length)
        for step in dict.fromkeys((*range(visit.entered, visit.left, stride), visit.left - 1)):
            clock = advance(clock, machine, visit.state, step)
            ramped = {name: ramp.value(step - visit.entered) for name, ramp in ramps.items()}
            lr = learning_rate(clock, machine, visit.state, step)
            yield Planned(step, visit.state.name, {**visit.state.knobs, **ramped}, lr)
        if visit.transition is not None:
            clock = after_transition(clock, machine, visit.transition, visit.left)
