"""What is reachable, exactly and where configurations are merged: the merged ones hold all of the exact ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from plateau_rule import Curriculum
from plateau_rule.controller.binding import bind
from plateau_rule.controller.machine import Warmup
from plateau_rule.controller.verifier.budget import Budget
from plateau_rule.controller.verifier.explored import explore, whatever
from plateau_rule.controller.verifier.findings import Entry
from plateau_rule.controller.verifier.structure import goals, is_final, restarts_rate
from plateau_rule.controller.verifier.trails import before, trail, trail_through
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.zone_graph import ANY_CYCLE, Edge, Kind, Node, Reach, _later
from plateau_rule.controller.verifier.zones import FAR, Zone, contains
from plateau_rule.sim.strategies import curricula
from tests.controller.small import STATES, small

FLAT = {"plateau": {"window": 4}}
LOW = {"below": {"value": 1.0}}


def reach(*transitions: dict[str, Any], **tables: Any) -> Reach:
    """What is reachable in a small machine."""
    return Reach(bind(small(*transitions, **tables)))


def zones(found: Reach) -> list[tuple[int, int, int]]:
    """Of each node: the state's place, the earliest and the latest entry."""
    return [(node.kind.state, node.zone.entry_low, node.zone.entry_high) for node in found.nodes]


def test_to_the_step() -> None:
    """Entries of each state, with clocks exact and plateaus free."""
    found = reach({"guards": [FLAT]}, {"guards": [{"dwell": "9 steps"}]})
    # What lies in a node that is there already makes none of its own; entries of two orders of clocks are two nodes.
    assert zones(found) == [(0, 0, 0), (1, 4, 9), (2, 8, 18), (3, 12, 20), (3, 16, 27)]
    assert [node.stays for node in found.nodes] == [False, False, False, True, True]
    assert [node.lasts_from for node in found.nodes] == [None, None, None, 12, 16]
    assert [(edge.place, edge.spent, edge.steps, edge.shift) for edge in found.nodes[0].to] == [
        (0, (4, 9), (4, 9), 0), (1, (9, 9), (9, 9), 0),
    ]  # fmt: skip
    assert found.finished
    assert found.told_apart


def test_counters() -> None:
    """How often a counted transition was taken is told apart, and no more than that."""
    found = reach({"from": "low", "to": "low", "guards": [{"dwell": "5 steps"}], "at_most": 2}, {"guards": [FLAT]})
    assert [(node.kind.state, node.kind.used, node.zone.entry_low) for node in found.nodes][:3] == [
        (0, (0,), 0), (0, (1,), 5), (1, (0,), 4),
    ]  # fmt: skip
    assert {node.kind.used for node in found.nodes} == {(0,), (1,), (2,)}
    assert found.counted == {"low>low": (0, 2)}


def test_trails() -> None:
    """A trail says how a node is entered on a step, and none where it cannot be."""
    found = reach({"guards": [FLAT]}, {"guards": [{"dwell": "9 steps"}]})
    top = found.nodes[3]
    assert trail(found, top, 12, None) == [(0, 4), (0, 8), (0, 12)]
    assert trail(found, found.nodes[4], 27, None) == [(0, 9), (0, 18), (0, 27)]
    assert trail(found, found.nodes[4], 28, None) is None
    assert trail(found, found.nodes[0], 0, None) == []
    assert trail(found, found.nodes[0], 1, None) is None
    edge = next(edge for edge in found.edges() if edge.to is top)
    assert trail_through(found, edge, 20, None) is not None
    assert found.state(top).name == "top"
    assert found.transition(edge).title == "transition 1"


def test_long_trails() -> None:
    """A trail may have any number of transitions: only ways that lead nowhere are counted."""
    round_and_round = {"from": "low", "to": "low", "guards": [{"dwell": "1 step"}], "at_most": 80}
    found = reach(round_and_round, {"guards": [{"min_step": 1}]})
    (top,) = [node for node in found.nodes if node.kind.state == 3]
    taken = trail(found, top, 83, None)
    assert taken == [*((0, step) for step in range(1, 81)), (1, 81), (0, 82), (0, 83)]
    assert trail(found, top, 83, None, tries=0) == taken


