"""Where a run is trained: its device, in which type it computes there, on how many threads, and what changed since."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.record import Record, versions


def choose_device(name: str | None) -> torch.device:
    """Return the device to train on: the one that was named, else a GPU if there is one; a GPU with its number.

    Raises:
        RunError: there is no such device here.
    """
    if name is None:
        return with_index(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RunError(f"--device {name}: not the name of a device; expected cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise RunError(f"--device {name}: this trainer runs on cpu and cuda")
    if ":" in str(device) and os.environ.get("LOCAL_WORLD_SIZE", "1") != "1":
        raise RunError(f"--device {name}: each of the ranks on this machine has a GPU of its own. Give --device cuda")
    device = with_index(device)
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise RunError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here. Leave --device out")
    return device


def with_index(device: torch.device) -> torch.device:
    """Return a GPU with its number, which torch.cuda.set_device insists on; a CPU without.

    A GPU that has none is the first, and the second for the second of the ranks on this machine.
    """
    if device.type != "cuda":
        return torch.device(device.type)
    return torch.device("cuda", int(str(device).partition(":")[2] or os.environ.get("LOCAL_RANK", "0")))


def device_of(record: Record, asked: str | None, ranks: int = 1) -> torch.device:
    """Return the device that a run goes on on: what is asked for, else where it was begun, if that is here."""
    if asked is None:
        try:  # each of several ranks has a GPU of its own, whatever that of rank 0 is
            return choose_device(record.device if ranks == 1 else torch.device(record.device).type)
        except RunError:
            pass
    return choose_device(asked)


def card_of(device: torch.device) -> str | None:
    """Return the name of a GPU; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def product_type(device: torch.device) -> torch.dtype:
    """Return the type of a device's matrix products in training: bfloat16 on a GPU that has it, else float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def take_threads(record: Record, device: torch.device, ranks: int = 1) -> str | None:
    """Let torch use as many threads as a run was begun with, on which its sums depend; at most one for each core.

    On another number of ranks sums differ anyhow, and the threads are those that the ranks were started with.

    Returns:
        What to say about it; None where nothing changes.
    """
    before = torch.get_num_threads()
    if ranks != record.ranks:
        return None
    if device.type != "cpu" or record.threads == before or record.threads > cores():
        return None
    torch.set_num_threads(record.threads)
    return f"threads: {record.threads}, as the run was begun with; this process would use {before}"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory(device: torch.device) -> str:
    """Say how much memory this process has taken at most: of its tensors on a GPU, of all of it on a CPU."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB on {device}"
    unit = 2**30 if sys.platform == "darwin" else 2**20  # a Mac counts bytes, Linux KiB
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.2f} GiB"


@contextmanager
def enough_memory() -> Iterator[None]:
    """Say what to do where the memory of the machine or of the GPU does not suffice.

    Raises:
        RunError: it does not.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # Of the CPU's memory torch says it by a plain RuntimeError.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        told = (str(error) or "no memory is left").rpartition("DefaultCPUAllocator: ")[2].partition(". ")[0]
        raise RunError(
            f"the memory does not suffice: {told}. Begin another run with a smaller --batch-size, and as "
            "much more --accumulation, or with a smaller model"
        ) from None


def changes(record: Record, device: torch.device, ranks: int = 1) -> list[str]:
    """Say what differs from where a run was begun, and can change its results; nothing if nothing does."""
    found = [] if ranks == record.ranks else [f"on {in_words(ranks)}, not {in_words(record.ranks)}"]
    if card_of(device) != record.card or device.type != torch.device(record.device).type:
        found.append(f"on {_place(str(device), card_of(device))}, not on {_place(record.device, record.card)}")
    now = versions()["torch"]
    if now != record.versions.get("torch"):
        found.append(f"with torch {now}, not {record.versions.get('torch')}")
    if device.type == "cpu" and torch.get_num_threads() != record.threads:
        found.append(f"on {torch.get_num_threads()} threads, not {record.threads}: there are {cores()} cores here")
    return found


def in_words(ranks: int) -> str:
    """Count the ranks of a run."""
    return "1 process" if ranks == 1 else f"{ranks} ranks"


def _place(device: str, card: str | None) -> str:
    return f"{device} ({card})" if card else device
