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
    """

    losses: Floats
    evaluations: Evaluations
    kinds: Kinds | None = None
    evaluates: bool = False

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
    def _finite(self) -> Counts | None:
        """[step + 1], how many finite losses came before each step; None where all are finite."""
        finite = np.isfinite(self.losses)
        return None if finite.all() else np.concatenate(([0], np.cumsum(finite)))

    @cached_property
    def values(self) -> Floats:
        """The finite losses."""
        return self.losses if self._finite is None else self.losses[np.isfinite(self.losses)]

    @cached_property
    def bad(self) -> Counts | None:
        """[step + 1], how many losses in a row before each step were not finite; None where all are finite."""
        if self._finite is None:
            return None
        places = np.arange(1, len(self.losses) + 1)
        last = np.maximum.accumulate(np.where(np.isfinite(self.losses), places, 0))
        return np.concatenate(([0], places - last))

    def counts(self, steps: Counts) -> Counts:
        """How many finite losses came before each of these steps."""
        return steps if self._finite is None else self._finite[steps]

    def count(self, step: int) -> int:
        """How many finite losses came before a step."""
        return step if self._finite is None else int(self._finite[step])

    def between(self, start: int, stop: int) -> list[float]:
        """The finite losses of steps `start` up to `stop`."""
        found: list[float] = self.values[self.count(start) : self.count(stop)].tolist()
        return found
