"""A tracker that writes down what it is told."""

from __future__ import annotations

from collections.abc import Mapping

from plateau_rule.sim.trackers import Tracker


class FakeTracker(Tracker):
    """Writes down what it is told; `last` is what it holds already."""

    def __init__(self, last: int = -1) -> None:
        self.last = last
        self.points: list[tuple[int, Mapping[str, float]]] = []
        self.events: list[tuple[int, str, str]] = []
        self.flushed = self.closed = 0

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.points.append((step, dict(values)))

    def event(self, step: int, title: str, text: str) -> None:
        self.events.append((step, title, text))

    def flush(self) -> None:
        self.flushed = len(self.points)

    def close(self) -> None:
        self.closed += 1
