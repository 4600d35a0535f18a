"""A finding gets the first trail that a loss stream was found for; whether it may be an error hangs on that."""

from __future__ import annotations

from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.budget import Budget
from plateau_rule.controller.verifier.examples import TOO_MANY, Examples, Trail
from plateau_rule.controller.verifier.findings import Finding, visits_of
from tests.controller.small import small

MACHINE = bind(small({"guards": [{"dwell": "5 steps"}]}))
FINDING = Finding("late-raise", "aligned", "error", ("state", 0), "It is late")
NEVER = Trail([(0, 4)], 4, 5, "never")  # the state is left on step 5 and on no other
FIRST, SECOND = Trail([(0, 5)], 5, 7, "first"), Trail([(0, 5), (0, 10)], 10, 11, "second")


def test_what_happens_is_an_error() -> None:
    """The first trail that the Controller takes is shown, with its losses, and the finding keeps its weight."""
    found = Examples(MACHINE, Budget()).happens(FINDING, [None, NEVER, SECOND, FIRST])
    assert (found.severity, found.sentence) == ("error", "It is late")
    example = found.counterexample
    assert example is not None
    assert (example.visits, example.step, example.shows) == (visits_of(MACHINE, SECOND.taken, 11), 10, "second")
    assert [(row["step"], row["state"], row["loss"]) for row in example.rows(MACHINE)] == [
        (step, "low" if step < 5 else "mid" if step < 10 else "high", 4.0) for step in range(11)
    ]


def test_what_was_not_seen_is_not_decided() -> None:
    """Without a stream a finding is not decided and says so, and without a trail, why there is none."""
    some = Examples(MACHINE, Budget())
    unseen = some.happens(FINDING, [NEVER])
    assert unseen.severity == "undecided"
    assert unseen.counterexample is not None
    assert (unseen.counterexample.shows, unseen.counterexample.happened) == ("never", False)
    assert unseen.sentence == "It is late (no loss stream was found that brings it about)"
    assert str(unseen).startswith("not decided: It is late")
    assert some.happens(FINDING, [None]).severity == "undecided"
    assert some.happens(FINDING, [None]).sentence == f"It is late ({TOO_MANY})"


def test_one_budget_for_all() -> None:
    """What one finding costs is missing for the next; with nothing left, it is not decided."""
    some = Examples(MACHINE, Budget(1))
    spent = some.happens(FINDING, [FIRST])
    assert (spent.severity, spent.sentence) == ("undecided", "It is late (the budget ran out)")


def test_each_trail_begins_anew() -> None:
    """What was played of one trail is where the next one goes on, if it begins alike; else it begins at the start."""
    some = Examples(MACHINE, Budget())
    for trail in (SECOND, FIRST, NEVER, SECOND):
        found = some.happens(FINDING, [trail])
        assert (found.severity == "error") is (trail is not NEVER)
