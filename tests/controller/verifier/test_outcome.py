"""What one look can find: clocks are exact, detectors free once they have seen enough; sets of transitions are bits."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.binding import bind
from plateau_rule.controller.guards import FALSE, TRUE, UNKNOWN
from plateau_rule.controller.verifier.logic import Node, possible, truth
from plateau_rule.controller.verifier.outcome import (
    COUNT,
    FREE,
    MOST_ASSIGNMENTS,
    STEP,
    TIME,
    Atom,
    Facts,
    Looks,
)
from tests.controller.small import small

FLAT = {"plateau": {"window": 4}}
LOW, HIGH = {"below": {"value": 1.0}}, {"above": {"metric": "acc", "value": 2.0, "window": 3}}
EVERYONE = 0b1111111111111  # transitions that are not used up


def facts(found: Looks, times: int, steps: int) -> Facts:
    """The facts while nothing is used up."""
    return found.facts(times, steps, (1 << len(found.transitions)) - 1)


def looks(*transitions: dict[str, Any], soft: bool = False, **tables: Any) -> Looks:
    """The looks at the first of four states."""
    machine = bind(small(*transitions, **tables))
    return Looks(machine, machine.states[0], soft)


def test_atoms() -> None:
    """Equal detectors and clocks are one atom; what each needs is known."""
    found = looks(
        {"guards": [FLAT, {"dwell": "6 steps"}, {"min_epoch": 2}, {"nonfinite": 3}]},
        {"guards": [FLAT, HIGH, {"not": {"min_step": 7}}, {"dwell": "6 steps"}], "from": "low"},
    )
    assert found.atoms == [
        Atom(FREE, 4, 4, True), Atom(TIME, 0, 6), Atom(STEP, 0, 20), Atom(COUNT, 0, 3), Atom(FREE, 3, 3, late=True),
        Atom(STEP, 0, 7),
    ]  # fmt: skip
    assert found.nodes[0] == ("all", [("atom", 0), ("atom", 1), ("atom", 2), ("atom", 3)])
    assert found.nodes[1] == ("all", [("atom", 0), ("atom", 4), ("not", ("atom", 5)), ("atom", 1)])
    assert found.parts[1] == found.nodes[1][1]
    assert found.counts == [3, 25]  # the limit has a look of its own


def test_thresholds() -> None:
    """Times are those of clocks, of counts, and of detectors, later by what can be lost; steps are those of clocks."""
    found = looks({"guards": [FLAT, {"nonfinite": 3}, HIGH, {"dwell": "1 step"}, {"min_step": 30}, {"min_epoch": 1}]})
    assert found.times == [3, 4, 7, 25, 29]  # acc is given beside the loss, and no loss takes it away
    assert found.steps == [10, 30]


def test_epochs_that_the_trainer_closes() -> None:
    """Without steps_per_epoch, how many epochs are closed is free from so many steps on."""
    run: dict[str, Any] = {"lr": {"peak": 1.0, "shape": "constant"}, "run": {}}
    found = looks({"guards": [{"min_epoch": 2}, {"dwell": "3 epochs"}, {"min_epoch": 0}]}, **run)
    assert found.per_epoch is None
    assert found.atoms == [
        Atom(FREE, 0, 2, False, True, False),
        Atom(FREE, 0, 3, False, False, False),
        Atom(STEP, 0, 0),
    ]
    assert (found.times, found.steps) == ([3], [2])
    assert [found.bits_of(found.atoms[0], 9, step, 0) for step in (1, 2)] == [FALSE, TRUE | FALSE]
    assert [found.bits_of(found.atoms[1], time, 9, 0) for time in (2, 3)] == [FALSE, TRUE | FALSE]


def test_closed_epochs_are_known() -> None:
    """How many epochs the trainer has closed is never unknown: of a guard and its opposite one holds at every look."""
    run: dict[str, Any] = {"lr": {"peak": 1.0, "shape": "constant"}, "run": {}}
    found = looks({"guards": [{"min_epoch": 2}]}, {"guards": [{"not": {"min_epoch": 2}}], "from": "low"}, **run)
    assert found.truths(1, 1, 0, EVERYONE) == [{0b10}]
    assert found.truths(1, 2, 0, EVERYONE) == [{0b01, 0b10}]
    due = facts(found, 0, 1)
    assert (due.fires_off, due.stays_off, due.stays_on) == (0b11, False, False)


def test_an_unknown_guard() -> None:
    """A guard of another kind is a mistake of ours, and is not passed over."""
    with pytest.raises(TypeError):
        looks().atom_of(object(), "step")  # type: ignore[arg-type]


verdicts = st.sampled_from((True, False, None))
nodes: st.SearchStrategy[Node] = st.recursive(
    st.integers(0, 2).map(lambda atom: ("atom", atom)),
    lambda inner: (
        inner.map(lambda node: ("not", node))
        | st.tuples(st.sampled_from(("any", "all")), st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=6,
)
BITS = {True: TRUE, False: FALSE, None: UNKNOWN}


def kleene(node: Node, values: list[bool | None]) -> bool | None:
    """Three-valued logic as minimum and maximum."""
    word, inner = node
    rank = {False: 0, None: 1, True: 2}
    if word == "atom":
        return values[inner]
    if word == "not":
        return {False: True, None: None, True: False}[kleene(inner, values)]
    found = [rank[kleene(part, values)] for part in inner]
    return [False, None, True][max(found) if word == "any" else min(found)]


@given(nodes, st.lists(verdicts, min_size=3, max_size=3))
def test_truth(node: Node, values: list[bool | None]) -> None:
    """A guard's verdict is Kleene's."""
    assert truth(node, values) is kleene(node, values)


@given(nodes, st.lists(st.sampled_from((UNKNOWN, UNKNOWN | TRUE, UNKNOWN | FALSE, 7)), min_size=3, max_size=3))
def test_possible(node: Node, bits: list[int]) -> None:
    """Every verdict that a guard can have is called possible; without a shared part, none else is."""
    ways = product(*[[v for v, bit in BITS.items() if bit & some] for some in bits])
    brought = 0
    for way in ways:
        brought |= BITS[kleene(node, list(way))]
    said = possible(node, bits)
    assert brought & ~said == 0
    if len(set(atoms := [*leaves(node)])) == len(atoms):
        assert said == brought


def leaves(node: Node) -> list[int]:
    """The atoms of a guard, with repetitions."""
    word, inner = node
    if word == "atom":
        return [inner]
    return leaves(inner) if word == "not" else [leaf for part in inner for leaf in leaves(part)]


def test_facts_of_one_plateau() -> None:
    """Before its window is full a plateau fires never; then it may, and may refuse."""
    found = looks({"guards": [FLAT]})
    before, after = facts(found, 0, 0), facts(found, 1, 0)
    assert (before.fires_off, before.fires_on, before.true, before.stays_off, before.stays_on) == (0, 0, 0, True, True)
    assert (after.fires_off, after.fires_on, after.true, after.stays_off, after.stays_on) == (1, 1, 1, True, True)
    assert (before.always, after.always, after.goes) == (0, 0, 0)
    assert facts(found, 1, 0) is after


def test_facts_of_a_clock() -> None:
    """A clock that is due cannot refuse, and beats what stands behind it."""
    found = looks({"guards": [{"min_step": 5}]}, {"guards": [FLAT], "from": "low"})
    due = facts(found, 1, 1)
    assert (due.fires_off, due.fires_on, due.true, due.always) == (0b01, 0b01, 0b11, 0b01)
    assert (due.stays_off, due.stays_on) == (False, False)
    assert [bits & 0b11 for bits in due.implies] == [0b01, 0b11]
    used_up = found.facts(1, 1, 0b10)
    assert (used_up.fires_off, used_up.stays_off, used_up.true) == (0b10, True, 0b10)


def test_facts_of_epochs() -> None:
    """What is looked at when an epoch closes blocks others only then."""
    found = looks({"at": "epoch", "guards": []}, {"guards": [LOW], "from": "low"}, {"guards": [], "at": "eval"})
    seen = facts(found, 0, 0)
    assert (seen.fires_off, seen.fires_on) == (0b111, 0b001)
    assert (seen.stays_off, seen.stays_on) == (True, False)


def test_facts_of_sustained() -> None:
    """A sustained transition goes on where no other one is taken at one look."""
    alone = facts(looks({"guards": [FLAT], "sustain": 2}), 1, 0)
    assert (alone.goes, alone.fires_off, alone.stays_off) == (1, 1, True)
    beaten = facts(looks({"guards": [FLAT], "sustain": 2}, {"guards": [FLAT], "from": "low"}), 1, 0)
    assert (beaten.goes, beaten.fires_off, beaten.true) == (0, 0b11, 0b11)
    closing = looks({"guards": [LOW], "sustain": 2, "at": "epoch"}, {"guards": [], "at": "epoch", "from": "low"})
    assert facts(closing, 0, 0).goes == 0
    step = looks({"guards": [LOW], "sustain": 2}, {"guards": [], "at": "epoch", "from": "low"})
    assert facts(step, 0, 0).goes == 1


def test_facts_of_dead_runs() -> None:
    """At the limit of non-finite losses only what answers them can be taken, and nobody stays."""
    tables: dict[str, Any] = {"nonfinite": {"limit": 2}}
    found = looks({"guards": [{"nonfinite": 2}]}, {"guards": [], "from": "low", "at": "epoch"}, **tables)
    early, late = facts(found, 0, 0), facts(found, 1, 0)
    assert (early.fires_off, early.fires_on) == (0b10, 0b10)
    assert (late.fires_off, late.fires_on, late.stays_off) == (0b11, 0b11, True)
    assert late.implies[1] & 1 == 0


def test_facts_of_soft_transitions() -> None:
    """What may have been used up blocks nothing and is never sure."""
    found = looks({"guards": [{"min_step": 5}], "at_most": 1}, {"guards": [FLAT], "from": "low"}, soft=True)
    due = facts(found, 1, 1)
    assert (due.fires_off, due.always, due.stays_off) == (0b11, 0, True)


def test_shared_detectors_are_decided_together() -> None:
    """A guard and its opposite are never true together, and one of two is, once the detector knows."""
    found = looks({"guards": [LOW]}, {"guards": [{"not": LOW}], "from": "low"})
    assert found.groups == [(0b11, [0, 1], [0])]
    truths = found.truths(5, 5, 0, EVERYONE)
    assert truths == [{0b00, 0b01, 0b10}]
    apart = looks({"guards": [LOW]}, {"guards": [HIGH], "from": "low"})
    assert [group[:2] for group in apart.groups] == [(0b01, [0]), (0b10, [1])]


@pytest.mark.parametrize("count", [11, 12])
def test_too_many_detectors(count: int) -> None:
    """Beyond 2048 assignments guards are taken as independent of each other: too much may be said, never too little."""
    values = [{"below": {"value": 1.0, "window": 1 + i}} for i in range(count)]
    found = looks({"guards": [{"any": values}]}, {"guards": [{"all": values}], "from": "low"})
    assert (2**count > MOST_ASSIGNMENTS) == (count == 12)
    together = {11: {0b00, 0b01, 0b11}, 12: {0b00, 0b01, 0b10, 0b11}}
    assert found.truths(99, 99, 0, EVERYONE) == [together[count]]
    assert found.truths(99, 99, 0, 0b01) == [{0b00, 0b01}]


def test_far_too_many_guards() -> None:
    """Where even the independent ones have too many combinations, each is taken for itself."""
    values = [{"below": {"value": 1.0, "window": 1 + i}} for i in range(12)]
    found = looks(*[{"guards": [{"any": values}], "from": "low"} for _ in range(13)])
    assert found.truths(99, 99, 0, EVERYONE) == [{0, *(1 << j for j in range(13))}]


def test_verdicts() -> None:
    """The verdicts of a guard over all numbers of non-finite losses that there can be by then."""
    found = looks({"guards": [{"any": [{"nonfinite": 3}, {"not": FLAT}]}]}, nonfinite={"limit": 5})
    ((count, _),) = [part[1] for part in found.parts[0]]
    assert [found.verdicts(count, i, 0) for i in range(len(found.times) + 1)] == [FALSE, FALSE | TRUE, 3, 3, 3, 3]
    assert found.times == [3, 4, 5, 7, 9]
    dead = looks({"guards": [{"nonfinite": 30}]})
    assert dead.verdicts(dead.parts[0][0], 1, 0) == FALSE


def test_levels_of_one_metric() -> None:
    """Two levels of one mean, and two patiences, are told apart only as far as they can be."""
    below, lower, above = ({"below": {"value": 3.0}}, {"below": {"value": 2.0}}, {"above": {"value": 3.0}})
    found = looks({"guards": [below]}, {"guards": [lower], "from": "low"}, {"guards": [above], "from": "low"})
    assert found.truths(5, 5, 0, EVERYONE) == [{0b000, 0b001, 0b011, 0b100}]
    other = looks({"guards": [below]}, {"guards": [{"below": {"value": 2.0, "window": 2}}], "from": "low"})
    assert [group[:2] for group in other.groups] == [(0b01, [0]), (0b10, [1])]


def test_the_look_of_a_dead_run() -> None:
    """At the last NaN only what asks for NaN can be taken; what always holds otherwise is passed over."""
    found = looks({"guards": []}, {"guards": [{"nonfinite": 1}], "from": "low"}, nonfinite={"limit": 2})
    assert facts(found, 1, 0).fires_off == 0b11
    early = looks({"guards": []}, {"guards": [{"nonfinite": 1}], "from": "low"}, nonfinite={"limit": 9})
    assert facts(early, 0, 0).fires_off == 0b01


def test_a_late_loss() -> None:
    """With a lag the detectors see as much less, and so do the counts of NaN."""
    machine = bind(small({"guards": [FLAT, {"nonfinite": 3}]}), lag=2)
    found = Looks(machine, machine.states[0], False)
    assert found.times == [5, 6, 9, 27, 31]
    assert found.levels(4) == [0]
    assert found.levels(5) == [0, 3]
