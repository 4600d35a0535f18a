"""What is told: a decision, to people who watch a run; metrics, to guards, under names that a curriculum can write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import SupportsFloat
from warnings import warn

from plateau_rule.adapters.errors import WiringWarning
from plateau_rule.controller.machine import Action, Machine
from plateau_rule.controller.plan import Decision, Plan


def told(decision: Decision) -> str:
    """Which states, which knobs, and the rate, before and after; the same words in every trainer."""
    moved = [
        f"{name} {decision.knobs_before[name]} -> {value}"
        for name, value in decision.knobs.items()
        if value != decision.knobs_before[name]
    ]
    parts = [
        f"{decision.from_state} -> {decision.to_state}",
        *moved,
        f"lr {decision.lr_before:.3g} -> {decision.lr:.3g}",
    ]
    return f"plateau: step {decision.step}: {', '.join(parts)}"


def numbers_of(machine: Machine, plan: Plan) -> dict[str, float]:
    """Numbers for a logger: the largest rate, the number of the state, and the knobs that are numbers."""
    knobs = {f"plateau/{name}": float(n) for name, n in plan.knobs.items() if isinstance(n, int | float)}
    return {"plateau/lr": plan.lr, "plateau/state": float(machine.by_name[plan.state].index), **knobs}


def plain_metrics(metrics: Mapping[str, object]) -> dict[str, float]:
    """The numbers among a trainer's metrics, by names that a curriculum can write.

    Letters become small, and what is no letter, digit, - or _ becomes _: a guard asks for `val_loss/dataloader_idx_1`
    by `metric = "val_loss_dataloader_idx_1"`.

    Args:
        metrics: values by name; what is no number is left out.
    """
    return {plain_name(name): float(value) for name, value in metrics.items() if isinstance(value, SupportsFloat)}


def plain_name(name: str) -> str:
    """A metric's name as a curriculum can write it."""
    return re.sub(r"[^a-z0-9_-]", "_", name.lower())


def tell_left_to_you(framework: str, request: Action) -> None:
    """Say that a request is not carried out by an adapter, so that nobody believes it was."""
    warn(
        f"{framework}: the curriculum asks for {request}, which the callback leaves to you: look for it in "
        "callback.rule.plan.requests, in a callback of your own",
        WiringWarning,
        stacklevel=3,
    )
