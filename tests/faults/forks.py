"""Work in a child of a process that has torch loaded already: a run takes a second, and its end harms nobody."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

LONGEST_S = 600  # by the wall, and the machine may have other work to do: only a child that hangs takes so long


def temporary() -> TemporaryDirectory[str]:
    """Make a folder for runs, in memory where it can be: what a killed process wrote is there all the same."""
    memory = Path("/dev/shm")
    return TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None, prefix="plateau-faults-")


def forked(work: Callable[[], int], told: Path = Path(os.devnull)) -> int:
    """Do some work in a child, and return its exit code, or minus the signal that ended it.

    Args:
        work: what to do. An exception is exit code 99, and its traceback is told.
        told: the file that what it says goes to.
    """
    child = os.fork()
    if child == 0:
        code = 99
        try:
            output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(output, 1)
            os.dup2(output, 2)
            signal.setitimer(signal.ITIMER_REAL, LONGEST_S)  # whoever hangs is ended by SIGALRM
            code = work()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
