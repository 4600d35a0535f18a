"""Points between the log and whoever asked: on disk once there are many, sorted by step, repeats resolved."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Repeats = Literal["last", "first"]
POINT = np.dtype([("step", "<i8"), ("loss", "<f8"), ("epoch", "<f8"), ("lr", "<f8")])
Points = NDArray[np.void]  # of dtype POINT
MEMORY_BYTES = 1 << 25
BATCH = 1 << 16  # points handed out at a time
SORTED_AT_ONCE = 1 << 20  # points


class Chunk(NamedTuple):
    """Some points of a log in order of their steps, as arrays of one length.

    step: int64, strictly increasing. loss: float64; NaN and infinities are events for the guards to see.
    epoch: float64 as it was logged, NaN where a row has none, or None if the log knows no epochs. lr: likewise.
    """

    step: NDArray[np.int64]
    loss: NDArray[np.float64]
    epoch: NDArray[np.float64] | None
    lr: NDArray[np.float64] | None


class Spool:
    """A growing table of points; beyond 32 MiB it lives in a temporary file that has no name."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  # closed by the finalizer
        weakref.finalize(self, self._file.close)
        self.count = 0

    def add(self, points: Points) -> None:
        """Append points."""
        self._file.seek(self.count * POINT.itemsize)
        self._file.write(points.tobytes())
        self.count += len(points)

    def part(self, start: int, stop: int) -> Points:
        """The points from `start` up to `stop`."""
        self._file.seek(start * POINT.itemsize)
        points: Points = np.frombuffer(self._file.read((min(stop, self.count) - start) * POINT.itemsize), dtype=POINT)
        return points

    def parts(self, size: int = BATCH) -> Iterator[Points]:
        """All points, `size` at a time."""
        for start in range(0, self.count, size):
            yield self.part(start, start + size)


def distinct(points: Points, repeats: Repeats) -> Points:
    """Points sorted by step, one a step: the last (or first) in their present order."""
    points = points[np.argsort(points["step"], kind="stable")]
    change = np.diff(points["step"]) != 0
    edge = np.ones(1, dtype=bool)
    kept: Points = points[np.concatenate((change, edge) if repeats == "last" else (edge, change))]
    return kept


def in_order(spool: Spool, repeats: Repeats, block: int | None = None) -> Spool:
    """A spool of the same points, strictly increasing in step: of points that share a step, one stays.

    Sorts blocks on their own, then merges them range by range of steps, so that no more than about two blocks are in
    memory (the splitters are a sample of each block).
    """
    block = block or SORTED_AT_ONCE
    result, sorted_blocks, bounds, sample = Spool(), Spool(), [0], []
    for points in spool.parts(block):
        points = distinct(points, repeats)
        sorted_blocks.add(points)
        bounds.append(sorted_blocks.count)
        sample.append(points["step"][:: max(1, block // 256)])  # each stands for a 256th of a block
    if len(sample) == 1:
        return sorted_blocks
    steps = np.sort(np.concatenate(sample))
    splitters = [*np.unique(steps[::256])[1:].tolist(), None]
    positions = bounds[:-1]
    for splitter in splitters:
        pieces = []
        for index, end in enumerate(bounds[1:]):
            stop = end if splitter is None else _search(sorted_blocks, positions[index], end, splitter)
            pieces.append(sorted_blocks.part(positions[index], stop))
            positions[index] = stop
        result.add(distinct(np.concatenate(pieces), repeats))
    return result


def _search(spool: Spool, start: int, stop: int, step: int) -> int:
    """The first position from `start` on whose step is not below `step`."""
    while start < stop:
        middle = (start + stop) // 2
        if spool.part(middle, middle + 1)["step"][0] < step:
            start = middle + 1
        else:
            stop = middle
    return start
