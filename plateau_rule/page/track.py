"""The value of a guard over a run, for its lane under the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from plateau_rule.controller.guards.reading import DETECTOR, Reading
from plateau_rule.controller.readings import Way
from plateau_rule.controller.step import readings
from plateau_rule.sim.whatif.player import LogPlayer
from plateau_rule.sim.whatif.session import Session

SAMPLES = 400  # over a run whose length is known; twice as many in one that is not, before every second is dropped


class Point(NamedTuple):
    """What the guards said when a step was about to be taken."""

    step: int
    ways: tuple[Way, ...]
    closes: bool  # an epoch closed with the step before


class GuardTrack:
    """Goes along a run once more, and stops now and then to read the guards.

    Args:
        session: the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._points: list[Point] = []
        self._player = LogPlayer(session.machine)
        self._stride = max(1, (session.machine.total_steps or 1) // SAMPLES)

    def cut(self, step: int) -> None:
        """Begin anew if the run was cut back to a step that was read already."""
        if step < self._player.run.step:
            self._points, self._player = [], LogPlayer(self._session.machine)

    def points(self) -> Sequence[Point]:
        """What the guards said along the run so far."""
        log, count, per_epoch = self._session.log, len(self._session), self._session.machine.steps_per_epoch
        while self._player.run.step < count and self._player.ended is None:
            run = self._player.run
            at = run.step + self._stride - run.step % self._stride
            if per_epoch is not None and per_epoch >= self._stride:
                at = min(at, run.step + per_epoch - run.step % per_epoch)
            if at > count:
                break
            before = len(self._player.decisions)
            self._player.play(log, at)
            closes = per_epoch is not None and run.step % per_epoch == 0
            taken = self._player.decisions[before:]
            # Of a look that took a transition, what that look saw: the state after it has seen nothing yet.
            ways = taken[-1].readings if taken and taken[-1].step == run.step else readings(run)
            self._points.append(Point(run.step, tuple(ways), closes))
        if len(self._points) > 4 * SAMPLES:
            self._stride *= 2
            self._points = [one for one in self._points if one.step % self._stride == 0 or one.closes][: 8 * SAMPLES]
        return self._points

    def lane(self) -> dict[str, Any] | None:
        """The first detector that the run meets, over time; None where no guard is one."""
        points = self.points()
        title = next((one.title for point in points for way in point.ways for one in detectors(way)), None)
        if title is None:
            return None
        found: list[list[Any]] = []
        looks: list[list[Any]] = []
        kept: Reading | None = None
        for point in points:
            way, reading = next(
                ((way, one) for way in point.ways for one in detectors(way) if one.title == title), (None, None)
            )
            if way is None or reading is None:
                found.append([point.step, None, None, None, None])
                continue
            kept = reading if kept is None or kept.value is None else kept
            found.append([point.step, reading.value, reading.low, reading.high, reading.verdict])
            if way.at == "epoch" and point.closes and reading.value is not None:
                looks.append([point.step, reading.value, reading.verdict])
        assert kept is not None
        return {"title": title, "unit": kept.unit, "holds": list(kept.holds), "points": found, "looks": looks}


def detectors(way: Way) -> Iterator[Reading]:
    """The detectors among the guards of a way, however deep."""
    pending = list(way.parts)
    while pending:
        reading = pending.pop(0)
        if reading.kind == DETECTOR:
            yield reading
        pending[:0] = reading.parts
