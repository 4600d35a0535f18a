"""Where do ladders pay? `make study`: the cells and tables of docs/study.md, whose protocol was written before them.

Two tasks, budgets of 1× and 3×, five seeds; schedules are chosen on other seeds. Cells that are missing are trained one
after the other: of each task those that schedules are chosen by, then the reported ones at 1×, and then those at 3×,
seed by seed. Budgets are in steps by prices that were measured once, so that a busy machine changes no result. Stop it
when you like; it goes on from there. The curve of each cell is a line in benchmarks/results/study.

`--list` numbers the cells and says what is left, `--cell N` trains that one, `--table` writes the second half of
docs/study.md and prints it, `--prices` measures what steps take here, unless it was measured in the folder before.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import groupby
from pathlib import Path

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

from benchmarks._schedules import TASKS, Task
from benchmarks._speed import RESULTS, ROOT, write
from benchmarks._study import TIMES, Kept, StudyCell, TaskProgress, prepared_for, train
from benchmarks._study_table import written
from plateau_rule.trials.budget import TrainingBudget, changed
from plateau_rule.trials.curve import Curve
from plateau_rule.trials.prices import prepare
from plateau_rule.trials.trainer import Trainer

PAGE, MARK = ROOT / "docs" / "study.md", "<!-- python -P benchmarks/study.py --table writes what follows -->\n"


def parts(tasks: list[TaskProgress]) -> list[list[StudyCell]]:
    """All cells that are known, in the order in which they are trained."""
    found = [part for task in tasks for part in (task.choosing(), task.cells(TIMES[0]))]
    return found + [task.cells(times) for times in TIMES[1:] for task in tasks]


def every_task(kept: Kept) -> list[TaskProgress]:
    """What there is of each task."""
    return [TaskProgress(task, kept) for task in TASKS.values()]


def listed(kept: Kept) -> None:
    """Print all cells with their numbers, and what is left in processor time."""
    tasks = every_task(kept)
    known = {task.task.name: task for task in tasks}
    cells = [cell for part in parts(tasks) for cell in part]
    missing = [known[cell.task.name].curve(cell) is None for cell in cells]
    for number, (cell, left) in enumerate(zip(cells, missing, strict=True)):
        name, times, seed, schedule = cell.place
        print(f"{number:4d} {'missing' if left else 'done   '} {name} {times}× seed {seed} {schedule}")
    left_s = sum(cell.takes_s for cell, left in zip(cells, missing, strict=True) if left)
    print(f"left: {sum(missing)} of {len(cells)} cells, about {left_s / 3600:.1f} hours of processor time")
    for task in tasks:
        if task.chosen() is None:
            print(f"and those of {task.task.name} that are reported, once its schedules are chosen")


def told(cell: StudyCell, curve: Curve) -> None:
    """Say that a cell is finished."""
    name, times, seed, schedule = cell.place
    print(f"{name} {times}× seed {seed} {schedule}: {curve.last:.4f}", flush=True)


def carry_out(kept: Kept, folder: Path) -> None:
    """Train what is missing, part by part: what a part chooses is known to the next."""
    while True:
        tasks = every_task(kept)
        known = {task.task.name: task for task in tasks}
        missing = [[cell for cell in part if known[cell.task.name].curve(cell) is None] for part in parts(tasks)]
        left = next((part for part in missing if part), None)
        if left is None:
            return
        for _, cells in groupby(left, lambda cell: cell.seed):
            train(list(cells), kept, folder, told)


def one(number: int, kept: Kept, folder: Path) -> None:
    """Train one cell."""
    tasks = every_task(kept)
    cells = [cell for part in parts(tasks) for cell in part]
    if not 0 <= number < len(cells):
        sys.exit(f"--cell {number}: there are {len(cells)} cells now, from 0 on; --list numbers them")
    cell = cells[number]
    if next(task for task in tasks if task.task == cell.task).curve(cell) is None:
        train([cell], kept, folder, told)


def tell(kept: Kept, page: Path) -> None:
    """Write the second half of the page, and print it."""
    second = written(every_task(kept))
    first, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(f"{first}{mark}\n{second}", encoding="utf-8")
    print(second)


def measure(task: Task, folder: Path) -> dict[str, list[float]]:
    """Measure what steps take, and their prices."""
    ladder = prepared_for(task, 1, folder).curriculum
    unpriced = changed(ladder, knob={task.knob: changed(ladder.knob[task.knob], cost=None)})
    settings = [{task.knob: rung} for rung in task.ladder]
    (found,) = prepare(
        [(unpriced, settings)], TrainingBudget.read("1 s"), Trainer.read(task.trainer), folder / "prices"
    )
    step_s = () if found.prices is None else found.prices.step_s
    return {"step_ms": [round(1000 * each, 2) for each in step_s], "prices": [each / step_s[-1] for each in step_s]}


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="number the cells, and say what is left")
    parser.add_argument("--cell", type=int, help="train this one alone")
    parser.add_argument("--table", action="store_true", help="write and print the tables of what is there")
    parser.add_argument("--prices", action="store_true", help="measure what steps take here")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "study", help="where it is trained")
    given = parser.parse_args()
    os.chdir(ROOT)  # by which the trainers are named
    kept = Kept(RESULTS / "study")
    if given.list:
        listed(kept)
    elif given.prices:
        write(kept.folder / "prices.json", {name: measure(task, given.out) for name, task in TASKS.items()})
    elif given.cell is not None:
        one(given.cell, kept, given.out)
    else:
        if not given.table:
            carry_out(kept, given.out)
        tell(kept, PAGE)


if __name__ == "__main__":
    main()
