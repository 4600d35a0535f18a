"""What a run has logged, as the engine reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plateau_rule.sim.batch.along.base import Counts
from plateau_rule.sim.batch.history import Floats

Evaluations = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class LossLog:
    """The losses of a run, one for each step from step 0 on, and what came beside them.

    Attributes:
        losses: [step], NaN or infinite where a loss was.
        evaluations: what came with the observation of a step beside its loss, by step.
    """

    losses: Floats
    evaluations: Evaluations

    def __len__(self) -> int:
        return len(self.losses)

    @cached_property
    def special(self) -> list[int]:
        """The steps that brought more than a loss, rising."""
        return sorted(self.evaluations)

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
