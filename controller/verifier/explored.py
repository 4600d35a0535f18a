"""All that is reachable in a machine, as exactly as a budget allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget, Part
from plateau_rule.controller.verifier.structure import restarts_rate
from plateau_rule.controller.verifier.zone_graph import ANY_CYCLE, Edge, Kind, Reach, any_warmup
from plateau_rule.controller.verifier.zones import Zone

SHARES = (0.25, 0.4)  # of the budget: for exact nodes, and of the rest for merged ones


class Explored(NamedTuple):
    """All that is reachable; and, where nodes had to be merged for it, what had been found before that."""

    whole: Reach
    near: Reach | None

    @property
    def decides(self) -> bool:
        """Whether clocks and guards were looked at all the way."""
        return self.whole.finished

    @property
    def by_run(self) -> Reach:
        """The graph whose nodes can be shown to be entered, which may be a part of what is reachable."""
        return self.near or self.whole

    def edges(self) -> Iterator[tuple[Reach, Edge]]:
        """Every transition that can be taken, those of exact nodes first."""
        for reach in filter(None, (self.near, self.whole)):
            for edge in reach.edges():
                yield reach, edge


def explore(machine: Machine, budget: Budget | Part | None = None) -> Explored:
    """Find what is reachable in a machine within its run."""
    budget = budget or Budget()
    near = Reach(machine, budget=budget.part(SHARES[0]))
    if near.finished:
        return Explored(near, None)
    merged = Reach(machine, exact=False, budget=budget.part(SHARES[1]))
    return Explored(merged if merged.finished else whatever(machine), near)


def whatever(machine: Machine) -> Reach:
    """As if any transition could be taken at any time: what is left where there is too much to explore."""
    reach = Reach(machine, exact=False, explored=False)
    always = (0, reach.last)
    zone = Zone(0, reach.last, 0, reach.last, 0, reach.last, None, None, reach.anything())
    reach.forget()
    of_state = {0: reach.add(Kind(0, (), ANY_CYCLE, any_warmup(machine), False), zone, None)}
    todo = [0]
    while todo:
        node = of_state[todo.pop()]
        state = reach.state(node)
        node.lasts_from = None if state.stop is not None else 0
        for place, transition in enumerate(state.transitions if state.stop is None else ()):
            target = reach.places[transition.target]
            shift = None if restarts_rate(transition) else 0
            kind = Kind(target, (), ANY_CYCLE, any_warmup(machine), False)
            edge = Edge(node, place, (1, reach.last), always, always, (0, reach.last), shift, kind, zone)
            if target not in of_state:
                of_state[target] = reach.add(kind, zone, edge)
                todo.append(target)
            edge.to = of_state[target]
            node.to.append(edge)
    return reach
