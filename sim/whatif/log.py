"""What a run has logged, as the engine reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.batch.along.base import Counts
from plateau_rule.sim.batch.history import Floats

Evaluations = Mapping[int, Mapping[str, float]]
Kinds = NDArray[np.int8]
LOGGED, PASSED, DROPPED = 0, 1, 2  # a step with its loss; one that was not logged; one whose optimizer step was dropped


@dataclass(frozen=True)
class LossLog:
    """The losses of a run, one for each step from step 0 on, and what came beside them.

    Attributes:
        losses: [step], NaN or infinite where a loss was.
        evaluations: what came with the observation of a step beside its loss, by step.
        kinds: [step], how each step was logged; None where all were, and none was dropped.
        evaluates: whether what came beside a loss is an evaluation even where no guard asks for it.
        finite: whether all losses are known to be finite.
    """

    losses: Floats
    evaluations: Evaluations
    kinds: Kinds | None = None
    evaluates: bool = False
    finite: bool = False

    def __len__(self) -> int:
        return len(self.losses)

    @cached_property
    def special(self) -> list[int]:
        """The steps that brought more than a loss, rising."""
        return sorted(self.evaluations)

    @cached_property
    def points(self) -> Counts | None:
        """The steps that were logged, rising; None where all were."""
        return None if self.kinds is None else np.flatnonzero(self.kinds != PASSED)

    def next_point(self, step: int) -> int:
        """The first step from this one on that was logged; the end of the log where there is none."""
        if self.points is None:
            return step
        place = int(np.searchsorted(self.points, step))
        return int(self.points[place]) if place < len(self.points) else len(self)

    @cached_property
    def _shown(self) -> NDArray[np.bool_] | None:
        """[step], whether detectors see the loss; None where they see all."""
        if self.finite and self.kinds is None:
            return None
        finite = np.isfinite(self.losses)
        if self.kinds is not None:
            finite &= self.kinds == LOGGED
        return None if finite.all() else finite

    @cached_property
    def _counts(self) -> Counts | None:
        """[step + 1], how many losses detectors have seen before each step; None where they see all."""
        return None if self._shown is None else np.concatenate(([0], np.cumsum(self._shown)))

    @cached_property
    def _points_before(self) -> Counts | None:
        """[step + 1], how many steps were logged before each step; None where all were."""
        return None if self.kinds is None else np.concatenate(([0], np.cumsum(self.kinds != PASSED)))

    @cached_property
    def values(self) -> Floats:
        """The losses that detectors see: finite ones, of steps that were logged and not dropped."""
        return self.losses if self._shown is None else self.losses[self._shown]

    @cached_property
    def _bad(self) -> Counts | None:
        """[step + 1], how many logged losses in a row before each step were not finite; None where all are finite."""
        if self._shown is None:
            return None
        losses = self.losses if self.points is None else self.losses[self.points]
        finite = np.isfinite(losses)
        if finite.all():
            return None
        places = np.arange(1, len(losses) + 1)
        found = np.concatenate(([0], places - np.maximum.accumulate(np.where(finite, places, 0))))
        return found if self._points_before is None else found[self._points_before]

    def bad(self, steps: Counts, entered: int) -> Counts | None:
        """How many losses in a row were not finite before each of these steps, since a state was entered.

        None where all losses are finite.
        """
        if self._bad is None:
            return None
        points = self._points_before
        since = steps - entered if points is None else points[steps] - points[entered]
        found: Counts = np.minimum(self._bad[steps], since)
        return found

    @property
    def has_bad(self) -> bool:
        """Whether any loss that was logged is not finite."""
        return self._bad is not None

    @cached_property
    def _bad_before(self) -> Counts | None:
        if self._bad is None:
            return None
        bad = ~np.isfinite(self.losses)
        return np.concatenate(([0], np.cumsum(bad if self.kinds is None else bad & (self.kinds != PASSED))))

    def bad_losses(self, start: int, stop: int) -> int:
        """How many losses of steps `start` up to `stop` were logged and are not finite."""
        return 0 if self._bad_before is None else int(self._bad_before[stop] - self._bad_before[start])

    @cached_property
    def spacing(self) -> int:
        """About how many steps lie from one that was logged to the next."""
        return 1 if self.points is None else max(1, len(self) // max(1, len(self.points)))

    def counts(self, steps: Counts) -> Counts:
        """How many losses detectors have seen before each of these steps."""
        return steps if self._counts is None else self._counts[steps]

    def count(self, step: int) -> int:
        """How many losses detectors have seen before a step."""
        return step if self._counts is None else int(self._counts[step])

    def between(self, start: int, stop: int) -> list[float]:
        """The losses that detectors see on steps `start` up to `stop`."""
        found: list[float] = self.values[self.count(start) : self.count(stop)].tolist()
        return found
