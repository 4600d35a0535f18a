"""A curve of any length, kept small: every point while they are few, else means, lows and highs of stretches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROOM = 20_000


@dataclass(frozen=True)
class Trace:
    """A curve: of each stretch of points the first step, how many losses are finite, their mean, lowest, highest."""

    step: NDArray[np.int64]
    count: NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats

    def between(self, start: int, stop: int | None) -> Trace:
        """The stretches that begin in steps `start` up to `stop`, without those in which no loss is finite."""
        inside = (self.step >= start) & (self.count > 0)
        if stop is not None:
            inside &= self.step < stop
        return Trace(self.step[inside], self.count[inside], self.mean[inside], self.low[inside], self.high[inside])

    def part(self, start: int, stop: int) -> Trace:
        """The stretches from place `start` up to `stop`."""
        here = slice(start, stop)
        return Trace(self.step[here], self.count[here], self.mean[here], self.low[here], self.high[here])

    @property
    def average(self) -> float:
        """The mean of all finite losses, NaN if there are none."""
        total = int(self.count.sum())
        return float((self.mean * self.count).sum() / total) if total else float("nan")


@dataclass
class Tracer:
    """Makes a Trace of points as they come.

    Args:
        points: the number of points that will come; it keeps the Trace to at most 20,000 stretches.
    """

    points: int
    _parts: list[Trace] = field(default_factory=list)
    _steps: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _losses: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def size(self) -> int:
        """Points in a stretch."""
        return -(-max(1, self.points) // ROOM)

    def add(self, steps: NDArray[np.int64], losses: Floats) -> None:
        """Take the next points."""
        if len(self._steps):
            steps, losses = np.concatenate((self._steps, steps)), np.concatenate((self._losses, losses))
        whole = len(steps) // self.size * self.size
        if whole:
            self._parts.append(_stretches(steps[:whole].reshape(-1, self.size), losses[:whole].reshape(-1, self.size)))
        self._steps, self._losses = steps[whole:].copy(), losses[whole:].copy()

    def trace(self) -> Trace:
        """The curve so far."""
        parts = list(self._parts)
        if len(self._steps):
            parts.append(_stretches(self._steps[None], self._losses[None]))
        if not parts:
            parts = [_stretches(np.empty((0, 1), dtype=np.int64), np.empty((0, 1)))]
        return Trace(*(np.concatenate([getattr(part, name) for part in parts]) for name in Trace.__dataclass_fields__))


def _stretches(steps: NDArray[np.int64], losses: Floats) -> Trace:
    finite = np.isfinite(losses)
    count = finite.sum(axis=1)
    if losses.shape[1] == 1:
        mean = np.where(finite, losses, np.nan)[:, 0]
        return Trace(steps[:, 0], count, mean, mean, mean)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Divided first: a sum of losses near the largest float would overflow.
        mean = np.where(finite, losses / np.maximum(1, count)[:, None], 0.0).sum(axis=1)
    mean = np.where(count > 0, mean, np.nan)
    low = np.where(finite, losses, np.inf).min(axis=1)
    high = np.where(finite, losses, -np.inf).max(axis=1)
    return Trace(steps[:, 0], count, mean, np.where(count > 0, low, np.nan), np.where(count > 0, high, np.nan))
