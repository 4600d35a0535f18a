"""Runs in processes of their own: one that is to be killed, or several that train together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from plateau_rule.fftcore.lookout import end_process
from tests.conftest import ROOT

WAIT_S = 300
"""For a run that takes some seconds; ranks that wait for each other for ever are ended then."""
TRIES = 3
TAKEN = ("EADDRINUSE", "address already in use", "Address already in use")


def in_processes(words: Sequence[str], ranks: int = 1) -> int:
    """Run Python with these words, in a process for each rank; the exit code of all: 0, or that of SIGKILL.

    The port by which the ranks meet is free when it is chosen; if another process takes it before they do, they are
    given another one.
    """
    codes, printed = _run(words, ranks)
    for _ in range(TRIES - 1):
        if 1 in codes and any(told in printed for told in TAKEN):
            codes, printed = _run(words, ranks)
    if codes in ({0}, {-signal.SIGKILL}):
        return codes.pop()
    raise AssertionError(f"exit codes {sorted(codes)}\n{printed}")


def _run(words: Sequence[str], ranks: int) -> tuple[set[int], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    started = []
    # Into a file: a pipe that nobody reads while another rank is waited for would stop its process.
    with tempfile.TemporaryFile() as output:
        for rank in map(str, range(ranks)):
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(ranks), **address} if ranks > 1 else {}
            started.append(
                subprocess.Popen(
                    [sys.executable, *words], cwd=ROOT, env=os.environ | told, stdout=output, stderr=subprocess.STDOUT
                )
            )
        late = False
        for process in started:
            try:
                process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                late = True
                break
        for process in started:
            process.kill()  # does nothing to one that has ended
            process.wait()
        output.seek(0)
        printed = output.read().decode(errors="replace")
    if late:
        raise AssertionError(f"not over after {WAIT_S} s\n{printed}")
    return {process.returncode for process in started}, printed


def end_rank() -> None:
    """End this process, whose work is done, before Python takes down what torch has left.

    A model that is wrapped for several ranks holds their group, and with it gloo's threads, in C++, whatever is
    destroyed or collected. They may abort a process as it ends (https://github.com/pytorch/pytorch/issues/190489).
    """
    end_process(0)
