"""Whether a run that is killed and resumed goes on as if nothing had happened, tried on a generated loss stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import inf, nan
from typing import Any

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent, Part
from plateau_rule.controller.verifier.witness import controller_of

OBSERVED, RESTORED = 0.1, 1.0  # configurations: what a step of both runs costs, and a guard of a stay that is begun
MOST_KILLS = 200  # each costs as much as a hundred steps
GOLDEN = 0.6180339887498949  # multiples of it modulo 1 are spread evenly: chance without chance


def losses(steps: int) -> Iterator[float]:
    """A stream that falls, lies flat, jumps and is not a number at times; the same on every call."""
    for i in range(steps):
        spread = (i * GOLDEN) % 1.0
        level = 8.0 * 0.97 ** min(i, 60) if (i // 60) % 3 else 3.0
        yield nan if i % 37 == 36 else level * (1.0 + 0.05 * spread) + (20.0 if i % 53 == 52 else 0.0)


def killed_and_resumed(
    machine: Machine, steps: int, near: int = 8, budget: Budget | Part | None = None
) -> tuple[int, str]:
    """Run a stream twice, killing and resuming one of the runs over and over.

    Args:
        machine: the bound curriculum.
        steps: the most observations.
        near: the run is killed after each of the first `4 * near` steps and of the first `near` steps after each
            transition, 200 times at most.
        budget: the runs end where nothing is left of it.

    Returns:
        How often the run was killed, and the first difference of the plans.
    """
    budget = budget or Budget(inf)
    steady, resumed, next_one = (controller_of(machine) for _ in range(3))
    kills, until = 0, 4 * near
    for i, loss in enumerate(losses(steps)):
        if steady.plan.stop is not None:
            break
        evaluates = i % 5 == 4
        closes = machine.run.steps_per_epoch is None and i % 11 == 10
        metrics: dict[str, Any] = dict.fromkeys(_metrics(steady), loss) if evaluates else {}
        try:
            decision = steady.observe(loss, closes, evaluates, **metrics)
            resumed.observe(loss, closes, evaluates, **metrics)
        except NonFiniteLoss:
            break
        if decision is not None:
            until = i + near
        killed = i <= until and kills < MOST_KILLS
        guards = sum(len(t.guards) for t in machine.by_name[steady.plan.state].transitions)
        try:
            budget.spend(OBSERVED + (killed + 2 * (decision is not None)) * (1.0 + RESTORED * guards))
        except BudgetSpent:
            break
        if killed:
            kills += 1
            next_one.load_state_dict(json.loads(json.dumps(resumed.state_dict())))
            resumed, next_one = next_one, resumed
        if steady.plan != resumed.plan:
            return kills, f"after step {i}, {steady.plan} was planned, and {resumed.plan} by the resumed run"
        if i > until and not machine.by_name[steady.plan.state].transitions:
            break  # nothing more will be decided
    return kills, ""


def _metrics(controller: Controller) -> set[str]:
    return {metric for metric, _ in controller.run_state.stay.detectors.values()} - {"loss"}
