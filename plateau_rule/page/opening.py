"""What the page is to show: a run's folder or a log, and the curriculum it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.language.fingerprint import fingerprints
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.page.tail import Rows, Tail
from plateau_rule.sim.logs import Log
from plateau_rule.sim.replayer.setting import setting_of
from plateau_rule.sim.run_folder import METRICS, RECORD

BOUND = ("limits", "epochs", "steps_per_epoch", "tokens_per_step", "peak", "lag", "lead")


class PageError(PlateauError):
    """What cannot be shown on a page."""


@dataclass(frozen=True)
class Opened:
    """A run that the page can show.

    Attributes:
        origin: what to call it.
        text: the curriculum's file.
        file: the name of that file.
        binding: what the curriculum is bound to.
        first: what the log calls a run's first step.
        notes: what a reader should know about where all this comes from.
        rows: what was logged; of a folder that is followed, nothing yet.
        tail: follows a folder; None of a log.
    """

    origin: str
    text: str
    file: str
    binding: Binding
    first: int = 0
    notes: tuple[str, ...] = ()
    rows: Rows = field(default_factory=lambda: Rows(0))
    tail: Tail | None = None


def run_folder(named: str) -> Path | None:
    """The folder of a run, if that is what was named, by itself or by its log."""
    path = Path(named)
    folder = path.parent if path.name == METRICS else path
    return folder if (folder / RECORD).is_file() else None


def open_folder(folder: Path, curriculum: str | None, given: Binding) -> Opened:
    """The folder of a run, under its own curriculum or another one.

    Raises:
        PageError: its record cannot be read.
        CurriculumError: the curriculum cannot.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        own = Binding(**{name: record["bound"].get(name) for name in BOUND})
        text = str(record["curriculum"]["text"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PageError(
            f"{path}: the record of the run cannot be read ({type(error).__name__}: {error}). Name its log and a "
            f"curriculum instead: plateau page {folder / METRICS} CURRICULUM"
        ) from None
    file, notes = f"{folder.name}/curriculum.toml", []
    if curriculum is not None:
        content, file = contents(curriculum)
        other = content.decode("utf-8-sig", errors="replace")
        if _means(other, file) != _means(text, file):
            own = replace(own, peak=None, limits=_known(own.limits, loads(other, file).knob))
            notes.append(f"under {Path(file).name}, which is not the curriculum that the run was trained under")
        text = other
    said = {name: value for name, value in vars(given).items() if value is not None}
    return Opened(str(folder), text, Path(file).name, replace(own, **said), notes=tuple(notes), tail=Tail(folder))


def _means(text: str, file: str) -> str:
    return fingerprints(loads(text, file))[0]


def _known(limits: Mapping[str, Any] | None, knobs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The limits of knobs that a curriculum has, if each of its knobs has one."""
    found = {name: limit for name, limit in (limits or {}).items() if name in knobs}
    return found if found.keys() == knobs.keys() else None


def open_log(log: Log, named: str, curriculum: str, given: Binding) -> Opened:
    """A log of any trainer, under a curriculum.

    Raises:
        CurriculumError: the curriculum cannot be read.
        ReplayError: the log does not fit it.
    """
    content, file = contents(curriculum)
    text = content.decode("utf-8-sig", errors="replace")
    loaded = loads(text, file)
    setting = setting_of(loaded, log, given)
    points = log.points()
    steps = points.step - setting.first_step
    kept = steps >= 0
    losses = points.loss[kept]
    notes = [*setting.notes]
    binding = setting.binding
    if len(steps[kept]) and not np.array_equal(steps[kept], np.arange(len(losses))):
        notes.append("each logged loss counts as one step")
    rows = Rows(0, losses, _evaluations(log, setting.first_step, len(losses)), set(setting.withheld))
    return Opened(named, text, Path(file).name, binding, setting.first_step, tuple(notes), rows)


def open_nothing(curriculum: str, given: Binding) -> Opened:
    """A curriculum by itself: its machine, and what `plateau check` says of it.

    Raises:
        CurriculumError: the curriculum cannot be read.
    """
    content, file = contents(curriculum)
    return Opened(curriculum, content.decode("utf-8-sig", errors="replace"), Path(file).name, given)


def _evaluations(log: Log, first_step: int, count: int) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for name in log.report.evals:
        for step, value in zip(*(column.tolist() for column in log.evaluations(name)), strict=True):
            if 0 <= step - first_step < count:
                found.setdefault(step - first_step, {})[name] = value
    return found
