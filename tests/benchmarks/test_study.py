"""The study plans, goes on where it was stopped, and says what its curves show; next to nothing is trained here."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from benchmarks import study
from benchmarks._schedules import TASKS, Schedule, Task, candidates, held, refusal, reported, uniform
from benchmarks._speed import RESULTS
from benchmarks._study import SEEDS, Kept, StudyCell, TaskProgress, train
from benchmarks._study_table import at_budget, ends_on, written
from plateau_rule import bind, require_sound
from plateau_rule.trials.budget import bounded
from plateau_rule.trials.curve import Curve

TASK = TASKS["operator"]
BEST = held(0, "decay")
TRAINER = '''
import numpy as np

from plateau_rule import Controller


def train(curriculum, budget, seed):
    """Follow a curriculum; the score falls with each step."""
    controller, step = Controller(curriculum), 0
    while (plan := controller.plan).stop is None:
        controller.observe(1 / (1 + step))
        step += 1
        if step % 20 == 0 or controller.plan.stop is not None:
            yield {"step": step, "score": 1 / step + seed, **controller.counted}
'''


def curve(task: Task, score: float, rung: int = 0) -> Curve:
    """A curve of four points that stays on a rung, and falls to a score."""
    steps = np.array([10.0, 20.0, 30.0, 40.0])
    return Curve(score + np.array([0.3, 0.2, 0.1, 0.0]), {"step": steps, "cost": steps * task.prices[rung]})


def fill(kept: Kept, task: Task, better: float = 0.0) -> TaskProgress:
    """Curves of all cells: rungs that are as good as their place, ladders as good as the best; trend `better`."""
    chance = np.random.default_rng(0)
    for cells in (TaskProgress(task, kept).choosing, lambda: TaskProgress(task, kept).cells(1)):
        for cell in cells():
            schedule = cell.schedule
            score = 1.0 + 0.1 * schedule.rungs[0] * (schedule.kind == "held") + 0.05 * (schedule.shape == "cosine")
            score -= better * (schedule.kind == "trend")
            kept.write(cell, curve(task, score + 0.02 * (cell.seed % 7) + 0.005 * chance.normal(), schedule.rungs[-1]))
    return TaskProgress(task, kept)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_schedule_is_sound_or_refused_with_a_reason(task: Task) -> None:
    """Names are unique; a row that `check` calls broken can never reach a state, and every other one can be trained.

    Triggers without restarts are left out: what the rate is at their raises is waived, and takes `check` a second each.
    """
    chosen = {kind: every[0] for kind, every in candidates(task).items()}
    rows = reported(task, chosen, None)
    every = [*rows, *(each for kind in candidates(task).values() for each in kind if each.number)]
    assert len({each.name for each in every}) == len(every)
    assert len(rows) == 22
    for row in rows:
        why = refusal(task, row, 1)
        if why is None and (row.restart or row.kind in ("held", "uniform", "fixed")):
            require_sound(bind(bounded(row.curriculum(task), task.budget(1), 5000), limits={task.knob: task.most}))
        assert why is None or "cannot be left within the run" in why


def test_a_dwell_is_a_share_of_the_budget() -> None:
    """The uniform ladder of three rungs raises when a third and two thirds of the cost are spent."""
    whole = bind(bounded(uniform(TASK).curriculum(TASK), TASK.budget(1)))
    assert [state.knobs["grid"] for state in whole.states] == [64, 256, 512]
    assert whole.run.cost == TASK.budget(1).amount == 392


def test_cells_are_known_in_order_and_choice_opens_the_rows(tmp_path: Path) -> None:
    """First only the choosing cells are known; when they are there, all rows are, and what is kept is not missing."""
    kept = Kept(tmp_path)
    first = TaskProgress(TASK, kept)
    assert first.chosen() is None
    assert first.cells(1) == []
    assert "36 of 36 cells are missing" in written([first])
    full = fill(kept, TASK)
    chosen = full.chosen()
    assert chosen is not None
    assert chosen["held"] == BEST
    assert all(full.curve(cell) is not None for cell in full.cells(1))
    assert all(full.curve(cell) is None for cell in full.cells(3))
    edited = TaskProgress(replace(TASK, peak=1e-3), kept)
    assert all(edited.curve(cell) is None for cell in edited.choosing())  # another rate, other cells


def test_a_planted_equal_ladder_beats_nothing(tmp_path: Path) -> None:
    """Where ladders differ from the best constant by chance alone, none is said to beat it, and the probe was right."""
    told = "\n".join(at_budget(fill(Kept(tmp_path), TASK), 1))
    assert "**No ladder beats the best constant setting.**" in told
    assert "advises `rung-1-decay`" in told
    assert ": right, where" in told


def test_a_planted_better_ladder_is_told(tmp_path: Path) -> None:
    """Canary: a lead of ten times the noise is called one, for the ladders that have it and no others."""
    told = "\n".join(at_budget(fill(Kept(tmp_path), TASK, better=0.1), 1))
    assert "Ladders that beat the best constant setting: trend-decay, trend-cosine" in told
    assert "Triggers beside the best fixed ladder: trend-" in told
    assert "is better than fixed-decay" in told
    assert ": wrong, where" in told  # of the probe, which cannot know


def test_missing_seeds_conclude_nothing(tmp_path: Path) -> None:
    """A table with a cell less says how many are missing, leaves the row out, and draws no conclusion."""
    kept = Kept(tmp_path)
    fill(kept, TASK)
    path = kept.path(TASK, 1)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    told = "\n".join(at_budget(TaskProgress(TASK, kept), 1))
    assert "**1 of 95 cells are missing.**" in told
    assert "Nothing is concluded" in told
    assert "beats" not in told


@pytest.mark.parametrize("rung", [0, 1, 2])
def test_where_a_training_ends_is_read_from_its_prices(rung: int) -> None:
    """The rung of the last steps is the one whose price they had."""
    assert ends_on(TASK, curve(TASK, 1.0, rung)) == rung + 1


def test_the_page_says_what_the_curves_say() -> None:
    """The second half of docs/study.md is what the kept curves give, letter by letter."""
    page = study.PAGE.read_text(encoding="utf-8")
    _, _, second = page.partition(study.MARK)
    assert second.lstrip("\n") == written(study.every_task(Kept(RESULTS / "study")))


def test_cells_are_trained_once_and_kept(tmp_path: Path) -> None:
    """Two cells leave two lines; a second call finds the curves in its folder, and they are the same."""
    (tmp_path / "mine.py").write_text(TRAINER)
    task = replace(TASK, trainer=f"{tmp_path}/mine.py:train", seconds=2.55)  # 100 steps on the last rung
    cells = [StudyCell(task, 1, 3, each) for each in (held(0, "decay"), uniform(task))]
    told: list[Schedule] = []
    kept = Kept(tmp_path / "kept")
    train(cells, kept, tmp_path / "runs", lambda cell, _: told.append(cell.schedule))
    assert told == [cell.schedule for cell in cells]
    now = TaskProgress(task, kept)
    alone, ladder = (now.curve(cell) for cell in cells)
    assert alone is not None
    assert ladder is not None
    assert (ends_on(task, alone), ends_on(task, ladder)) == (1, 3)
    assert all(99 <= each.spent["cost"][-1] <= 101 for each in (alone, ladder))
    assert all(a >= b for a, b in pairwise(ladder.score))
    before = kept.path(task, 1).read_text()
    train(cells, Kept(tmp_path / "again"), tmp_path / "runs", lambda cell, _: None)
    assert Kept(tmp_path / "again").path(task, 1).read_text() == before
    assert SEEDS == (0, 1, 2, 3, 4)
