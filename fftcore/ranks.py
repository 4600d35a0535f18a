"""The processes that train one run together, the ranks: how they meet, what they tell each other, and how they part.

torch does the work: torchrun starts them, torch.distributed joins them, DistributedDataParallel averages gradients.
What is here sees to it that all of them decide the same, and that a rank that is gone is named.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from math import isfinite
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from plateau_rule.controller.errors import PlateauError
from plateau_rule.fftcore.checkpoint import STATE, Commit
from plateau_rule.fftcore.errors import RanksError, RunError
from plateau_rule.fftcore.lookout import GO_ON, LOST, NO_STORE, Lookout, end_process, gone, named, speaks_first
from plateau_rule.fftcore.sealed import parse

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

PATIENCE = timedelta(minutes=30)  # rank 0 may score or save for so long; torch's own default
ARRIVAL_S = 600.0  # until all ranks have to be there
LEAVE_S = 30.0  # in which all leave that were together a moment ago
GRACE_S = 10.0  # in which the ranks that are left find out who is not; torchrun kills them after 30


class World:
    """The ranks of a run; by default this process, alone.

    Args:
        rank: the number of this process, from 0. Rank 0 is the one that writes.
        size: how many there are.
        store: where they leave each other notes; None where there is one.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Store | None = None) -> None:
        self.rank, self.size, self._store = rank, size, store
        self.lookout = None if store is None else Lookout(_own_connection(store), rank, size)
        self._named: tuple[int, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether this rank is the one that writes and speaks for all."""
        return self.rank == 0

    def waiting(self, quiet: bool = False) -> AbstractContextManager[None]:
        """Say which rank it is that the others wait for, if the block takes long and is not `quiet`."""
        return nullcontext() if self.lookout is None else self.lookout.waiting(quiet)

    def gather(self, own: Sequence[float], quiet: bool = False) -> list[list[float]]:
        """Return what every rank has, in their order: numbers that float64 holds exactly, as many on each."""
        if self.size == 1:
            return [list(own)]
        import torch
        from torch import distributed

        own_N = torch.tensor(own, dtype=torch.float64)
        rows = [torch.empty_like(own_N) for _ in range(self.size)]
        with self.waiting(quiet):
            distributed.all_gather(rows, own_N)
        return [row.tolist() for row in rows]

    def share(self, content: bytes | None) -> bytes:
        """Hand to all ranks what rank 0 has; on the others `content` counts for nothing."""
        if self.size == 1:
            return content or b""
        import torch
        from torch import distributed

        own = bytearray(content or b"") if self.writes else bytearray()
        count = torch.tensor(len(own))
        with self.waiting(quiet=True):  # rank 0 may score, read or write meanwhile
            distributed.broadcast(count, 0)
            own_N = torch.frombuffer(own, dtype=torch.uint8) if own else torch.empty(int(count), dtype=torch.uint8)
            if len(own_N):
                distributed.broadcast(own_N, 0)
        return own_N.numpy().tobytes()

    def share_commit(self, commit: Commit | None) -> Commit | None:
        """Hand to all ranks the commit that rank 0 has read and verified, or that there is none."""
        if self.size == 1:
            return commit
        head = None if commit is None else [commit.step, str(commit.path), list(commit.files)]
        head = json.loads(self.share(json.dumps(head).encode()))
        if head is None:
            return None
        step, path, names = head
        files = {name: self.share(None if commit is None else commit.files[name]) for name in names}
        return commit or Commit(step, Path(path), files, parse(files[STATE]))

    def share_scores(self, score: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Score on rank 0, and hand the scores to all."""
        if self.size == 1:
            return score()
        scores: dict[str, float] = json.loads(self.share(json.dumps(score()).encode() if self.writes else None))
        return scores

    def mean_loss(self, step: int, losses: Sequence[float], norm: float, say: Callable[[str], None]) -> list[float]:
        """Return the means of some losses over the ranks, summed in their order.

        Args:
            step: whose they are.
            losses: this rank's; the first is the one that decides.
            norm: of the gradient, which is the same on all.
            say: says which ranks' losses are not finite, where others' are.

        Raises:
            RanksError: the gradients differ.
        """
        if self.size == 1:
            return list(losses)
        rows = self.gather([*losses, norm])
        self._require_same(step, [repr(row[-1]) for row in rows], "has another gradient", "all stop here")
        lost = tuple(rank for rank, row in enumerate(rows) if not isfinite(row[0]))
        if len(lost) < self.size and lost != self._named and lost:
            say(f"step {step}: the loss of {named(lost)} alone is not finite; the step is skipped on all ranks")
        self._named = lost
        return [sum(column) / self.size for column in list(zip(*rows, strict=True))[:-1]]

    def agree(self, step: int, text: str, flags: Sequence[int]) -> list[int]:
        """Compare a text of this rank's, and return the first flag that is not 0 of each kind.

        Args:
            step: about to be taken.
            text: all that was decided; its digest is compared.
            flags: such as the signal that was caught, 0 where there is none.

        Raises:
            RanksError: the ranks differ; all raise it.
        """
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
        rows = self.gather([digest, *flags])
        self._require_same(step, [row[0] for row in rows], "decided otherwise", "all stop before the step is taken")
        return [int(next(filter(None, column), 0)) for column in list(zip(*rows, strict=True))[1:]]

    def require_same_state(self, step: int, weights: int, state: str) -> None:
        """Compare what is about to be saved.

        Args:
            step: the next to be taken.
            weights: a sum over them, below 2^53.
            state: all else.

        Raises:
            RanksError: the ranks differ; all raise it, and nothing is saved.
        """
        if self.size == 1:
            return
        rows = self.gather([weights, int.from_bytes(hashlib.sha256(state.encode()).digest()[:6])])
        self._require_same(step, [row[0] for row in rows], "has other weights", "all stop, and nothing is saved")
        self._require_same(step, [row[1] for row in rows], "is in another state", "all stop, and nothing is saved")

    def _require_same(self, step: int, values: Sequence[object], what: str, then: str) -> None:
        (most, count), *_ = Counter(values).most_common()
        if count == self.size:
            return
        if 2 * count == self.size:  # neither is known to be the right one
            most = values[0]
        apart = [rank for rank, value in enumerate(values) if value != most]
        raise RanksError(f"step {step}: {named(apart)} {what} than the others; {then}. {GO_ON}")

    def meet(self) -> None:
        """Wait until all ranks are there, and join them.

        Raises:
            RanksError: one of them does not come.
        """
        from torch import distributed

        backend = "cpu:gloo,cuda:nccl" if distributed.is_nccl_available() and _has_gpu() else "gloo"
        if self._store is None or self.lookout is None:
            return
        until = time.monotonic() + ARRIVAL_S
        while not self._store.check([f"plateau/pulse/{rank}" for rank in range(self.size)]):
            if time.monotonic() >= until:
                absent = [rank for rank, pulse in self.lookout.pulses().items() if not pulse]
                raise RanksError(
                    f"{named(absent)} of {self.size} did not come within {ARRIVAL_S:.0f} s: not started, ended, or "
                    "out of reach. Look at what they say, and start all of them again"
                )
            time.sleep(0.05)
        with self.waiting(quiet=True):
            distributed.init_process_group(
                backend, store=self._store, rank=self.rank, world_size=self.size, timeout=PATIENCE
            )
        JOINED.append(distributed.group.WORLD)

    def part(self) -> None:
        """Leave the other ranks, when all have said all; whoever leaves earlier tears connections that are in use."""
        if self._store is None:
            return
        self.gather([0.0], quiet=True)  # a rank that is gone by now is found here
        self._note("done")
        self._leave_together()
        if self.lookout is not None:
            self.lookout.close()
        from torch import distributed

        distributed.destroy_process_group()
        self._note("gone")
        if self.writes:  # the store may be in this process
            with suppress(RuntimeError):
                self._store.wait([f"plateau/gone/{rank}" for rank in range(self.size)], timedelta(seconds=LEAVE_S))
        self._store = None

    def _note(self, what: str, content: str = "") -> None:
        if self._store is not None:
            self._store.set(f"plateau/{what}/{self.rank}", content)

    def _leave_together(self) -> None:
        """Wait until all have come as far as this; they were together a moment ago."""
        until = time.monotonic() + LEAVE_S
        while self._store is not None and not self._store.check([f"plateau/done/{rank}" for rank in range(self.size)]):
            if time.monotonic() >= until:
                raise RuntimeError("gloo: a rank has not come to the end")
            time.sleep(0.01)

    def _reason(self, rank: int) -> str | None:
        """Return why a rank has ended, if it said so."""
        key = f"plateau/ended/{rank}"
        if self._store is None or not self._store.check([key]):
            return None
        return str(self._store.get(key).decode())

    def note_end(self, why: str) -> None:
        """Tell the others why this rank ends."""
        with suppress(RuntimeError):
            self._note("ended", why)

    def speaks_first(self, sentence: str) -> bool:
        """Whether no other rank has said this sentence."""
        if self._store is None:
            return True
        with suppress(RuntimeError):
            return speaks_first(self._store, sentence)
        return True

    def why_lost(self, error: RuntimeError) -> str:
        """Find out which rank is gone, and why; all ranks come to the sentence of the first that knows."""
        found: list[str] = []
        asking = Thread(target=lambda: found.append(self._why_lost(error)), name="roll call", daemon=True)
        asking.start()
        asking.join(GRACE_S + 10)
        if found:
            return found[0]
        self._store = None  # one that does not even say that it is gone
        return NO_STORE

    def _why_lost(self, error: RuntimeError) -> str:
        if self._store is None:
            return _first_line(error)
        try:
            return str(self._store.compare_set(LOST, "", self._roll_call(error)).decode())
        except RuntimeError:
            return NO_STORE

    def _roll_call(self, error: RuntimeError) -> str:
        """See which of the ranks are alive: those whose pulse moves."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        if self._store is None or self.lookout is None:
            return _first_line(error)
        before = self.lookout.pulses()
        absent, until = others, time.monotonic() + GRACE_S
        while absent and time.monotonic() < until:
            if self._store.check([LOST]):
                return str(self._store.get(LOST).decode())
            for rank in others:
                if why := self._reason(rank):
                    if rank == 0:  # who says it
                        return why
                    return f"rank {rank} has ended, and the run with it: {why}"
            now = self.lookout.pulses()
            absent = [rank for rank in absent if now[rank] == before[rank]]
            time.sleep(0.1)
        return gone(absent) if absent else f"the ranks have lost each other: {_first_line(error)}. {GO_ON}"


def _own_connection(store: Store) -> Store:
    """Return the same store by a connection of its own: one that waits for a note lets nobody else ask meanwhile."""
    return store.clone() if hasattr(store, "clone") else store  # torch 2.6 has none


ALONE = World()

# All that was joined. Were DistributedDataParallel the last to hold a group, it would wait for the group's thread while
# it holds Python's lock, for which that thread may wait. So none is taken down before the process is.
JOINED: list[object] = []


def together(work: Callable[[World], int]) -> int:
    """Do some work with the other ranks, if torchrun has started this process as one of several, or alone.

    Returns:
        The exit code. A sentence that ends all ranks is said by one.

    Raises:
        PlateauError: this rank's own, or that another one is gone.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return work(ALONE)
    world = _world()
    try:
        world.meet()
        return work(world)
    except PlateauError as error:
        _end_at_exit(2)
        told: PlateauError = error
        first = world.speaks_first(str(told))
        world.note_end(str(told))
    except RuntimeError as error:
        if not _is_of_ranks(error):
            _end_at_exit(1)
            world.note_end(f"{type(error).__name__}: {_first_line(error)}")
            raise
        _end_at_exit(2)
        with suppress(ValueError):  # outside of the main thread
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which torchrun sends to all as soon as one is gone
        told = RanksError(world.why_lost(error))
        first = world.speaks_first(str(told))
    except BaseException as error:
        _end_at_exit(1)
        world.note_end(f"{type(error).__name__}: {error}")
        raise
    finally:
        if world.lookout is not None:
            world.lookout.close()
    if not first:
        return 2
    raise told if world.writes else RanksError(f"rank {world.rank}: {told}") from None


def _end_at_exit(code: int) -> None:
    """When all is said, end this process at once: torch would wait for what is on its way to ranks that wait too."""
    atexit.register(end_process, code)


def _world() -> World:
    """Find the ranks that are named by the environment, as torchrun sets it."""
    from torch.distributed import DistError
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=ARRIVAL_S)))
        store.set_timeout(PATIENCE)
    except ValueError as error:
        raise RunError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, so this is one of several ranks, and {_first_line(error)}. "
            "Start them by torchrun, which sets what they need, or unset WORLD_SIZE"
        ) from None
    except DistError as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RanksError(
            f"the {os.environ['WORLD_SIZE']} ranks did not meet at {place} (MASTER_ADDR, MASTER_PORT) within "
            f"{ARRIVAL_S:.0f} s: {_first_line(error)}. Start all of them, by torchrun"
        ) from None
    return World(rank, size, store)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _is_of_ranks(error: RuntimeError) -> bool:
    """Whether an error is one of the connection; gloo's are plain RuntimeErrors."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
