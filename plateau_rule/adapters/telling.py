"""A decision as one line, for people who watch a training run."""

from __future__ import annotations

from plateau_rule.controller.plan import Decision


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
