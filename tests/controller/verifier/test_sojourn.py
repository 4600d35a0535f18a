"""One stay: when each transition can be taken and when one must be, followed by hand in an epoch of ten steps."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.outcome import Looks
from plateau_rule.controller.verifier.sojourn import MOST_ORDERS, Bound, Chance, Course, Courses, Deadline
from plateau_rule.controller.verifier.zones import FAR
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


@pytest.mark.parametrize("at_epochs", [False, True])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("period", [1, 2, 5])
def test_deadline(relative: bool, at_epochs: bool, period: int) -> None:
    """A deadline is the look on which the guards have held for so many looks; where it is exact, to the step.

    It is exact wherever one bound tells it for all who enter in the same epoch, and else less than an epoch too late.
    """
    for begins, looks, first, more in product((0, 1, 4, 5, 9, 12), (1, 2, 3), (0, 3, 9), (0, 1, 4)):
        deadline = Deadline(Bound(relative, begins), looks, at_epochs, 0)
        for arc in (None, *([(first % period, 0)] if more == 0 and period > 1 else [])):
            bound, exact = deadline.bound(period, first, first + more, arc)
            for entry in range(first, first + more + 1):
                start = begins + entry * relative  # the first step on which they hold
                due = [step for step in range(start, start + 40) if not at_epochs or step % period == 0][looks - 1]
                late = bound.steps + entry * bound.relative - due
                assert late == 0 if exact else 0 <= late < period
            one_epoch = -(-(begins + first) // period) == -(-(begins + first + more) // period)
            assert exact is (not at_epochs or not relative or one_epoch)
    known = Deadline(in_state(4), 2, True, 0)
    assert known.bound(10, 3, 3, (3, 0)) == (in_state(17), True)  # by its place in the epoch, whichever that is
    assert known.bound(10, 3, 3, None) == (of_run(20), True)
    assert known.bound(10, 3, 90, (3, 6)) == (in_state(23), False)


@pytest.mark.parametrize("at_epochs", [False, True])
@pytest.mark.parametrize(("period", "width"), [(1, 0), (3, 0), (3, 1), (3, 2), (3, 4)])
def test_how_many_looks_fit(period: int, width: int, at_epochs: bool) -> None:
    """Looks that are said to lie between two bounds do, for each entry; and they are said to wherever that is so.

    Only where the time in the state begins and a step of the run ends it, the worst of both is taken together.
    """
    found = courses({"guards": [FLAT]}, run={"epochs": 10, "steps_per_epoch": period})
    for first, looks, a, b in product((0, 4, 5), (1, 2, 3), range(6), range(1, 12)):
        course = Course(first, first + width)
        for start, end in product((in_state(a), of_run(a)), (in_state(a + b), of_run(a + b + 5))):
            counts, empty = [], False
            for entry in range(first, first + width + 1):
                low, high = start.steps + entry * start.relative, end.steps + entry * end.relative
                empty |= low >= high
                counts.append(sum(not at_epochs or step % period == 0 for step in range(low, high)))
            if empty:
                continue  # for some entry these bounds come the other way round
            fits = found.fits(course, start, end, looks, at_epochs)
            assert not fits or min(counts) >= looks
            if not at_epochs or not start.relative or (end.relative and width >= period - 1):
                assert fits is (min(counts) >= looks)


def test_a_stretch_always_holds_one_look() -> None:
    """One look lies between two bounds even where the worst of both, taken together, leaves no room."""
    far = Course(0, FAR)
    at_steps, at_epochs = (
        courses({"guards": [FLAT]}),
        courses({"guards": [FLAT]}, run={"epochs": 9, "steps_per_epoch": 1}),
    )
    assert at_steps.fits(far, in_state(4), of_run(9), 1, False)
    assert not at_steps.fits(far, in_state(4), of_run(9), 2, False)
    assert not at_steps.fits(far, in_state(4), of_run(9), 1, True)
    assert at_epochs.fits(far, in_state(4), of_run(9), 1, True)
    assert not at_epochs.fits(far, in_state(4), of_run(9), 2, True)


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


def test_rough_chances_at_epochs() -> None:
    """A rough chance lies where its transition is looked at, also after it went on; what is used up has none."""
    found = courses(
        {"guards": [{"dwell": "6 steps"}, {"min_step": 25}], "at": "epoch"},
        {"guards": [{"dwell": "9 steps"}], "from": "low", "to": "top"},
        {"guards": [{"min_step": 40}], "from": "low", "to": "high"},
        rough=True,
    )
    (course,) = found.entered(0, 99, 0b001)
    assert course.chances == [
        Chance(0, (in_state(6), of_run(25), in_state(1)), (of_run(40),), (0, 0)),
        Chance(0, (in_state(6), of_run(40), in_state(1)), (), (0, 0)),
    ]
    (course,) = found.entered(0, 99, 0b110)
    assert {chance.place for chance in course.chances} == {1, 2}
    (course,) = found.entered(0, 99, 0b111)
    assert [(s.starts, s.ends) for s in course.stretches][:5] == [
        ((in_state(1), of_run(0)), (in_state(6), of_run(25))),
        ((in_state(6), of_run(0)), (in_state(9), of_run(25))),
        ((in_state(9), of_run(0)), (of_run(25),)),
        ((in_state(1), of_run(25)), (in_state(6), of_run(40))),
        ((in_state(6), of_run(25)), (in_state(9), of_run(40))),
    ]


@pytest.mark.parametrize(("count", "rough"), [(MOST_ORDERS // 20, False), (MOST_ORDERS, True)])
def test_too_many_orders(count: int, rough: bool) -> None:
    """Where clocks can become due in too many orders, courses are rough by themselves."""
    many = [{"not": {"min_step": 11 + i}} for i in range(count)]
    one = {"any": [{"any": many[i : i + 50]} for i in range(0, count, 50)]}
    found = courses({"guards": [one, FLAT]})
    assert found.rough is rough
    assert bool(found.cuts) is not rough
