"""Sees whether the ranks of a run are alive, says for which the others wait, and ends a wait that has no end."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

LONG_S = 10.0  # until it is said that the others wait
SILENT_S = 120.0  # until a rank whose pulse has stopped counts as gone
LEAVE_S = 30.0  # in which a rank that waits should see by itself that another is gone
LOOK_S = 1.0
WORKS = -1  # in the place of the number of a meeting: that of a rank that does not wait
LOST = "plateau/lost"
GO_ON = "The checkpoints are as they were: go on with --resume, on as many ranks as there are then"

NO_STORE = f"rank 0, or torchrun where it runs, does not answer any more. The run ends here. {GO_ON}"


def complain(line: str) -> None:
    """Say a line where errors are said: whichever rank waits says it."""
    print(line, file=sys.stderr, flush=True)


def end_process(code: int = 2) -> None:
    """End this process, from any thread, though others of its threads wait for a rank that never comes."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def named(ranks: Sequence[int]) -> str:
    """Name some ranks: "rank 2", "ranks 1 and 3"."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"


def gone(ranks: Sequence[int]) -> str:
    """Say that some ranks are gone."""
    who, verb = named(ranks), "does" if len(ranks) == 1 else "do"
    return f"{who} {verb} not answer any more: killed, stopped, or out of reach. The run ends here. {GO_ON}"


class Lookout:
    """A thread that wakes once a second: it counts a pulse, by which the others see that its process is alive.

    While its rank waits there is a note, and who waits is not waited for, unless it died there: when a rank dies, some
    of the others wait in the meeting that it was in, and some in the next. If one of the ranks is known to be
    gone, and the main thread waits on all the same, it ends the process: what the ranks are joined by sees that a rank
    is gone by a connection that breaks, and those who have none to it wait for each other.

    Args:
        store: where notes and pulses are left.
        rank: of this process.
        size: how many ranks there are.
        say: says a line to the user; called in the thread.
        end: ends the process; called in the thread.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        say: Callable[[str], None] = complain,
        end: Callable[[], None] = end_process,
    ) -> None:
        self._store, self._rank, self._size, self._say, self._end = store, rank, size, say, end
        self._meetings, self._since_s, self._quiet = 0, 0.0, False
        self._said: tuple[int, str] | None = None
        self._pulses: dict[int, tuple[int, float]] = {}
        self._noted = WORKS
        self._lost_s, self._alone_s = 0.0, 0.0
        self._over = Event()
        self._thread = Thread(target=self._look_often, name="lookout", daemon=True)
        self._thread.start()

    @contextmanager
    def waiting(self, quiet: bool = False) -> Iterator[None]:
        """Take note that this rank waits for the others; each waits equally often.

        Args:
            quiet: say nothing if it takes long: one of them has work to do that the others have not.
        """
        self._meetings += 1
        self._quiet, self._since_s = quiet, monotonic()
        try:
            yield
        finally:
            waited_s, self._since_s = monotonic() - self._since_s, 0.0
            said, self._said = self._said, None
            if said is not None:
                self._say(f"{said[1]} came after {waited_s:.0f} s; the run goes on")

    def close(self) -> None:
        """End the thread; one that waits for a store that is gone is left to itself."""
        self._over.set()
        self._thread.join(LEAVE_S)

    def pulses(self) -> dict[int, int]:
        """Return how often each rank has counted; 0 if it never did."""
        keys = [f"plateau/pulse/{rank}" for rank in range(self._size)]
        return {rank: int(self._store.get(key)) if self._store.check([key]) else 0 for rank, key in enumerate(keys)}

    def _look_often(self) -> None:
        while True:
            try:
                self._store.add(f"plateau/pulse/{self._rank}", 1)
                self._look()
                self._alone_s = 0.0
            except RuntimeError:
                self._leave_if_alone()
            if self._over.wait(LOOK_S):
                return

    def _look(self) -> None:
        meeting, since_s = self._meetings, self._since_s
        waited_s = monotonic() - since_s
        if not since_s or waited_s < LOOK_S:
            self._lost_s, self._pulses = 0.0, {}
            self._note(WORKS)
            return
        self._note(meeting)
        self._leave_if_lost()
        silences_s = self._silences_s()
        if waited_s < LONG_S:
            return
        if silent := [rank for rank, silence_s in silences_s.items() if silence_s >= SILENT_S]:
            self._store.compare_set(LOST, "", gone(silent))
        still = {rank for rank, silence_s in silences_s.items() if silence_s >= LONG_S / 2}
        late = [
            rank
            for rank, waits_in in ((rank, self._waits_in(rank)) for rank in range(self._size))
            if waits_in == WORKS or (waits_in < meeting and rank in still)
        ]
        here = [rank for rank in range(self._size) if rank not in late]
        if self._quiet or not late or here[0] != self._rank or (self._said and self._said[0] == meeting):
            return
        who = ", ".join(f"rank {rank}" for rank in late)
        self._said = (meeting, who)
        self._say(f"{who}: {waited_s:.0f} s behind the others, which wait: slow, stopped or out of reach")

    def _note(self, waits_in: int) -> None:
        if waits_in != self._noted:
            self._store.set(f"plateau/waiting/{self._rank}", str(waits_in))
            self._noted = waits_in

    def _leave_if_lost(self) -> None:
        """End the process if it has waited on for long, though a rank is known to be gone."""
        if not self._store.check([LOST]):
            return
        self._lost_s = self._lost_s or monotonic()
        if monotonic() - self._lost_s < LEAVE_S:
            return
        sentence = self._store.get(LOST).decode()
        if speaks_first(self._store, sentence):
            self._say(sentence)
        self._end()

    def _leave_if_alone(self) -> None:
        """End the process if it waits, and the store has not answered for long."""
        self._alone_s = self._alone_s or monotonic()
        if self._since_s and monotonic() - self._alone_s >= LEAVE_S:
            self._say(NO_STORE)
            self._end()

    def _silences_s(self) -> dict[int, float]:
        """Return for how long each rank's pulse has stood still, in seconds, as far as it was looked at."""
        now = monotonic()
        for rank, pulse in self.pulses().items():
            if rank not in self._pulses or self._pulses[rank][0] != pulse:
                self._pulses[rank] = pulse, now
        return {rank: now - since_s for rank, (_, since_s) in self._pulses.items()}

    def _waits_in(self, rank: int) -> int:
        """Return the number of the meeting in which a rank waits, by its note."""
        key = f"plateau/waiting/{rank}"
        return int(self._store.get(key)) if self._store.check([key]) else WORKS


def speaks_first(store: Store, sentence: str) -> bool:
    """Whether no other rank has said this sentence."""
    return int(store.add(f"plateau/said/{hashlib.sha256(sentence.encode()).hexdigest()}", 1)) == 1