def test_dead_ends() -> None:
    """A way that leads nowhere is given up for another one, as often as may be."""
    states = [{"name": f"s{i}", "set": {"cutoff": 1}} for i in range(5)]
    found = reach({"from": "s0", "guards": [LOW], "actions": ["lr_restart"]},
                  {"from": "s1", "at": "epoch", "guards": [LOW]}, {"from": "s2", "guards": [LOW]}, {"from": "s3"},
                  run={"epochs": 3, "steps_per_epoch": 2}, lr={"peak": 1.0, "length": "9 steps"},
                  state=states, knob={"cutoff": {"ladder": [1]}})  # fmt: skip
    last = found.nodes[-1]
    assert (last.kind.state, last.zone[:4]) == (4, (5, 5, 1, 2))  # by the latest restart first, at 2: too late
    assert [trail(found, last, 5, None, tries=tries) for tries in (0, 1)] == [None, [(0, 1), (0, 2), (0, 4), (0, 5)]]


def test_before() -> None:
    """The earliest and the latest entry of a stay that ends on a step, with the anchors that the rate can have had."""
    top = {"name": "top", "set": {"cutoff": 8}, "lr": {"length": "50 steps"}}
    found = reach({"from": "low", "guards": [LOW], "actions": ["lr_restart"]},
                  {"from": ["mid", "high"], "guards": [LOW]},
                  lr={"peak": 1.0, "cycles": ["6 steps", "rest"]}, state=[*STATES[:3], top])  # fmt: skip
    edges = {(edge.source.kind.cycle, edge.kind.cycle): edge for edge in found.edges() if edge.kind.state == 3}
    # Restarted at 1 to 5, and left in the first cycle: 2 to 5 steps later, which is at 5 here.
    assert (edges[0, 0].phase, edges[0, 0].shift) == ((2, 5), 0)
    assert list(before(found, edges[0, 0], 10, None)) == [(6, 5), (9, 5)]
    # Left in the second one, which began 6 steps after the restart: that is where the phase begins afterwards.
    assert (edges[0, 1].phase[0], edges[0, 1].shift) == (6, 6)
    assert list(before(found, edges[0, 1], 10, None)) == [(2, 1), (9, 4), (9, 1)]
    assert list(before(found, edges[0, 1], 10, 9)) == [(4, 3), (9, 3)]
    assert list(before(found, edges[0, 1], 10, 11)) == []
    # Restarted in the second cycle, at 6 or later.
    assert list(before(found, edges[1, 1], 10, None)) == [(7, 6), (9, 8), (9, 6)]
    assert list(before(found, edges[1, 1], 10, 7)) == [(8, 7), (9, 7)]


def test_rate() -> None:
    """Where the rate is restarted its phase begins anew; its cycle and its warm-up are known at each entry."""
    lr = {"peak": 1.0, "cycles": ["20 steps", "rest"], "warmup": "5 steps", "rewarm": True}
    found = reach({"guards": [{"min_step": 30}], "actions": ["lr_restart"], "from": "low"}, lr=lr)
    first, second = found.nodes
    assert (first.kind, second.kind) == (Kind(0, (), 0, Warmup(5), False), Kind(1, (), 1, Warmup(5), True))
    assert second.zone == Zone(30, 30, 30, 30, 0, 0, (0, 0), (0, 0))
    assert restarts_rate(found.transition(next(found.edges())))
    kept = reach({"guards": [{"min_step": 30}], "from": "low"}, lr=lr).nodes[1]
    assert (kept.kind, kept.zone[:6]) == (Kind(1, (), 0, Warmup(5), True), (30, 30, 0, 0, 30, 30))


def test_a_cycle_without_an_end_of_an_epoch() -> None:
    """A transition at epochs' ends is taken in no cycle that lies between two of them."""
    lr = {"peak": 1.0, "cycles": ["12 steps", "3 steps", "rest"]}
    found = reach({"from": "low", "at": "epoch", "guards": [FLAT], "actions": ["lr_restart"]}, lr=lr)
    assert [(edge.kind.cycle, edge.phase, edge.zone[:2]) for edge in found.edges()] == [
        (0, (10, 11), (10, 10)), (2, (15, 90), (20, 90)),
    ]  # fmt: skip


