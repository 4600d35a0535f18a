"""What the page is to show: a run's folder or a log, and the curriculum it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.metrics import guarded
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.page.errors import PageError
from plateau_rule.page.record import read_record
from plateau_rule.page.tail import Floats, Rows, Tail
from plateau_rule.sim.logs import Log
from plateau_rule.sim.replayer.naming import evaluations_of
from plateau_rule.sim.replayer.setting import Setting, per_point, setting_of
from plateau_rule.sim.whatif.bound import bound
from plateau_rule.sim.whatif.log import LOGGED, PASSED

if TYPE_CHECKING:
    from plateau_rule.page.growing import GrowingLog

Metrics = dict[int, dict[str, float]]
UNBOUND_STEPS, MOST_SIMULATED = 5000, 200_000
MOST_STEPS = 50_000_000


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
        growing: reads a log again when it has grown; None of a folder.
        restate: what is to be done with the curriculum before it is bound, where a loss stands for several steps.
        simulated: how many losses are to be simulated, where none were logged; else None.
        edit: the curriculum's file, where it may be saved into.
    """

    origin: str
    text: str
    file: str
    binding: Binding
    first: int = 0
    notes: tuple[str, ...] = ()
    rows: Rows = field(default_factory=lambda: Rows(0))
    tail: Tail | None = None
    growing: GrowingLog | None = None
    restate: partial[Curriculum] | None = None
    simulated: int | None = None
    edit: Path | None = None


def open_folder(folder: Path, curriculum: str | None, given: Binding) -> Opened:
    """The folder of a run, under its own curriculum or another one.

    Raises:
        PageError: its record cannot be read.
        CurriculumError: the curriculum cannot.
    """
    said = read_record(folder, curriculum, given)
    return Opened(said.origin, said.text, said.file, said.binding, notes=said.notes, tail=Tail(folder))


def ours(setting: Setting, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """A log's steps as the controller counts them."""
    steps = steps - setting.first_step
    return (steps + 1) * (setting.steps_per_epoch or 1) - 1 if setting.stretched else steps


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
    report, notes = log.report, [*setting.notes]
    spacing = report.spacing * ((setting.steps_per_epoch or 1) if setting.stretched else 1)
    restate = None
    if spacing > 1 and report.counted != "row" and per_point(loaded, setting, spacing) is not loaded:
        restate = partial(per_point, setting=setting, spacing=spacing)
        notes.append(f"what guards measure by time, they measure in steps: one value stands for {spacing:,}")
    points = log.points()
    steps = ours(setting, points.step)
    kept = steps >= 0
    pairs, said = evaluations_of(loaded, log, guarded(loaded))
    metrics = _metrics(log, setting, pairs)
    rows = _rows(steps[kept], points.loss[kept], metrics, setting.withheld)
    first = 0 if setting.stretched else setting.first_step
    return Opened(named, text, Path(file).name, setting.binding, first, (*notes, *said), rows, restate=restate)


def _rows(steps: NDArray[np.int64], losses: Floats, metrics: Metrics, withheld: frozenset[int]) -> Rows:
    """Points as steps; the steps between them are marked as not logged."""
    last = max(int(steps[-1]) if len(steps) else -1, *metrics, -1)
    if last >= MOST_STEPS:
        raise PageError(
            f"the log goes up to step {last:,}, and a page holds {MOST_STEPS:,}. If it counts tokens, name the column "
            "of the steps with --step-column"
        )
    if len(steps) == last + 1:
        return Rows(0, losses, metrics, set(withheld))
    every, kinds = np.full(last + 1, np.nan), np.full(last + 1, PASSED, np.int8)
    every[steps], kinds[steps] = losses, LOGGED
    return Rows(0, every, metrics, set(withheld), kinds)


def _metrics(log: Log, setting: Setting, pairs: Sequence[tuple[str, str]]) -> Metrics:
    """What evaluations brought, by step, under the names that the curriculum's guards use."""
    found: Metrics = {}
    for metric, name in pairs:
        steps, values = log.evaluations(name)
        for step, value in zip(ours(setting, steps).tolist(), values.tolist(), strict=True):
            if step >= 0:
                found.setdefault(step, {})[metric] = value
    return found


def open_nothing(curriculum: str, given: Binding) -> Opened:
    """A curriculum by itself, over losses that are simulated.

    Raises:
        CurriculumError: the curriculum cannot be read.
    """
    content, file = contents(curriculum)
    text = content.decode("utf-8-sig", errors="replace")
    steps = bound(text, given, file).total_steps or UNBOUND_STEPS
    notes = ("no log was named: these losses are simulated, a power law with noise",)
    name = f"{Path(file).name}, simulated losses"
    return Opened(name, text, Path(file).name, given, notes=notes, simulated=min(steps, MOST_SIMULATED))
