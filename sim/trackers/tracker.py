"""The seam: what a run asks of a tracker, whichever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from plateau_rule.controller.errors import PlateauError


class TrackerError(PlateauError):
    """A tracker that is not known, not installed, or cannot be written to."""


class TrackerWarning(UserWarning):
    """A tracker failed while a run was under way, and gets nothing more of it."""


class Tracker(ABC):
    """One run in one tracker.

    Attributes:
        last: the last step that the tracker holds of a run that is gone on with, and that cannot be taken back; -1
            where there is none.
    """

    last: int = -1

    @abstractmethod
    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each of these series.

        Args:
            step: the optimizer step, from 0; it never falls.
            values: by the name of the series; they may be NaN or infinite.
        """

    @abstractmethod
    def event(self, step: int, title: str, text: str) -> None:
        """Note what happened before a step: a decision, or the end."""

    @abstractmethod
    def flush(self) -> None:
        """Hand over what was given so far: a checkpoint is about to be made."""

    @abstractmethod
    def close(self) -> None:
        """The process leaves the run, which may be gone on with later."""
