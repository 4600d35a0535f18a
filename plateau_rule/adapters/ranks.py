"""The processes that train one model together, as a rule sees them."""

from __future__ import annotations

from typing import Any, Protocol


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
