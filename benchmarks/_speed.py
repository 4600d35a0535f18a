"""Contestants take turns in one process; each is timed, counted, and held against what the machine can do at all.

Time is processor time on a CPU, whose other users then matter little, and events on a CUDA device. A ratio is the
median of the ratios within each turn. *Moved* is what the operations of one call read and write, each operand once;
*flop* counts matrix products (two for a multiply-add) and 2.5 n log2 n for a real transform. Shares are of the rates
that a copy and a matrix product reach in the same process.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Mapping, Sequence
from math import log2, prod
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
WARM_UP = 2  # turns
aten = torch.ops.aten
FREE = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten._unsafe_view}

Work = Callable[[], object]


class Spread(NamedTuple):
    """A median with its quartiles."""

    median: float
    low: float
    high: float


class Counts(NamedTuple):
    """What one call does."""

    flop: int
    moved_bytes: int


class Machine(NamedTuple):
    """What this machine reaches, on one call's threads."""

    copy_bytes_per_s: float
    flop_per_s: float


class Row(NamedTuple):
    """One line of a table."""

    what: str
    seconds: Spread
    times_as_fast: Spread
    counts: Counts
    copy_share: float
    flop_share: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median of at least two values, and their quartiles."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def take_turns(contestants: Mapping[str, Work], turns: int, device: torch.device) -> dict[str, list[float]]:
    """Call each in turn, `turns` times after the warm-up, and return the seconds of every call."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    gc.collect()
    gc.disable()  # or one of them pays for all
    for turn in range(WARM_UP + turns):
        for name, work in contestants.items():
            took = timed(work, device)
            if turn >= WARM_UP:
                seconds[name].append(took)
    gc.enable()
    return seconds


def timed(work: Work, device: torch.device) -> float:
    """Return the seconds that one call takes."""
    if device.type != "cuda":
        start = process_time()
        work()
        return process_time() - start
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    began.record()
    work()
    ended.record()
    ended.synchronize()
    return 1e-3 * float(began.elapsed_time(ended))


def counted(work: Work) -> Counts:
    """Call once and count."""
    with FlopCounterMode(display=False, custom_mapping=TRANSFORMS) as flop, _Moved() as moved:
        work()
    return Counts(flop.get_total_flops(), moved.bytes)


def measured(device: torch.device, turns: int = 9, size: int = 2048) -> Machine:
    """Measure how fast this machine copies and multiplies matrices, in bfloat16 on a CUDA device and float32 else."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    source = torch.ones(16 * size * size, device=device)
    target, matrix = torch.empty_like(source), torch.ones(size, size, device=device, dtype=dtype)
    out = torch.empty_like(matrix)
    works: dict[str, Work] = {
        "copy": lambda: target.copy_(source),
        "product": lambda: torch.mm(matrix, matrix, out=out),
    }
    seconds = take_turns(works, turns, device)
    return Machine(2 * source.nbytes / median(seconds["copy"]), 2 * size**3 / median(seconds["product"]))


def contest(
    contestants: Mapping[str, Work], against: str, turns: int, device: torch.device, machine: Machine
) -> list[Row]:
    """Let all take turns and return a row for each; `times_as_fast` is against the one of that name."""
    seconds = take_turns(contestants, turns, device)
    rows = []
    for name, own in seconds.items():
        counts, middle = counted(contestants[name]), median(own)
        ratios = [other / one for one, other in zip(own, seconds[against], strict=True)]
        moved, flop = counts.moved_bytes / machine.copy_bytes_per_s, counts.flop / machine.flop_per_s
        rows.append(Row(name, spread(own), spread(ratios), counts, moved / middle, flop / middle))
    return rows


def forward_of(module: nn.Module, x: Tensor) -> Work:
    """Return a call forward, as in training: all that the way back needs is kept."""
    return lambda: module(x)


def both_ways_of(module: nn.Module, x: Tensor, dy: Tensor) -> Work:
    """Return a call forward and back, to the input and every parameter."""
    leaves = [x, *module.parameters()]

    def work() -> None:
        y = module(x)
        y.backward(dy.to(y.dtype))
        for leaf in leaves:
            leaf.grad = None

    return work


class _Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums what every operation reads and writes; views are free, and so is memory that is not yet filled."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket not in FREE:
            written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            places = {leaf.data_ptr() for leaf in written}
            given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            read = [leaf for leaf in given if leaf.data_ptr() not in places]
            self.bytes += sum(map(_bytes, written + read))
        return result


def _bytes(tensor: Tensor) -> int:
    """Return how much memory a tensor stands for; what is expanded or overlaps is there once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _real_to_complex(shape: Sequence[int], dim: Sequence[int], *_: object, **__: object) -> int:
    n = prod(shape[axis] for axis in dim)
    return int(2.5 * prod(shape) * log2(n))


def _complex_to_real(shape: Sequence[int], dim: Sequence[int], _mode: int, last: int, **__: object) -> int:
    others = prod(size for axis, size in enumerate(shape) if axis != dim[-1] % len(shape))
    return int(2.5 * others * last * log2(last))


TRANSFORMS = {aten._fft_r2c: _real_to_complex, aten._fft_c2r: _complex_to_real}


# What is printed and written


def options(description: str | None, name: str, turns: int) -> argparse.ArgumentParser:
    """Return the options that all of these benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--turns", type=int, default=turns)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, default=RESULTS / f"{name}.json")
    return parser


def prepared(given: argparse.Namespace) -> Machine:
    """Set threads and seed, measure the machine, and say what it is."""
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    machine = measured(given.device)
    what = torch.cuda.get_device_name(given.device) if given.device.type == "cuda" else f"CPU, threads: {given.threads}"
    copy, product = machine.copy_bytes_per_s / 1e9, machine.flop_per_s / 1e9
    print(f"{what}; copies {copy:.1f} GB/s, multiplies matrices at {product:.0f} Gflop/s\n")
    return machine


def show(rows: Sequence[Row], title: str) -> None:
    """Print a table."""
    print(f"| {title} | ms | quartiles | times as fast | GB moved | of copy rate | Gflop | of product rate |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        ms, fast = (Spread(*(1e3 * value for value in row.seconds)), row.times_as_fast)
        print(
            f"| {row.what} | {ms.median:.3g} | {ms.low:.3g} … {ms.high:.3g} | "
            f"{fast.median:.2f} ({fast.low:.2f} … {fast.high:.2f}) | {row.counts.moved_bytes / 1e9:.3f} | "
            f"{row.copy_share:.0%} | {row.counts.flop / 1e9:.2f} | {row.flop_share:.0%} |"
        )
    print()


def plain(value: object) -> object:
    """Return named tuples as dictionaries, all the way down."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def write(path: Path, figures: Mapping[str, object]) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(figures), indent=1) + "\n")
    print(f"Figures in {path}")
