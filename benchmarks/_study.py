"""The cells of benchmarks/study.py: which there are, where curves are kept, what was chosen, how one is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks._schedules import Schedule, Task, candidates, dwells, held, refusal, reported
from plateau_rule import loads
from plateau_rule.controller.language.canonical import digest
from plateau_rule.controller.language.writing import dumps
from plateau_rule.trials.cell import Cell, curve_of
from plateau_rule.trials.curve import Curve
from plateau_rule.trials.pool import train_cells
from plateau_rule.trials.prices import Prepared, prepare
from plateau_rule.trials.probe import find_crossings
from plateau_rule.trials.trainer import Trainer

SEEDS, CHOOSING = (0, 1, 2, 3, 4), (100, 101)  # reported; and those on which schedules are chosen
TIMES = (1, 3)  # budgets
AXES = ("step", "cost")
OVERHEAD_S = 9.0  # of a training, about: to start, and to score


class StudyCell(NamedTuple):
    """One training."""

    task: Task
    times: int
    seed: int
    schedule: Schedule

    @property
    def place(self) -> tuple[str, int, int, str]:
        """What it is known by."""
        return self.task.name, self.times, self.seed, self.schedule.name

    @property
    def digest(self) -> str:
        """Of all that it is: a curve that another schedule or trainer left is not taken for its own."""
        return _digest(self.schedule.text(self.task), self.task.trainer, str(self.task.budget(self.times)))

    @property
    def takes_s(self) -> float:
        """Processor time, about."""
        return self.times * self.task.seconds + OVERHEAD_S


@cache
def _digest(text: str, trainer: str, budget: str) -> str:
    return digest({"trainer": trainer, "budget": budget, "curriculum": dumps(loads(text))})[:12]


@dataclass(frozen=True)
class Kept:
    """The curves of finished cells, a line of JSON each, in a file for each task and budget.

    Attributes:
        folder: of the files.
    """

    folder: Path

    def path(self, task: Task, times: int) -> Path:
        """The file of a task and a budget."""
        return self.folder / f"{task.name}-{times}x.jsonl"

    def write(self, cell: StudyCell, curve: Curve) -> None:
        """Add a finished cell."""
        axes = {axis: [round(float(each), 4) for each in curve.spent[axis]] for axis in AXES}
        said = {"schedule": cell.schedule.name, "seed": cell.seed, "cell": cell.digest}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path(cell.task, cell.times).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**said, **axes, "score": [round(float(each), 6) for each in curve.score]}) + "\n")

    def read(self, task: Task) -> dict[tuple[str, int, int, str], tuple[str, Curve]]:
        """The cells of a task that are finished, with their digests."""
        found = {}
        for times in TIMES:
            path = self.path(task, times)
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                row: dict[str, Any] = json.loads(line)
                curve = Curve(np.array(row["score"]), {axis: np.array(row[axis]) for axis in AXES})
                found[task.name, times, int(row["seed"]), str(row["schedule"])] = str(row["cell"]), curve
        return found


class TaskProgress:
    """What there is of a task, and what is left."""

    def __init__(self, task: Task, kept: Kept) -> None:
        self.task, self.kept = task, kept
        self._found = kept.read(task)

    def curve(self, cell: StudyCell) -> Curve | None:
        """The curve of a cell; None where it isn't finished."""
        known, curve = self._found.get(cell.place, ("", None))
        return curve if known == cell.digest else None

    def curves(self, schedule: Schedule, times: int, seeds: Iterable[int] = SEEDS) -> tuple[Curve, ...]:
        """Those of a schedule that are finished, in the order of the seeds."""
        every = (self.curve(StudyCell(self.task, times, seed, schedule)) for seed in seeds)
        return tuple(curve for curve in every if curve is not None)

    def choosing(self) -> list[StudyCell]:
        """The cells that schedules are chosen by, at 1×; where there is no choice, none."""
        every = [each for kind in candidates(self.task).values() if len(kind) > 1 for each in kind]
        return [StudyCell(self.task, 1, seed, each) for seed in CHOOSING for each in self._sound(every, 1)]

    def chosen(self) -> dict[str, Schedule] | None:
        """The best candidate of each kind by its mean over the seeds; None where a cell is missing."""
        if any(self.curve(cell) is None for cell in self.choosing()):
            return None
        return {
            kind: min(sound, key=self._mean) if len(sound := self._sound(each, 1)) > 1 else each[0]
            for kind, each in candidates(self.task).items()
        }

    def _mean(self, schedule: Schedule) -> float:
        return float(np.mean([curve.last for curve in self.curves(schedule, 1, CHOOSING)]))

    def advice(self) -> Schedule | None:
        """What `plateau probe` advises by the constants of the choosing seeds: one of them, or a ladder."""
        if self.chosen() is None:
            return None
        rungs = [self.curves(held(rung, "decay"), 1, CHOOSING) for rung in range(len(self.task.ladder))]
        start, crossings = find_crossings(rungs, "cost")
        if not crossings:
            return held(start, "decay")
        begins = [0.0, *(crossing.begin for crossing in crossings)]
        whole = float(self.task.budget(1).amount)
        shares = [(b - a) / whole for a, b in pairwise(begins)]
        return Schedule("probed", (start, *(crossing.rung for crossing in crossings)), tuple(dwells(shares)))

    def rows(self) -> list[Schedule]:
        """The rows of the tables, once schedules are chosen."""
        chosen, advice = self.chosen(), self.advice()
        probed = advice if advice is not None and advice.kind == "probed" else None
        return [] if chosen is None else reported(self.task, chosen, probed)

    def cells(self, times: int) -> list[StudyCell]:
        """The reported cells of a budget."""
        sound = self._sound(self.rows(), times)
        return [StudyCell(self.task, times, seed, each) for seed in SEEDS for each in sound]

    def _sound(self, schedules: Sequence[Schedule], times: int) -> list[Schedule]:
        return [each for each in schedules if refusal(self.task, each, times) is None]


def train(cells: Sequence[StudyCell], kept: Kept, folder: Path, told: Callable[[StudyCell, Curve], None]) -> None:
    """Train cells of one task, budget and seed, which share the steps that they have in common; keep each at once.

    Args:
        cells: that are missing.
        kept: where their curves go.
        folder: for the trainings.
        told: is called with each that is finished.
    """
    task, times = cells[0].task, cells[0].times
    out = folder / f"{task.name}-{times}x"
    trainer, prepared = Trainer.read(task.trainer), prepared_for(task, times, out)
    known = [
        Cell(prepared.bounded(cell.schedule.curriculum(task)), trainer, cell.seed, prepared.spends, prepared.step_s)
        for cell in cells
    ]
    left = list(zip(cells, known, strict=True))

    def keep(done: int, of: int | None) -> None:
        for cell, each in tuple(left):
            if (curve := curve_of(out / "cells" / each.name)) is not None:
                left.remove((cell, each))
                kept.write(cell, curve)
                told(cell, curve)

    train_cells(known, out, 1, keep, share=True)


def prepared_for(task: Task, times: int, folder: Path) -> Prepared:
    """What a budget of a task is counted by."""
    rungs = range(len(task.ladder))
    ladder = Schedule("uniform", tuple(rungs), tuple(dwells([1 / len(task.ladder)] * task.top)))
    settings: list[Mapping[str, Any]] = [{task.knob: rung} for rung in task.ladder]
    (found,) = prepare([(ladder.curriculum(task), settings)], task.budget(times), Trainer.read(task.trainer), folder)
    return found
