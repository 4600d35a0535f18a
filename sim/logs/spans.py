"""Stretches of points: of a run, of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plateau_rule.sim.logs.points import Points


@dataclass(slots=True)
class Span:
    """The ends of a stretch of points, in the order in which they stand in the log.

    points: how many there are; the first and last of them, None if there are none; epochs: those of the first and last
    that tell one.
    """

    points: int = 0
    first_step: int | None = None
    first_loss: float | None = None
    last_step: int | None = None
    last_loss: float | None = None
    epochs: tuple[float, float] | None = None

    def extend(self, points: Points) -> None:
        """Take in what follows."""
        if not len(points):
            return
        if not self.points:
            self.first_step, self.first_loss = int(points["step"][0]), float(points["loss"][0])
        self.points += len(points)
        self.last_step, self.last_loss = int(points["step"][-1]), float(points["loss"][-1])
        epochs = points["epoch"][np.isfinite(points["epoch"])]
        if len(epochs):
            self.epochs = self.epochs[0] if self.epochs else float(epochs[0]), float(epochs[-1])

    def __str__(self) -> str:
        return self.told()

    def told(self, in_epochs: bool = False) -> str:
        """The span in a few words, by its epochs if asked."""
        where = f"steps {self.first_step} to {self.last_step}"
        if in_epochs and self.epochs:
            where = f"epochs {self.epochs[0]:g} to {self.epochs[1]:g}"
        return f"{self.points:,} points, {where}, loss {self.first_loss:.6g} to {self.last_loss:.6g}"


@dataclass(frozen=True, slots=True)
class FilePoints:
    """What one file brought: its points are `start` up to `stop` of the log's, before these are sorted."""

    file: str
    counted: str
    start: int
    stop: int
