"""Kills micro runs and resumes them: `python -m tests.faults.killing FOLDER`, in a process that forks for each run.

Prints one line of JSON: how many calls an uninterrupted run makes, and for each kill what became of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

import plateau_rule.fftcore.finish
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.storage import Disk
from tests.faults.disks import CountedDisk, KillingDisk
from tests.fftcore.micro import run

COMPARED = ("metrics.jsonl", "decisions.jsonl", "summary.json", "checkpoints/step-00000032/weights.safetensors")


def forked(work: Callable[[], int]) -> int:
    """Do some work in a child, silently, and return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def resumed(out: Path) -> int:
    """Go on with a run; begin it anew if it was killed before there was one."""
    try:
        return run(out, resume=True)
    except RunError:
        return run(out)


def killed_in_step(number: int) -> None:
    """From now on, kill this process in the middle of an optimizer step: after its gradients, before its update."""
    step_of = Learner.step

    def step(self: Learner, step: int, lr: float) -> Tensor:
        if step == number:
            torch.optim.AdamW.step = lambda *given: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        return step_of(self, step, lr)

    Learner.step = step  # type: ignore[method-assign]


def main(folder: Path) -> None:
    """Run once without and many times with kills, each resumed until it is whole."""
    plateau_rule.fftcore.finish.draw_run = lambda *given: Path()  # type: ignore[attr-defined]
    whole = folder / "whole"
    counted = CountedDisk()
    assert run(whole, disk=counted) == 0
    expected = {name: (whole / name).read_bytes() for name in COMPARED}
    number = count()
    found = []

    def tried(what: str, work: Callable[[Path], int]) -> None:
        out = folder / f"killed-{next(number)}" / "run"
        out.parent.mkdir()
        status = forked(lambda: work(out))
        again = forked(lambda: resumed(out))
        same = again == 0 and all((out / name).read_bytes() == content for name, content in expected.items())
        found.append({"what": what, "status": status, "resumed": again, "same": same})

    def by_disk(disk: Disk) -> Callable[[Path], int]:
        return lambda out: run(out, disk=disk)

    def in_step(at: int) -> Callable[[Path], int]:
        def work(out: Path) -> int:
            killed_in_step(at)
            return run(out)

        return work

    for at in range(1, counted.calls, 23):
        tried(f"before call {at}", by_disk(KillingDisk(at, torn=False)))
    for at in range(11, counted.calls, 41):
        tried(f"in call {at}", by_disk(KillingDisk(at, torn=True)))
    for at in (0, 4, 5, 16, 23, 31):
        tried(f"in step {at}", in_step(at))
    print(json.dumps({"calls": counted.calls, "kills": found}), file=sys.stderr)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
