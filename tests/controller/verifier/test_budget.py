"""A budget is counted in configurations: what is left when it is spent is not decided, and nothing is proved by it."""

from __future__ import annotations

import pytest

from plateau_rule import load
from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent
from plateau_rule.controller.verifier.verify import verify


def test_parts() -> None:
    """A part takes from the whole what it spends, and no more than its share."""
    whole = Budget(100)
    part = whole.part(0.5)
    part.spend(30)
    assert (whole.left, part.left) == (70, 20)
    half = part.part(0.5)
    with pytest.raises(BudgetSpent):
        half.spend(11)
    assert half.is_spent
    assert not whole.is_spent
    with pytest.raises(BudgetSpent):
        whole.spend(90)
    assert part.is_spent


def test_ticks() -> None:
    """Whoever wants to show how far it is is called now and then with the share that was spent."""
    shares: list[float] = []
    budget = Budget(1000, shares.append)
    for _ in range(50):
        budget.spend(10)
    assert shares == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize("budget", [0, 1, 5, 20, 60])
def test_with_little_nothing_is_said_that_more_takes_back(budget: int) -> None:
    """What is proved or broken within a small budget is so within a large one; the same budget says the same."""
    for name in ("plateau", "misaligned", "two-knobs-with-retreat"):
        machine = bind(load(name))
        little, again, much = verify(machine, budget=budget), verify(machine, budget=budget), verify(machine)
        assert little.verdicts == again.verdicts
        for verdict in little.verdicts:
            if verdict.answer in ("proved", "broken"):
                assert verdict.answer == much.verdict(verdict.property).answer
    assert verify(bind(load("plateau")), budget=0).verdict("order").answer == "not decided"