def test_final() -> None:
    """A run is to get to the states that nothing leaves, or that say so; else to the last one that does not stop."""
    states: list[dict[str, Any]] = [
        {"name": "low", "set": {"cutoff": 1}}, {"name": "mid", "set": {"cutoff": 2}, "stop": "enough"},
        {"name": "high", "set": {"cutoff": 4}}, {"name": "top", "set": {"cutoff": 8}},
    ]  # fmt: skip
    on = [{"from": "low", "to": "mid"}, {"from": "low", "to": "high"}, {"from": "high", "to": "top"}]
    back = {"from": "top", "to": "high", "regress": True, "at_most": 1}
    assert goals(bind(small(*on, state=states))) == {3}
    assert goals(bind(small(*on, back, state=states))) == {3}
    early = {"from": "top", "to": "low", "regress": True}
    assert goals(bind(small(*on[:2], early, state=states))) == {2}
    final = [*states[:3], states[3] | {"final": True}]
    assert goals(bind(small(*on[:2], early, state=final))) == {2, 3}
    ends = [state | {"stop": "enough"} for state in states]
    assert goals(bind(small(*on, state=ends))) == {0, 1, 2, 3}
    assert [is_final(state) for state in bind(small(*on, back, state=states)).states] == [False, True, False, False]


def test_without_a_run() -> None:
    """Without the run's length there is no last step: what can stay may do so without end."""
    found = reach({"guards": [FLAT]}, run={}, lr={"peak": 1.0, "shape": "constant"})
    assert zones(found) == [(0, 0, 0), (1, 4, FAR), (2, 8, FAR), (3, 12, FAR)]
    assert [node.stays for node in found.nodes] == [True] * 4
    bounded = reach({"guards": [{"dwell": "9 steps"}]}, run={}, lr={"peak": 1.0, "shape": "constant"})
    assert zones(bounded) == [(0, 0, 0), (1, 9, 9), (2, 18, 18), (3, 27, 27)]
    assert [node.stays for node in bounded.nodes] == [False, False, False, True]


def test_without_an_end_there_is_no_latest_entry() -> None:
    """Where only the epochs' length is known, remainders do not make a last step out of none."""
    first = {"from": "low", "to": "mid", "at": "epoch", "guards": [FLAT], "actions": ["lr_restart"]}
    curriculum = small(first, {"from": "mid", "guards": [{"dwell": "3 steps"}]},
                       run={"steps_per_epoch": 10}, lr={"peak": 1.0, "shape": "constant"})  # fmt: skip
    assert verify(bind(curriculum)).entries[:3] == (
        Entry("low", 0, 0, True), Entry("mid", 10, None, False), Entry("high", 13, None, False),
    )  # fmt: skip


def test_budget() -> None:
    """What is not explored within the budget is said; then nodes are merged, and nothing is forgotten."""
    machine = bind(small({"guards": [FLAT]}, {"from": "top", "to": "low", "regress": True, "guards": [FLAT]}))
    assert not Reach(machine, budget=Budget(2)).finished
    rough = Reach(machine, exact=False)
    assert rough.finished
    assert not rough.told_apart
    assert {node.kind for node in rough.nodes if node.kind.state == 1} == {
        Kind(1, (), ANY_CYCLE, Warmup(), done) for done in (False, True)
    }
    anything = whatever(machine)
    assert [node.kind.state for node in anything.nodes] == [0, 1, 2, 3]
    assert all(edge.spent == (1, 99) for edge in anything.edges())
    spent = explore(machine, Budget(2))
    assert (spent.decides, spent.whole.finished, spent.by_run.exact) == (False, False, True)
    whole, near = explore(machine)
    assert (whole.exact, near) == (True, None)


def test_edges_of_merged_nodes() -> None:
    """A node that was merged into another has left it its transitions: each is told once."""
    back = {"from": "mid", "to": "low", "regress": True, "guards": [LOW]}
    rough = Reach(bind(small({"guards": [FLAT]}, back)), exact=False)
    merged = [node for node in rough.nodes if node.into is not None]
    assert any(node.to for node in merged)
    assert {id(edge.source) for edge in rough.edges()}.isdisjoint(map(id, merged))
    told = [(edge.source.kind, edge.place) for edge in rough.edges()]
    assert len(told) == len(set(told))


