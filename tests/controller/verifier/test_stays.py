"""One stay: when each transition can be taken and when one must be, followed by hand in an epoch of ten steps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.binding import bind
from controller.verifier.looks import Looks
from controller.verifier.stays import MOST_ORDERS, Bound, Chance, Course, Courses, Deadline
from controller.verifier.zones import FAR
from tests.controller.small import small

FLAT = {"plateau": {"window": 4}}


def in_state(n: int) -> Bound:
    """A bound on the time in the state."""
    return Bound(True, n)


def of_run(n: int) -> Bound:
    """A bound on the step of the run."""
    return Bound(False, n)


def courses(*transitions: dict[str, Any], rough: bool = False, **tables: Any) -> Courses:
    """The courses of the first of four states."""
    machine = bind(small(*transitions, **tables))
    return Courses(Looks(machine, machine.states[0], rough), rough)


def only(found: Courses, entry: int, present: int = -1) -> Course:
    """The one course of who enters on a step."""
    (course,) = found.entered(entry, entry, present)
    return course


@given(
    st.booleans(),
    st.integers(0, 12),
    st.integers(1, 3),
    st.booleans(),
    st.integers(1, 5),
    st.integers(0, 9),
    st.integers(0, 6),
)
def test_deadline(relative: bool, begins: int, looks: int, at_epochs: bool, period: int, first: int, more: int) -> None:
    """A deadline is the look on which the guards have held for so many looks; where it is exact, to the step."""
    deadline = Deadline(Bound(relative, begins), looks, at_epochs, 0)
    for arc in (None, *([(first % period, 0)] if more == 0 and period > 1 else [])):
        bound, exact = deadline.bound(period, first, first + more, arc)
        for entry in range(first, first + more + 1):
            start = begins + entry * relative  # the first step on which they hold
            seen = [step for step in range(start, start + 40) if not at_epochs or step % period == 0]
            due = seen[looks - 1]
            told = bound.steps + entry * bound.relative
            assert told == due if exact else told >= due


def test_clocks_are_thresholds() -> None:
    """Guards that ask clocks make stretches; which transitions can be taken in them is known."""
    found = only(
        courses({"guards": [FLAT, {"dwell": "6 steps"}]}, {"guards": [{"min_step": 25}], "to": "top", "from": "low"}), 3
    )
    assert (found.first, found.last) == (0, 18)
    assert [(s.starts, s.ends, s.times, s.steps) for s in found.stretches] == [
        ((in_state(1),), (in_state(4),), 0, 0),
        ((in_state(4),), (in_state(6),), 1, 0),
        ((in_state(6),), (of_run(25),), 2, 0),
        ((of_run(25),), (), 2, 1),
    ]
    assert found.chances == [
        Chance(0, (in_state(6), in_state(1)), (), None),
        Chance(1, (of_run(25), in_state(1)), (), None),
    ]
    assert found.deadlines == [Deadline(of_run(25), 1, False, None), Deadline(of_run(25), 1, True, None)]


def test_orders_of_clocks() -> None:
    """Entries are told apart by the order in which clocks become due."""
    found = courses({"guards": [{"dwell": "6 steps"}, {"min_step": 25}]})
    assert found.cuts == [19, 24]
    assert [(c.first, c.last) for c in found.entered(0, 99, -1)] == [
        (0, 18), (19, 19), (20, 23), (24, 24), (25, FAR),
    ]  # fmt: skip
    assert [(c.first, c.last) for c in found.entered(19, 23, -1)] == [(19, 19), (20, 23)]
    assert [s.starts for s in only(found, 19).stretches] == [(in_state(1),), (of_run(25),)]
    assert [s.starts for s in only(found, 22).stretches] == [(in_state(1),), (of_run(25),), (in_state(6),)]
    assert [s.starts for s in only(found, 30).stretches] == [(in_state(1),), (in_state(6),)]
    assert only(found, 10) is only(found, 12)


def test_at_epochs() -> None:
    """A transition that is looked at when epochs close is taken on their remainder."""
    found = only(courses({"at": "epoch", "guards": [{"dwell": "6 steps"}]}), 0)
    assert found.chances == [Chance(0, (in_state(6), in_state(1)), (), (0, 0))]
    assert found.deadlines == [Deadline(in_state(6), 1, True, None)]


def test_not_at_epochs() -> None:
    """Where another one beats it whenever an epoch closes, a transition is taken between."""
    found = only(
        courses({"at": "epoch", "guards": []}, {"guards": [{"below": {"value": 1}}], "from": "low", "to": "top"}), 0
    )
    assert found.chances == [
        Chance(0, (in_state(1), in_state(1)), (), (0, 0)),
        Chance(1, (in_state(1),) * 2, (), (1, 8)),
    ]


def test_sustained() -> None:
    """A sustained transition is taken so many looks after its guards can begin to hold, and must be after so many."""
    found = only(courses({"guards": [{"min_step": 5}], "sustain": 3}), 0)
    assert found.chances == [Chance(0, (of_run(5), of_run(7)), (), None)]
    assert found.deadlines == [Deadline(of_run(5), 3, False, 0)]
    found = only(courses({"guards": [{"min_step": 5}], "sustain": 3, "at": "epoch"}), 0)
    assert found.chances == [Chance(0, (of_run(5), of_run(25)), (), (0, 0))]
    assert found.deadlines == [Deadline(of_run(5), 3, True, 0)]


def test_sustained_no_longer_than_it_holds() -> None:
    """Guards that stop to hold leave a chance only for the look at which the last one still counted."""
    found = only(courses({"guards": [{"not": {"min_step": 8}}], "sustain": 3}), 0)
    assert found.chances == [Chance(0, (in_state(1), in_state(3)), (of_run(8),), None)]
    assert found.deadlines == []  # not for those who enter late
    for steps, deadlines in ((4, [Deadline(in_state(1), 3, False, 0)]), (3, [])):
        found = only(courses({"guards": [{"not": {"dwell": f"{steps} steps"}}], "sustain": 3}), 0)
        assert found.chances == [Chance(0, (in_state(1), in_state(3)), (in_state(steps),), None)]
        assert found.deadlines == deadlines


def test_at_evaluations() -> None:
    """Evaluations come when the trainer wants them: what is looked at then is never due."""
    found = only(courses({"guards": [{"min_step": 5}], "sustain": 2, "at": "eval"}), 0)
    assert found.chances == [Chance(0, (of_run(5), of_run(6)), (), None)]
    assert found.deadlines == []


def test_one_sustained_beats_another() -> None:
    """Of two that hold together, the one that needs fewer looks is taken; the other one has no chance."""
    two = [{"guards": [FLAT], "sustain": 2}, {"guards": [FLAT], "sustain": 3, "from": "low", "to": "top"}]
    assert [c.place for c in only(courses(*two), 0).chances] == [0]
    assert [c.place for c in only(courses(*two[::-1]), 0).chances] == [1]
    same = [one | {"sustain": 2} for one in two]
    assert [c.place for c in only(courses(*same), 0).chances] == [0]
    seldom = [two[0] | {"at": "eval"}, two[1]]
    assert [c.place for c in only(courses(*seldom), 0).chances] == [0, 1]


def test_used_up() -> None:
    """A transition that is used up has neither chance nor deadline."""
    found = courses({"guards": [{"dwell": "6 steps"}], "at_most": 1}, {"guards": [{"dwell": "9 steps"}]})
    assert [c.place for c in only(found, 0, 0b11).chances] == [0]
    assert [c.place for c in only(found, 0, 0b10).chances] == [1]
    assert only(found, 0, 0b10).deadlines[0] == Deadline(in_state(9), 1, False, None)


def test_roughly() -> None:
    """Rough courses take every order of the clocks together, and know no deadline."""
    found = courses({"guards": [{"dwell": "6 steps"}, {"min_step": 25}]}, rough=True)
    assert found.cuts == []
    (course,) = found.entered(0, 99, -1)
    assert (course.first, course.last, course.deadlines) == (0, FAR, [])
    assert [(s.starts, s.ends, s.times, s.steps) for s in course.stretches] == [
        ((in_state(1), of_run(0)), (in_state(6), of_run(25)), 0, 0),
        ((in_state(6), of_run(0)), (of_run(25),), 1, 0),
        ((in_state(1), of_run(25)), (in_state(6),), 0, 1),
        ((in_state(6), of_run(25)), (), 1, 1),
    ]
    assert course.chances == [Chance(0, (in_state(6), of_run(25), in_state(1)), (), None)]


def test_rough_chances_go_on() -> None:
    """A rough chance that goes on with the next time is one chance, from its first start to its last end."""
    found = courses({"guards": [FLAT], "sustain": 2}, {"guards": [{"dwell": "9 steps"}], "from": "low"}, rough=True)
    (course,) = found.entered(0, 0, -1)
    assert course.chances[0] == Chance(0, (in_state(4), of_run(0), in_state(2)), (), None)


@pytest.mark.parametrize(("count", "rough"), [(MOST_ORDERS // 20, False), (MOST_ORDERS, True)])
def test_too_many_orders(count: int, rough: bool) -> None:
    """Where clocks can become due in too many orders, courses are rough by themselves."""
    many = [{"not": {"min_step": 11 + i}} for i in range(count)]
    one = {"any": [{"any": many[i : i + 50]} for i in range(0, count, 50)]}
    found = courses({"guards": [one, FLAT]})
    assert found.rough is rough
    assert bool(found.cuts) is not rough
