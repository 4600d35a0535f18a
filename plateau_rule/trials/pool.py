"""Many cells, some at a time, each in a process of its own; what is finished is never trained again."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from plateau_rule.sim.shards import cores
from plateau_rule.trials.budget import TrialError
from plateau_rule.trials.cell import LOG, Cell, command_of, curve_of
from plateau_rule.trials.curve import Curve

Progress = Callable[[int, int | None], None]


def train_cells(
    cells: Sequence[Cell], folder: Path, workers: int | None = None, progress: Progress | None = None
) -> list[Curve]:
    """Train the cells that are not finished, and read the curves of all, in their order.

    Args:
        cells: to train; each has a folder below `folder`.
        folder: of the experiment.
        workers: processes at a time; one for each core where it is None. Each has one thread unless OMP_NUM_THREADS
            says more: how many there are may change a sum's last bit, and must not depend on how many cells are left.
        progress: is told how many are finished, of how many.

    Raises:
        TrialError: some failed; the others are trained.
    """
    folders = [cell.write(folder / "cells") for cell in cells]
    left = [each for each in dict.fromkeys(folders) if curve_of(each) is None]
    workers = max(1, min(workers or cores(), len(left)))
    done, failed = len(folders) - len(left), []
    if progress is not None:
        progress(done, len(folders))
    pool = ThreadPoolExecutor(workers)
    try:
        tasks = {pool.submit(_train, each): each for each in left}
        for task in as_completed(tasks):
            done += 1
            if task.result():
                failed.append(tasks[task])
            if progress is not None:
                progress(done, len(folders))
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise TrialError(_why(sorted(failed), len(folders)))
    return [curve for each in folders if (curve := curve_of(each)) is not None]


def _train(folder: Path) -> int:
    return logged(command_of(folder), folder / LOG)


def logged(words: Sequence[str], log: Path) -> int:
    """Run a command whose words go into a file; its exit code."""
    with log.open("wb") as out:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": "1", **os.environ},
            check=False,
        ).returncode


def _why(failed: Sequence[Path], cells: int) -> str:
    """What to say of cells that failed."""
    first = failed[0]
    lines = (first / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1] if lines else "no word of why"
    return (
        f"{len(failed)} of {cells} trainings failed; the first, {first.name}: {said}\n"
        f"All it printed: {first / LOG}. Alone, it is trained by: {shlex.join(command_of(first))}\n"
        "What is finished is kept: the same command goes on from there"
    )