@pytest.mark.parametrize(("restarts", "rewarm", "warm"), [(True, True, 5), (True, False, 0), (False, False, 5)])
def test_merged_edges(restarts: bool, rewarm: bool, warm: int) -> None:
    """Where nodes are merged, nothing is known of the rate's anchor but that a restart sets it, and of its warm-up."""
    actions = ["lr_restart"] if restarts else []
    rough = Reach(
        bind(
            small(
                {"from": "low", "at": "epoch", "guards": [{"min_step": 30}], "actions": actions},
                {"from": "mid", "guards": [FLAT], "actions": actions},
                lr={"peak": 1.0, "cycles": ["20 steps", "rest"], "warmup": "5 steps", "rewarm": rewarm},
            )
        ),
        exact=False,
    )
    first, second = rough.edges()
    # Low is left when an epoch closes, at 30 or later; mid four steps after or later, within the run of a hundred.
    assert (first.place, first.spent, first.steps, first.entered) == (0, (30, 90), (30, 90), (0, 0))
    assert (second.place, second.spent, second.steps, second.entered) == (0, (4, 69), (34, 99), (30, 90))
    assert first.phase == second.phase == (0, FAR)
    assert first.shift == second.shift == (None if restarts else 0)
    assert first.kind == Kind(1, (), ANY_CYCLE, Warmup(warm), False)
    assert second.kind == Kind(2, (), ANY_CYCLE, Warmup(warm), True)
    if restarts:
        assert first.zone == Zone(30, 90, 30, 90, 0, 0, (0, 0), (0, 0))
        assert second.zone == Zone(34, 99, 34, 99, 0, 0, None, None)
    else:
        assert first.zone == Zone(30, 90, 0, 90, 0, 90, (0, 0), None)
        assert second.zone == Zone(34, 99, 0, 99, 0, 99, None, None)


def test_later_anchors() -> None:
    """When a cycle ends, the anchor moves on, and the time since it shrinks by as much."""
    zone = Zone(20, 29, 3, 4, 16, 26, (5, 3), (3, 1))
    assert _later(zone, 12, 10) == Zone(20, 29, 15, 16, 4, 14, (5, 3), (5, 1))
    assert _later(zone, 0, 10) == zone


def held(nodes: list[Node], edge: Edge, period: int) -> bool:
    """Whether some node holds all that an edge leads into, up to what is not told apart."""
    few = edge.zone.entry_high - edge.zone.entry_low
    if edge.zone.entry_arc is not None and few < edge.zone.entry_arc[1]:  # remainders that no entry has
        edge = replace(edge, zone=edge.zone._replace(entry_arc=(edge.zone.entry_low % period, few)))
    return any(
        node.kind.state == edge.kind.state and node.kind.done == edge.kind.done
        and contains(node.zone._replace(anchor_arc=None), edge.zone, period)
        for node in nodes
    )  # fmt: skip


@settings(max_examples=60)
@given(curricula(max_steps=40, max_states=3, max_transitions=5, max_knobs=1, methods=("halves",)))
def test_merged_holds_exact(curriculum: Curriculum) -> None:
    """Whatever the exact exploration finds, the merged one does: entries, transitions, stays."""
    machine = bind(curriculum)
    exact, rough = Reach(machine), Reach(machine, exact=False)
    assert {(e.source.kind.state, e.place) for e in exact.edges()} <= {
        (node.kind.state, edge.place) for node in rough.nodes for edge in node.to
    }
    for edge in exact.edges():
        assert held(rough.nodes, edge, exact.period)
    stays = {node.kind.state for node in exact.nodes if node.stays}
    assert stays <= {node.kind.state for node in rough.nodes if node.stays}


def test_certain() -> None:
    """Every loss leads into a state, or some run ends without it."""

    def certain(*transitions: dict[str, Any], **tables: Any) -> list[Entry]:
        return list(verify(bind(small(*transitions, **tables))).entries)

    assert certain({"guards": [{"dwell": "9 steps"}]}) == [
        Entry("low", 0, 0, True), Entry("mid", 9, 9, True), Entry("high", 18, 18, True), Entry("top", 27, 27, True),
    ]  # fmt: skip
    assert certain({"guards": [FLAT]}) == [
        Entry("low", 0, 0, True), Entry("mid", 4, 99, False), Entry("high", 8, 99, False), Entry("top", 12, 99, False),
    ]  # fmt: skip
    assert certain({"from": "low", "to": "high", "guards": [{"dwell": "9 steps"}]})[1:3] == [
        Entry("mid", None, None, False), Entry("high", 9, 9, True),
    ]  # fmt: skip
