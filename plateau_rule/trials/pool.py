"""Many cells, some at a time, each in a process of its own, here or by Ray; what is finished is never trained again."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plateau_rule.controller.errors import visible
from plateau_rule.sim.shards import Engine, cores, ray_cluster
from plateau_rule.trials.budget import TrialError
from plateau_rule.trials.byte_model import shares, thin
from plateau_rule.trials.cell import CURVE, LOG, RUN, Cell, command_of, curve_of, ending
from plateau_rule.trials.curve import Curve

Progress = Callable[[int, int | None], None]
FAILED = (1, 2)  # exit codes of a cell that has said why
LONGEST = 300  # of a line that is shown


def train_cells(
    cells: Sequence[Cell],
    folder: Path,
    workers: int | None = None,
    progress: Progress | None = None,
    share: bool = False,
    engine: Engine = "processes",
) -> list[Curve]:
    """Train the cells that are not finished, and read the curves of all, in their order.

    Args:
        cells: to train; each has a folder below `folder`.
        folder: of the experiment.
        workers: processes at a time; one for each core where it is None. Each has one thread unless OMP_NUM_THREADS
            says more: how many there are may change a sum's last bit, and must not depend on how many cells are left.
        progress: is told how many are finished, of how many.
        share: cells of one seed are trained one after the other, where other seeds keep the workers busy: the steps
            that they share are trained once.
        engine: what runs the processes: this machine, or Ray on all machines of a cluster, which must all have the
            folder where this one has it.

    Raises:
        TrialError: some failed; the others are trained.
        ImportError: Ray is not installed.
    """
    folders = [cell.write(folder / "cells") for cell in cells]
    chains = _chains(cells, folders, workers or cores(), share)
    workers = max(1, min(workers or cores(), len(chains)))
    done, failed = len(folders) - len({each for chain in chains for each in chain.left}), dict[Path, int]()
    if progress is not None:
        progress(done, len(folders))
    with (_by_ray if engine == "ray" else _by_processes)(workers) as begin:
        tasks = {begin(chain): chain for chain in chains}
        while tasks:
            for task in wait(tasks, return_when=FIRST_COMPLETED).done:
                chain = tasks.pop(task)
                done += 1
                if (code := task.result()) or not (chain.left[0] / CURVE).exists():
                    failed[chain.left[0]] = code
                if progress is not None:
                    progress(done, len(folders))
                if rest := chain.rest():
                    tasks[begin(rest)] = rest
    if failed:
        raise TrialError(_why(failed, len(folders)))
    return [curve for each in folders if (curve := curve_of(each)) is not None]


@dataclass(frozen=True)
class CellChain:
    """Cells that are trained one after the other.

    Attributes:
        left: not trained yet, at least one.
        beside: those trained before that they may share steps with; None where there is nothing to share.
    """

    left: tuple[Path, ...]
    beside: tuple[Path, ...] | None = None

    def rest(self) -> CellChain | None:
        """The chain when its first is trained; what was kept for sharing alone is removed behind the last."""
        if len(self.left) > 1:
            return CellChain(self.left[1:], (*(self.beside or ()), self.left[0]))
        for each in (*self.beside, self.left[0]) if self.beside is not None else ():
            thin(each / RUN)
        return None


def _chains(cells: Sequence[Cell], folders: Sequence[Path], workers: int, share: bool) -> list[CellChain]:
    """What is left to be trained: a chain for each seed, or for each cell."""
    known = dict(zip(folders, cells, strict=True))
    left = [each for each in known if curve_of(each) is None]
    shared: dict[int, list[Path]] = {}
    for each, cell in known.items():
        if share and cell.trainer.kind == "fftcore" and shares(cell):
            shared.setdefault(cell.seed, []).append(each)
    if len(shared) < workers:
        shared = {}
    chained = {each for chain in shared.values() for each in chain}
    chains = [CellChain((each,)) for each in left if each not in chained]
    for chain in shared.values():
        trained = tuple(each for each in chain if each not in left)
        if ours := tuple(each for each in chain if each in left):
            chains.append(CellChain(ours, trained))
    return chains


Begin = Callable[[CellChain], "Future[int]"]  # the training of a chain's first cell, when a worker is free


@contextmanager
def _by_processes(workers: int) -> Iterator[Begin]:
    pool = ThreadPoolExecutor(workers)
    try:
        yield lambda chain: pool.submit(_train, chain)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _by_ray(workers: int) -> Iterator[Begin]:
    with ray_cluster(workers) as ray:
        remote = ray.remote(_train_there)
        place, threads = str(Path.cwd()), os.environ.get("OMP_NUM_THREADS", "1")
        try:
            yield lambda chain: remote.remote(chain, place, threads).future()
        except ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()
            raise TrialError(
                f"Ray could not carry out a training: {why[-1] if why else type(error).__name__}\n"
                "What is finished is kept: the same command goes on from there"
            ) from None


def require_engine(engine: Engine) -> None:
    """Load what an engine needs: an ImportError here comes before anything is trained."""
    if engine == "ray":
        import ray  # noqa: F401  # to see that it is there


def _train_there(chain: CellChain, place: str, threads: str) -> int:
    """Train where Ray puts it; Ray sets the threads of its workers, and ours must be the same everywhere."""
    os.chdir(place)
    os.environ["OMP_NUM_THREADS"] = threads
    return _train(chain)


def _train(chain: CellChain) -> int:
    each = chain.left[0]
    return logged(command_of(each, chain.beside), each / LOG)


def logged(words: Sequence[str], log: Path) -> int:
    """Run a command whose words go behind what stands in a file; its exit code."""
    with log.open("ab") as out:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": "1", **os.environ},
            check=False,
        ).returncode


def _why(failed: Mapping[Path, int], cells: int) -> str:
    """What to say of cells that failed; each has the exit code of its process."""
    first = min(failed)
    said = _last_words(first / LOG, failed[first])
    return (
        f"{len(failed)} of {cells} trainings failed; the first, {first.name}: {said}\n"
        f"All it printed: {first / LOG}. Alone, it is trained by: {shlex.join(command_of(first))}\n"
        "What is finished is kept: the same command goes on from there"
    )


def _last_words(log: Path, code: int) -> str:
    """The last line that a process printed; and how it ended, where that line does not say it."""
    printed = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    lines = [visible(line)[:LONGEST] for line in printed[-2:]]
    if code not in FAILED:  # not by a word of ours
        return f"its process {ending(code)}, without a curve" + (f"; its last words: {lines[-1]}" if lines else "")
    if len(lines) > 1 and lines[-1].startswith(("the command ", "plateau train ")):  # what that said itself
        return f"{lines[0]} ({lines[1]})"
    return lines[-1] if lines else "no word of why"
