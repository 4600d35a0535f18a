"""What meters have counted by the entry into each node, where no run and no rate depends on them.

Such meters say what a run takes and decide nothing, so a graph is explored without them. Their bounds go along its
edges afterwards; where they grow again and again, on a way around, they are given up.
"""

from __future__ import annotations

from collections import Counter, deque

from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.metered import Meterings
from plateau_rule.controller.verifier.zone_graph import Edge, Node, Reach
from plateau_rule.controller.verifier.zones import FAR, Spans, around

MOST_TIMES = 8  # that the bounds of a node grow, before they are given up


class Counting:
    """The spans of a machine's meters over a graph that was explored without them."""

    def __init__(self, machine: Machine, reach: Reach) -> None:
        self.meterings, self._reach = Meterings(machine), reach
        begin = _last(reach.nodes[0])
        self._spans: dict[int, Spans] = {id(begin): self.meterings.start()}
        grown = Counter[int]()
        todo = deque([begin])
        while todo:
            node = todo.popleft()
            for edge in node.to:
                if edge.to is None or grown[id(to := _last(edge.to))] > MOST_TIMES:
                    continue
                spans, before = self._over(edge), self._spans.get(id(to))
                spans = spans if before is None else around(before, spans)
                if spans != before:
                    grown[id(to)] += 1
                    self._spans[id(to)] = spans if grown[id(to)] <= MOST_TIMES else self.meterings.anything()
                    todo.append(to)

    def at(self, node: Node) -> Spans:
        """What was counted when a node is entered."""
        return self.meterings.tight(node.zone._replace(spans=self._spans.get(id(node), self.meterings.anything())))

    def _over(self, edge: Edge) -> Spans:
        source = edge.source
        if edge.spent[1] >= FAR // 2:
            return self.meterings.anything()
        zone = source.zone._replace(spans=self._spans[id(source)])
        return self.meterings.gone_on(zone, self._reach.state(source), edge.spent)


def _last(node: Node) -> Node:
    """The node that holds this one, after all merging."""
    while node.into is not None:
        node = node.into
    return node
