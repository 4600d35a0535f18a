"""Trackio: a SQLite file of its project, in the folder that TRACKIO_DIR names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import trackio
from trackio.sqlite_storage import SQLiteStorage

from plateau_rule.sim.trackers.tracker import Tracker


class TrackioTracker(Tracker):
    """Metrics, and decisions as alerts.

    Args:
        run: as `trackio.init` gave it.
        last: the last step that it holds.
    """

    def __init__(self, run: Any, last: int) -> None:
        self._run, self.last = run, last

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """As a row of metrics; another thread writes it within half a second."""
        self._run.log(dict(values), step=step)

    def event(self, step: int, title: str, text: str) -> None:
        """As an alert of the level INFO."""
        with redirect_stdout(StringIO()):  # it would be printed between the trainer's lines, which tell it already
            self._run.alert(title, text, level=trackio.AlertLevel.INFO, step=step)

    def flush(self) -> None:
        """Nothing can be done here: what waits is written within half a second."""

    def close(self) -> None:
        """Wait for what is not written yet."""
        with redirect_stdout(StringIO()):
            self._run.finish()


def open_tracker(place: str, name: str, step: int) -> TrackioTracker:
    """A new run, or, where it goes on, the newest one of this name in the project."""
    there = step and name in SQLiteStorage.get_runs(place)
    with redirect_stdout(StringIO()):
        run = trackio.init(
            place, name=name, resume="must" if there else "never", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
    last = SQLiteStorage.get_last_step(place, run=name, run_id=run.id) if there else None
    return TrackioTracker(run, -1 if last is None else last)
