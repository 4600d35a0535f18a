"""Three-valued guards: what the losses say, what any losses could say, and how both are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import Controller, NonFiniteLoss
from plateau_rule.controller.guards import (
    FALSE,
    TRUE,
    UNKNOWN,
    Clock,
    Detector,
    GuardInState,
    Joined,
    Opposite,
    Reached,
    Reading,
    Watched,
    answers_nonfinite,
)
from plateau_rule.controller.guards.kleene import join
from plateau_rule.controller.guards.patience import NoNewBest, Patience
from plateau_rule.controller.guards.plateau.trend import Trend
from plateau_rule.sim.strategies import curricula, observations, observe
from tests.controller.small import small

BITS = {True: TRUE, False: FALSE, None: UNKNOWN}
VERDICTS = (True, False, None)


class Fixed:
    """A guard that says what it was told to."""

    title = "fixed"
    parts: tuple[GuardInState, ...] = ()

    def __init__(self, verdict: bool | None, possible: int = 0) -> None:
        self.said, self.could = verdict, possible or BITS[verdict]

    def verdict(self, clock: Clock) -> bool | None:
        """What it was told."""
        return self.said

    def possible(self, clock: Clock, seen: int) -> int:
        """What it was told that it could."""
        return self.could

    def turns(self) -> Iterator[tuple[str, int]]:
        """Never."""
        yield from ()

    def reading(self, clock: Clock) -> Reading:
        """What it was told, in a word."""
        return Reading(self.title, "clock", self.said, text="fixed")

    def distance(self, clock: Clock) -> float:
        """None."""
        return 0.0

    def copy(self, copies: Mapping[int, Detector]) -> Fixed:
        """Itself."""
        return self


@pytest.mark.parametrize("one", VERDICTS)
@pytest.mark.parametrize("other", VERDICTS)
def test_joined_guards_follow_kleene(one: bool | None, other: bool | None) -> None:
    """`any`, `all` and `not` are Kleene's or, and, not, over all pairs of true, false and unknown."""
    rank = {False: 0, None: 1, True: 2}
    parts = (Fixed(one), Fixed(other))
    assert rank[Joined(True, parts).verdict(Clock())] == max(rank[one], rank[other])
    assert rank[Joined(False, parts).verdict(Clock())] == min(rank[one], rank[other])
    assert rank[Opposite(parts[0]).verdict(Clock())] == 2 - rank[one]
    for decisive in (True, False):
        assert Joined(decisive, parts).verdict(Clock()) is join(decisive, (one, other))


@pytest.mark.parametrize("word", ["any", "all"])
def test_what_joined_guards_could_say_is_what_their_parts_could(word: str) -> None:
    """Over all sets of verdicts that two parts could give, `possible` is the set of what could come of them."""
    for one in range(1, 8):
        for other in range(1, 8):
            found = 0
            for first in VERDICTS:
                for second in VERDICTS:
                    if one & BITS[first] and other & BITS[second]:
                        found |= BITS[Joined(word == "any", (Fixed(first), Fixed(second))).verdict(Clock())]
            assert Joined(word == "any", (Fixed(None, one), Fixed(None, other))).possible(Clock(), 0) == found
        turned = sum(BITS[Opposite(Fixed(said)).verdict(Clock())] for said in VERDICTS if one & BITS[said])
        assert Opposite(Fixed(None, one)).possible(Clock(), 0) == turned


def test_nothing_asked_is_true() -> None:
    """A transition without guards is always free."""
    assert Joined(False, ()).verdict(Clock()) is True
    assert Joined(False, ()).possible(Clock(), 0) == TRUE


def test_clock_has_reached() -> None:
    """A clock's guard is true from its number on, and never unknown."""
    clock, guard = Clock(), Reached("min_step", "step", 2, ("step", "steps"))
    said = []
    for clock.step in range(4):
        said.append((guard.verdict(clock), guard.possible(clock, 0)))
    assert said == [(False, FALSE), (False, FALSE), (True, TRUE), (True, TRUE)]


def test_any_stream_may_be_nonfinite() -> None:
    """`nonfinite` could hold as soon as there was time for so many, and need not."""
    clock, guard = Clock(), Reached("nonfinite", "nonfinite", 2, ("loss", "losses"))
    assert guard.possible(clock, 0) == FALSE
    clock.time = 2
    assert guard.possible(clock, 0) == TRUE | FALSE


@given(st.data())
def test_every_verdict_was_possible(data: st.DataObject) -> None:
    """What a guard says after any observations is among what it could say: so what is proved of all streams holds."""
    curriculum = data.draw(curricula(open_runs=True, max_steps=60))
    controller = Controller(curriculum)
    for said in data.draw(observations(curriculum, max_size=60)):
        before = controller.run_state.stay
        try:
            observe(controller, said)
        except NonFiniteLoss:
            return
        if controller.run_state.stay is before and controller.run_state.time:
            for guard in controller.run_state.stay.guards:
                bits = guard.possible(controller.run_state, controller.run_state.time)
                assert bits & BITS[guard.verdict(controller.run_state)]


@pytest.mark.parametrize(
    ("guard", "answers"),
    [
        ({"nonfinite": 2}, True),
        ({"not": {"nonfinite": 2}}, True),
        ({"any": [{"min_epoch": 1}, {"all": [{"nonfinite": 2}]}]}, True),
        ({"min_epoch": 1}, False),
        ({"not": {"below": {"value": 1.0}}}, False),
        ({"any": [{"min_epoch": 1}, {"diverging": {}}]}, False),
    ],
)
def test_who_answers_nonfinite_losses(guard: dict[str, Any], answers: bool) -> None:
    """A guard answers a dead run if it asks for non-finite losses anywhere."""
    found: GuardInState = Controller(small({"guards": [guard]})).run_state.stay.guards[0]
    assert answers_nonfinite(found) is answers


def test_where_what_is_possible_turns() -> None:
    """Parts, and parts of parts, name every clock and number that they wait for; a count of losses is one of time."""
    parts = (
        Reached("x", "nonfinite", 3, ("x", "x")),
        Opposite(Reached("x", "epoch", 2, ("x", "x"))),
        Watched("x", Trend(0.1)),
    )
    assert list(Joined(True, parts).turns()) == [("time", 3), ("epoch", 2), ("time", 200), ("time", 200)]
    patience = Watched("x", NoNewBest(Patience(steps=4, smooth=3)))
    assert list(patience.turns()) == [("time", 3), ("time", 7)]
