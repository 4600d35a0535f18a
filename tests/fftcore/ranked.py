"""Several ranks in children of a process that has torch loaded already, joined as torchrun joins them."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from math import isclose
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from plateau_rule.controller.errors import PlateauError
from plateau_rule.fftcore.learner import Learner
from tests.fftcore.micro import CURRICULUM, rows, run

LONGEST_S = 600

# Every request, and two forward passes in a step.
REQUESTS = CURRICULUM.replace(
    b'["lr_restart", "checkpoint"]', b'["lr_restart", "evaluate", "rollback", "reset_optimizer", "checkpoint"]'
)
SHAPE: dict[str, Any] = {"batch_size": 4, "accumulation": 2, "save_every": 5}


def ranked(ranks: int, work: Callable[[int], int], told: Path = Path(os.devnull)) -> list[int]:
    """Do some work on several ranks, and return their exit codes, or minus the signals that ended them.

    Args:
        ranks: how many.
        work: what to do, given the rank. What it raises for a user's mistake is exit code 2, all else is 99.
        told: the file that what they say goes to.
    """
    import_module("torch._dynamo")  # which DistributedDataParallel loads: seconds of it in each child
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=LONGEST_S), wait_for_workers=False)
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            _work(rank, {"RANK": rank, "WORLD_SIZE": ranks, "MASTER_PORT": store.port}, work, told)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _work(rank: int, place: dict[str, int], work: Callable[[int], int], told: Path) -> None:
    """Do the work of one rank, and end this process."""
    code = 99
    try:
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.setitimer(signal.ITIMER_REAL, LONGEST_S)  # whoever hangs is ended by SIGALRM
        # torchrun's own process holds the store, so that it outlives any rank.
        os.environ |= {name: str(value) for name, value in place.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        code = work(rank)
    except PlateauError as error:
        os.write(2, f"{error}\n".encode())
        code = 2
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


# Runs that can be shared between ranks


def train(out: Path, **changes: Any) -> int:
    """Carry out a run that can be shared between ranks, or go on with it."""
    overrides = {} if changes.get("resume") else {"overrides": SHAPE | changes.pop("overrides", {})}
    return run(out, **{"curriculum": REQUESTS} | changes, **overrides)


def differences(one: Path, other: Path) -> list[str]:
    """Say in what two runs differ, but for the rounding of sums."""
    told = []
    for name in ("decisions.jsonl", "metrics.jsonl"):
        here, there = rows(one / name), rows(other / name)
        if [row.keys() for row in here] != [row.keys() for row in there]:
            told.append(f"{name}: other rows")
        for mine, yours in zip(here, there, strict=False):
            told += [f"{name}: {key}" for key in mine if not alike(mine[key], yours.get(key))]
    return told


def alike(mine: Any, yours: Any) -> bool:
    """Whether two values of a log are the same, but for the rounding of sums; lines that explain are not compared."""
    if isinstance(mine, float) and isinstance(yours, float):
        return isclose(mine, yours, rel_tol=1e-5)
    return isinstance(mine, list) or bool(mine == yours)


def in_step(number: int, act: Callable[[Learner], None]) -> None:
    """From now on, do something before one step of this process."""
    step_of = Learner.step

    def step(self: Learner, at: int, lr: float) -> Tensor:
        if at == number:
            act(self)
        return step_of(self, at, lr)

    Learner.step = step  # type: ignore[assignment,method-assign]
