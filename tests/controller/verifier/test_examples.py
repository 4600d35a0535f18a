"""A finding gets the first trail that a loss stream was found for; whether it may be an error hangs on that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier import examples
from plateau_rule.controller.verifier.examples import TOO_MANY, Examples, Trail
from plateau_rule.controller.verifier.findings import Counterexample, Finding, visits_of
from plateau_rule.controller.verifier.witness import Visit
from tests.controller.small import small

MACHINE = bind(small({"guards": [{"dwell": "5 steps"}]}))
FINDING = Finding("late-raise", "aligned", "error", ("state", 0), "It is late")
NEVER = Trail([(0, 4)], 4, 5, "never")  # the state is left on step 5 and on no other
FIRST, SECOND = Trail([(0, 5)], 5, 7, "first"), Trail([(0, 5), (0, 10)], 10, 11, "second")


def counterexample(trail: Trail, sought: bool, found: bool = False) -> Counterexample:
    """The counterexample of a trail, with the losses 4, 4, 4 ... where they were found."""
    visits = visits_of(MACHINE, trail.taken, trail.until)
    rows = tuple(
        {"step": step, "epoch": step // 10, "state": visit.state.name, "lr": 1.0 - step / 100, "loss": 4.0}
        for visit in visits
        for step in range(visit.entered, visit.left)
    )
    return Counterexample(visits, trail.step, trail.shows, rows if found else None, sought)


def test_what_is_shown() -> None:
    """The first trail with a stream is shown; else the first trail; else none, as where there was no trail at all."""
    some = Examples(MACHINE, 10_000)
    assert some.shown(FINDING, [None, NEVER, SECOND, FIRST]).counterexample == counterexample(SECOND, True, True)
    assert some.shown(FINDING, [FIRST, SECOND]).counterexample == counterexample(FIRST, True, True)
    assert some.shown(FINDING, [None, NEVER]).counterexample == counterexample(NEVER, True)
    assert some.shown(FINDING, [None]).counterexample is None
    assert some.shown(FINDING, []) == FINDING


def test_nothing_is_sought() -> None:
    """Where no stream is to be sought, the first trail is shown without one, though one could be found."""
    some = Examples(MACHINE, 10_000)
    assert some.shown(FINDING, [None, FIRST, SECOND], seek=False).counterexample == counterexample(FIRST, False)
    assert some.budget.looks == 10_000
    assert some.happens(FINDING, [None, FIRST], seek=False).severity == "error"
    assert some.happens(FINDING, [], seek=False) == FINDING


def test_what_happens_is_an_error() -> None:
    """A finding whose stream was found keeps its weight and its sentence."""
    found = Examples(MACHINE, 10_000).happens(FINDING, [NEVER, FIRST])
    assert found.counterexample == counterexample(FIRST, True, True)
    assert (found.severity, found.sentence) == ("error", "It is late")


def test_what_was_not_seen_is_a_warning() -> None:
    """Without a stream a finding is a warning that says so, and without a trail, why there is none."""
    some = Examples(MACHINE, 10_000)
    unseen = some.happens(FINDING, [NEVER])
    assert (unseen.severity, unseen.counterexample) == ("warning", counterexample(NEVER, True))
    assert unseen.sentence == "It is late (no loss stream was found that brings it about)"
    assert some.happens(FINDING, [None]).severity == "warning"
    assert some.happens(FINDING, [None]).sentence == f"It is late ({TOO_MANY})"


def test_one_budget_for_all() -> None:
    """What one finding costs is missing for the next; with nothing left, no stream is found."""
    some = Examples(MACHINE, 25)
    assert some.happens(FINDING, [FIRST]).severity == "error"
    assert some.budget.looks == 25 - 2 * 7
    assert some.happens(FINDING, [FIRST]).severity == "warning"


def test_each_trail_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller is bound once, and stands at the start of the run for each trail."""
    steps, bound = [], []

    def stream_of(controller: Any, visits: Sequence[Visit], budget: Any) -> None:
        steps.append(controller.plan.step)
        bound.append(controller)
        controller.observe(1.0)

    monkeypatch.setattr(examples, "stream_of", stream_of)
    Examples(MACHINE, 100).shown(FINDING, [FIRST, SECOND, NEVER])
    assert steps == [0, 0, 0]
    assert len(set(map(id, bound))) == 1
