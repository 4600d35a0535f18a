"""Raises that no step chosen beforehand brings: a loss that falls and settles shows them all the same."""

from __future__ import annotations

from typing import Any

import pytest

from plateau_rule.controller.binding import bind
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget
from plateau_rule.controller.verifier.settling import settled
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.witness import Player, Visit
from tests.controller.small import STATES, small
from tests.properties.agreement import shown_otherwise

TREND = {"plateau": {"method": "trend", "threshold": 0.05, "per": "1000 steps"}}
RETURNS = {"plateau": {"method": "returns"}}
ABOVE = {"above": {"metric": "val_loss", "value": 2.0, "window": 5}}


def under_one_fall(guard: dict[str, Any], **more: Any) -> Machine:
    """One raise, and a rate that falls once, over a run of 20,000 steps."""
    run = {"epochs": 20, "steps_per_epoch": 1000}
    rate = {"peak": 1.0, "shape": "cosine", "length": "rest"}
    return bind(small({"from": "low", "guards": [guard], **more}, state=STATES[:2], run=run, lr=rate))


@pytest.mark.parametrize(
    ("guard", "more"),
    [
        (TREND, {}),  # decides once in 16 losses, on which no step of the search falls
        (RETURNS, {"at": "epoch"}),  # decides on what the whole stay has brought
        (ABOVE, {"at": "eval", "sustain": 3}),  # needs more evaluations than those at which it must hold
    ],
    ids=["trend", "returns", "filled window"],
)
def test_a_raise_without_a_restart_is_broken(guard: dict[str, Any], more: dict[str, Any]) -> None:
    """Kind: a guard that waits as long as the loss likes, and no restart of the rate; a run shows the low rate."""
    machine = under_one_fall(guard, **more)
    report = verify(machine)
    assert report.verdict("aligned").answer == "broken"
    (finding,) = [found for found in report.findings if found.code == "misaligned"]
    assert finding.counterexample is not None
    assert finding.counterexample.happened
    assert not shown_otherwise(machine, finding, finding.counterexample)


def test_only_the_wanted_transition_counts() -> None:
    """A stay that ends by another transition, or not before its last step, is no run of the kind that is looked for."""
    flat, late = {"patience": {"steps": 3}}, {"dwell": "50 steps"}
    run = {"epochs": 10, "steps_per_epoch": 10}
    machine = bind(small({"from": "low", "guards": [flat]}, {"from": "low", "guards": [late]}, run=run))

    def steps(place: int, last: int) -> list[int]:
        visits = [Visit(machine.states[0], 0, 20, place)]
        return [step for step, _ in settled(Player(machine), visits, last, Budget())]

    assert 24 in steps(0, 100)
    assert steps(0, 23) == []
    assert steps(1, 100) == [50] * len(steps(1, 100))


@pytest.mark.parametrize(
    "guard",
    [{"plateau": {"window": 1500}}, {"patience": {"steps": 1500}}, {"above": {"value": 1.0, "window": 1200}}],
    ids=["plateau", "patience", "above"],
)
def test_windows_longer_than_an_epoch(guard: dict[str, Any]) -> None:
    """Kind: a window that is longer than an epoch; what is called broken is what the Controller does, step by step."""
    machine = under_one_fall(guard)
    report = verify(machine)
    assert report.verdict("aligned").answer == "broken"
    for finding in report.findings:
        if finding.counterexample is not None and finding.counterexample.happened:
            assert not shown_otherwise(machine, finding, finding.counterexample)
