"""One optimizer step, while it is under way and once it is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plateau_rule.adapters.errors import WiringError
from plateau_rule.controller.machine import Action
from plateau_rule.controller.plan import Decision, Plan


@dataclass(frozen=True)
class StepResult:
    """What the end of an optimizer step, or an evaluation after it, brought.

    Attributes:
        plan: the plan that was in force during the step; of an evaluation just after a resume, that of the coming step.
        loss: the step's loss, the same on every rank; NaN for an evaluation just after a resume.
        decision: the transition that was taken, if any.
        requests: what the trainer is asked to do before the next step.
        stop: why training should end here, or None.
    """

    plan: Plan
    loss: float
    decision: Decision | None
    requests: tuple[Action, ...]
    stop: str | None


@dataclass
class StepShare:
    """What the micro-batches of the step under way have brought so far: sums, and how many there were."""

    total: Any = 0.0
    weight: float = 0.0
    count: int = 0

    def add(self, framework: str, loss: Any, weight: float) -> None:
        """Add a micro-batch; a tensor stays on its device.

        Raises:
            WiringError: the loss has more than one element.
        """
        value = loss
        if hasattr(loss, "detach"):
            if loss.numel() != 1:
                raise WiringError(
                    f"{framework}: the loss of a micro-batch has {loss.numel()} elements; expected one number, such as "
                    "their mean"
                )
            value = loss.detach().float().reshape(())
        self.total = self.total + value * weight
        self.weight += weight
        self.count += 1
