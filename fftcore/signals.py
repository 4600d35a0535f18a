"""What tells a run to end: a signal, or a standard output that nobody reads any more."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interruption(BaseException):
    """A signal that came while a run was finishing, when there was nothing to be saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Caught:
    """Remembers SIGTERM, SIGINT and SIGHUP instead of dying of them; the handlers only set `signal`.

    What is ignored already, as SIGHUP is under nohup, stays ignored.
    """

    signal: int | None = None
    _at_once = False

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._note)
            for number in ENDING
            if signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        if self._at_once:
            self._at_once = False  # once: whoever asks twice must not interrupt what answers the first
            raise Interruption(number)

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
