"""What a loop of one's own reads of its rule, in whatever framework: PyTorch's and JAX' have it in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from plateau_rule.adapters.base import Rule
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.plan import Plan


class LoopRule(ABC):
    """A rule that begins when something is first asked of it."""

    @abstractmethod
    def start(self) -> Rule:
        """Begin, if that has not happened: whatever is asked of this object first does it, unless a state was loaded.

        Returns:
            The rule inside.
        """

    @property
    def controller(self) -> Controller:
        """The Controller."""
        return self.start().controller

    @property
    def plan(self) -> Plan:
        """What to do on the step under way; reading it changes nothing."""
        return self.start().plan

    @property
    def knobs(self) -> Mapping[str, Any]:
        """The knobs of the step under way; what is read here counts as applied."""
        return self.start().knobs

    @property
    def stop(self) -> str | None:
        """Why training should end here, or None."""
        return self.start().stop

    def shown(self) -> dict[str, float]:
        """Numbers for a logger: rate, state and knobs in force."""
        return self.start().shown()
