"""One optimizer step, while it is under way and once it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.ranks import Ranks
from plateau_rule.controller.language.metrics import comes_at
from plateau_rule.controller.machine import Action, Machine
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
    """What the micro-batches of the step under way have brought so far: sums, and how many there were.

    Attributes:
        total: of the losses, times their weights.
        weight: of all.
        count: of the micro-batches.
        metrics: of each metric, the sum of its values and their number.
    """

    total: Any = 0.0
    weight: float = 0.0
    count: int = 0
    metrics: dict[str, tuple[Any, float]] = field(default_factory=dict)

    def add(self, framework: str, loss: Any, weight: float) -> None:
        """Add a micro-batch; a tensor stays on its device.

        Raises:
            WiringError: the loss has more than one element.
        """
        self.total = self.total + _one_number(f"{framework}: the loss of a micro-batch", loss) * weight
        self.weight += weight
        self.count += 1

    def add_metrics(self, framework: str, values: Mapping[str, Any]) -> None:
        """Add a value for each metric; a tensor stays on its device.

        Raises:
            WiringError: a value has more than one element.
        """
        for name, value in values.items():
            total, count = self.metrics.get(name, (0.0, 0.0))
            self.metrics[name] = (total + _one_number(f"{framework}: {name}", value), count + 1)

    def settled(self, asked: Mapping[str, str], closes: bool, ranks: Ranks) -> tuple[dict[str, Any], StepShare]:
        """The mean of each metric that is due, over the ranks that have it, and what is left for the next step.

        Args:
            asked: the metrics and at what they come, in the same order on each rank.
            closes: whether the step closes an epoch.
            ranks: all of them ask for this together.
        """
        due = [name for name, at in asked.items() if at == "step" or closes]
        sums = {name: ranks.add(*self.metrics.get(name, (0.0, 0.0))) for name in due}
        left = {name: held for name, held in self.metrics.items() if name not in due}
        return {name: total / count for name, (total, count) in sums.items() if count}, StepShare(metrics=left)

    def plain(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        metrics = {name: [float(total), count] for name, (total, count) in self.metrics.items()}
        return {"total": float(self.total), "weight": self.weight, "count": self.count, "metrics": metrics}


def asked_beside_loss(machine: Machine) -> dict[str, str]:
    """The metrics that guards ask for and that come with the loss: at each "step", or when an "epoch" closes."""
    return {name: comes_at(machine.curriculum, name) for name in sorted(machine.guarded - machine.evaluated)}


def share_of(plain: Mapping[str, Any]) -> StepShare:
    """What `StepShare.plain` gave."""
    metrics = {str(name): (float(total), float(count)) for name, (total, count) in plain["metrics"].items()}
    return StepShare(float(plain["total"]), float(plain["weight"]), int(plain["count"]), metrics)


def _one_number(what: str, value: Any) -> Any:
    """A number, or a tensor of one as one without dimensions."""
    if not hasattr(value, "detach"):
        return value
    if value.numel() != 1:
        raise WiringError(f"{what} has {value.numel()} elements; expected one number, such as their mean")
    return value.detach().float().reshape(())
