"""What tells a run to end: a signal, or a standard output that nobody reads any more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType, TracebackType
from typing import Self

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# What `timeout` and a terminal send twice within milliseconds is one request.
TWICE_S = 0.5
TWICE_RANKS_S = 5.0  # Slurm signals ranks and torchrun alike, and torchrun hands it on
SHOW_CURSOR = b"\x1b[?25h"


class Interruption(BaseException):
    """A signal that came while a run was finishing, when there was nothing to be saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Caught:
    """Remembers the first of SIGTERM, SIGINT, SIGHUP and SIGUSR1 instead of dying of it. A second one ends the process.

    The handlers only set `signal`. They wait for Python, which may be inside a long product in C. The second signal
    waits for nothing: a thread of its own sees it and ends the process as kill -9 would, but with an exit code and a
    sentence. What is ignored already, as SIGHUP is under nohup, stays ignored.

    Args:
        ranks: how many processes train the run.
        clock: seconds, ever more.
    """

    signal: int | None = None
    _at_once = False

    def __init__(self, ranks: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._twice_s, self._clock = TWICE_S if ranks == 1 else TWICE_RANKS_S, clock

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._note)
            for number in ENDING
            if signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._woke_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._watcher = Thread(target=self._watch, name="second signal", daemon=True)
        self._watcher.start()
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        if self._at_once:
            self._at_once = False  # once: whoever asks twice must not interrupt what answers the first
            raise Interruption(number)

    def _watch(self) -> None:
        """Read the number of each signal as it comes, until 0."""
        first_s: float | None = None
        while number := os.read(self._reader, 1)[0]:
            if number not in self._before:
                continue
            if first_s is None:
                first_s = self._clock()
            elif self._clock() - first_s >= self._twice_s:
                end_at_once(number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal end the block, by Interruption: all that took long is saved before."""
        self._at_once = True
        try:
            if self.signal is not None:
                raise Interruption(self.signal)
            yield
        finally:
            self._at_once = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woke_before)
        os.write(self._writer, bytes(1))
        self._watcher.join()
        os.close(self._reader)
        os.close(self._writer)


def end_at_once(number: int) -> None:
    """End this process, from any thread, without saving anything."""
    with suppress(OSError):
        if os.isatty(1):
            os.write(1, SHOW_CURSOR)  # which the live display has hidden
        os.write(2, b"told twice to end: ended at once, and saved no more. --resume goes on from the last checkpoint\n")
    os._exit(128 + number)
