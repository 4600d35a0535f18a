"""Several ranks in children of a process that has torch loaded already, joined as torchrun joins them."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from plateau_rule.controller.errors import PlateauError

LONGEST_S = 300


def ranked(ranks: int, work: Callable[[int], int], told: Path = Path(os.devnull)) -> list[int]:
    """Do some work on several ranks, and return their exit codes, or minus the signals that ended them.

    Args:
        ranks: how many.
        work: what to do, given the rank. What it raises for a user's mistake is exit code 2, all else is 99.
        told: the file that what they say goes to.
    """
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
