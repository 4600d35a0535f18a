"""A log that has been read: its points, in order of their steps, and what is known about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.logs.gather import Change, Gathered
from plateau_rule.sim.logs.points import BATCH, Chunk, Points, Spool
from plateau_rule.sim.logs.report import LogReport


class Log:
    """Logged losses, one a step, in order of their steps.

    Get one from `read`. Its points lie in memory while they are few and in a temporary file beyond that; `chunks` may
    be called as often as needed.

    report: what the log turned out to be. changes: in a log of our own trainer, where it entered a state. skipped: in
    such a log, the steps whose update was dropped because a gradient overflowed.
    """

    def __init__(self, points: Spool, evals: Mapping[str, Spool], gathered: Gathered, report: LogReport) -> None:
        self.report = report
        self.changes: tuple[Change, ...] = tuple(gathered.changes)
        self.skipped: tuple[int, ...] = tuple(gathered.skipped)
        self._points = points
        self._evals = dict(evals)
        self._has_epoch = gathered.has_epoch
        self._has_lr = gathered.has_lr

    def __len__(self) -> int:
        return self._points.count

    def chunks(self, size: int = BATCH) -> Iterator[Chunk]:
        """The points, at most `size` at a time."""
        return (self._chunk(points) for points in self._points.parts(size))

    def points(self) -> Chunk:
        """All points at once; 32 bytes each."""
        return self._chunk(self._points.part(0, self._points.count))

    def evaluations(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and values of a metric of evaluations, one a step.

        Args:
            name: a key of `report.evals`.

        Raises:
            KeyError: the log has no such metric.
        """
        points = self._evals[name].part(0, self._evals[name].count)
        return points["step"], points["loss"]

    def _chunk(self, points: Points) -> Chunk:
        return Chunk(
            np.ascontiguousarray(points["step"]),
            np.ascontiguousarray(points["loss"]),
            np.ascontiguousarray(points["epoch"]) if self._has_epoch else None,
            np.ascontiguousarray(points["lr"]) if self._has_lr else None,
        )
