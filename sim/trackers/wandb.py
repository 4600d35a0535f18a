"""Weights & Biases: offline unless WANDB_MODE says otherwise; `wandb sync` sends it later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from plateau_rule.sim.trackers.tracker import Tracker

NOTE = "plateau.json"  # beside the run's own file: which run it is, and the last step that it was given


class WandbTracker(Tracker):
    """History, and decisions as alerts.

    Args:
        run: as `wandb.init` gave it.
        said: project, name and id of the run.
        last: the last step that it holds.
    """

    def __init__(self, run: Any, said: Mapping[str, str], last: int) -> None:
        self._run, self._said, self.last = run, said, last
        self._note = Path(run.dir).parent / NOTE
        self._write_note(last)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """As a row of the history."""
        self._run.log(dict(values), step=step, commit=True)
        self._write_note(step)

    def event(self, step: int, title: str, text: str) -> None:
        """As an alert of the level INFO."""
        self._run.alert(title=title, text=text, level=wandb.AlertLevel.INFO, wait_duration=0)

    def flush(self) -> None:
        """Nothing waits here: another process has it already."""

    def close(self) -> None:
        """Finish the process's part of the run."""
        self._run.finish()

    def _write_note(self, last: int) -> None:
        beside = self._note.with_suffix(".unfinished")
        beside.write_text(json.dumps({**self._said, "last": last}))
        beside.replace(self._note)


def open_tracker(place: str, name: str, step: int) -> WandbTracker:
    """A new run, or, where it goes on, the newest one of this project and name in this folder, by its id."""
    folder = Path(os.environ.get("WANDB_DIR", "."))
    found = _newest(folder, place, name) if step else None
    run = wandb.init(
        project=place,
        name=name,
        id=None if found is None else found["id"],
        resume=None if found is None else "allow",
        dir=str(folder),
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=wandb.Settings(console="off", silent=True),
        reinit="create_new",
    )
    said = {"project": place, "name": name, "id": run.id}
    return WandbTracker(run, said, -1 if found is None else int(found["last"]))


def _newest(folder: Path, project: str, name: str) -> dict[str, Any] | None:
    """What the newest note says that fits."""
    for path in sorted(folder.glob(f"wandb/*run-*/{NOTE}"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            said: dict[str, Any] = json.loads(path.read_text())
        except ValueError:
            continue  # of no run of ours
        if (said.get("project"), said.get("name")) == (project, name):
            return said
    return None
