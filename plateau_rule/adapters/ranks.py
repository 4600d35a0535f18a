"""The processes that train one model together, as a rule sees them."""

from __future__ import annotations

from typing import Any, Protocol

from plateau_rule.adapters.errors import WiringError
from plateau_rule.controller.plan import Plan


class Ranks(Protocol):
    """The processes that train one model together."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    def add(self, total: Any, weight: float) -> tuple[float, float]:
        """Both numbers as sums over all ranks; `total` may be a tensor on a device, and is fetched here."""

    def agree(self, text: str) -> bool:
        """Whether every rank calls this with the same text."""


class OneRank:
    """A process that trains alone."""

    rank = 0

    def add(self, total: Any, weight: float) -> tuple[float, float]:
        """What was given, as Python's numbers: the one transfer from the device in a step."""
        return float(total), float(weight)

    def agree(self, text: str) -> bool:
        """True: nobody is there to disagree."""
        return True


def refuse_other_plans(framework: str, ranks: Ranks, plan: Plan) -> None:
    """Refuse ranks that go on under different plans.

    Raises:
        WiringError: they do.
    """
    if not ranks.agree(f"{plan.step} {plan.state} {plan.lr!r} {dict(plan.knobs)!r}"):
        raise WiringError(
            f"{framework}: step {plan.step}: the ranks have different plans. Give every rank the same curriculum and "
            "binding, and load the same state on each"
        )
