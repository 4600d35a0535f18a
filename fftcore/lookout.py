"""Sees when the ranks of a run wait for one of them, and says for which."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

LONG_S = 10.0
LOOK_S = 1.0


def complain(line: str) -> None:
    """Say a line where errors are said: whichever rank waits says it."""
    print(line, file=sys.stderr, flush=True)


class Lookout:
    """A thread that wakes once a second, and leaves a note where its rank waits; whoever has left none is waited for.

    Args:
        store: where the notes are left.
        rank: of this process.
        size: how many ranks there are.
        say: says a line to the user; called in the thread.
    """

    def __init__(self, store: Store, rank: int, size: int, say: Callable[[str], None] = complain) -> None:
        self._store, self._rank, self._size, self._say = store, rank, size, say
        self._meetings, self._since_s = 0, 0.0
        self._said: tuple[int, str] | None = None
        self._over = Event()
        self._thread = Thread(target=self._look_often, name="lookout", daemon=True)
        self._thread.start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Take note that this rank waits for the others; each waits equally often."""
        self._meetings += 1
        self._since_s = monotonic()
        try:
            yield
        finally:
            waited_s, self._since_s = monotonic() - self._since_s, 0.0
            said, self._said = self._said, None
            if said is not None:
                self._say(f"{said[1]} came after {waited_s:.0f} s; the run goes on")

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _look_often(self) -> None:
        while not self._over.wait(LOOK_S):
            with suppress(RuntimeError):  # a store that is gone is told of by whoever needs it
                self._look()

    def _look(self) -> None:
        meeting, since_s = self._meetings, self._since_s
        if not since_s or monotonic() - since_s < LOOK_S:
            return
        self._store.set(f"plateau/waiting/{self._rank}", str(meeting))
        if monotonic() - since_s < LONG_S:
            return
        late = [rank for rank in range(self._size) if self._last_of(rank) < meeting]
        here = [rank for rank in range(self._size) if rank not in late]
        if not late or here[0] != self._rank or (self._said and self._said[0] == meeting):
            return
        who = ", ".join(f"rank {rank}" for rank in late)
        self._said = (meeting, who)
        self._say(f"{who}: {monotonic() - since_s:.0f} s behind the others, which wait: slow, stopped or out of reach")

    def _last_of(self, rank: int) -> int:
        """Return at which meeting a rank has last waited long; −1 if it never did."""
        key = f"plateau/waiting/{rank}"
        return int(self._store.get(key)) if self._store.check([key]) else -1
