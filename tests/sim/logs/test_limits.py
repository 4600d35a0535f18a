"""Memory and time stay flat, whatever a log's size and shape: what is kept of it is bounded."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plateau_rule.sim.logs import LogError, read, runs
from tests.hostile.logs.test_hostile_logs import event, tfrecord

MIB = 1 << 20


def peak(work: Callable[[], object]) -> int:
    """The most bytes that Python and numpy held at once while this was done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CHILD = """
import resource, sys
from plateau_rule.sim.logs import points, read
points.MEMORY_BYTES = 1 << 20
count = len(read(sys.argv[1]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A log four times as long takes no more memory, once its points no longer fit the memory set aside for them."""
    peaks = []
    for points in (100_000, 500_000):
        path = tmp_path / f"{points}.jsonl"
        with path.open("wb") as file:
            file.writelines(b'{"step": %d, "loss": 2.5}\n' % step for step in range(points))
        command = [sys.executable, "-c", CHILD, str(path)]
        child = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True)
        count, peak_kib = map(int, child.stdout.split())
        assert count == points
        peaks.append(peak_kib / 1024)
    # The points of the longer one alone would take 12 MiB more.
    assert peaks[1] - peaks[0] < 6


def test_canary() -> None:
    """Canary: memory that is held is seen."""
    assert peak(lambda: np.zeros(10 * MIB)) > 10 * MIB


WIDE = ",".join(f"c{number}" for number in range(900))
SHAPES: dict[str, Callable[[], bytes]] = {
    "rows of half a million fields": lambda: b"step,loss\n1,2\n" + (b"," * 500_000 + b"\n") * 40 + b"2,1\n",
    "rows of a thousand columns": lambda: (
        f"step,loss,{WIDE}\n".encode() + b"1,2\n2,1\n" + (b"1," * 901 + b"1\n") * 1000
    ),
    "other keys in each row": lambda: b"".join(
        json.dumps({"step": row, "loss": 2.0} | {f"k{row}_{key}": 1 for key in range(100)}).encode() + b"\n"
        for row in range(500)
    ),
    "other evaluations in each row": lambda: b"".join(
        json.dumps({"step": row, "loss": 2.0} | {f"val_{row}_{key}": 1 for key in range(20)}).encode() + b"\n"
        for row in range(500)
    ),
    "other words in each line": lambda: (
        b"step 1 loss 2\nstep 2 loss 1\n"
        + b"".join(b"loss " + f"{row:x} word ".encode() * 3000 + b"\n" for row in range(100))
    ),
    "an array of long objects": lambda: (
        b"["
        + b",".join(json.dumps({"step": row, "loss": 2, "text": "x" * 300_000}).encode() for row in range(60))
        + b"]"
    ),
    "an event of many scalars": lambda: b"".join(
        tfrecord(b"\x10\x01\x2a" + bytes([0x80 | size & 0x7F, 0x80 | size >> 7 & 0x7F, size >> 14]) + summary)
        for start in range(0, 13_500, 4500)
        for summary in [b"".join(scalar(number) for number in range(start, start + 4500))]
        for size in [len(summary)]
    ),
    "an event with a picture": lambda: (
        tfrecord(event(1, 2.0)) + unread(5 * MIB) + tfrecord(event(2, 1.0)) + unread(5 * MIB)
    ),
}


def scalar(number: int) -> bytes:
    """A `Summary.Value` of the training loss, or of one of many other tags."""
    tag = b"loss%06d" % number if number % 4500 else b"loss      "
    return b"\x0a\x11\x0a\x0a" + tag + b"\x15" + struct.pack("<f", 1.0 + number)


def unread(size: int) -> bytes:
    """A record too large to be one of scalars."""
    return tfrecord(b"")[:0] + record_head(size) + b"\0" * (size + 4)


def record_head(size: int) -> bytes:
    """Length and checksum of a record."""
    return struct.pack("<Q", size) + tfrecord(struct.pack("<Q", size))[-4:]


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape: str, tmp_path: Path) -> None:
    """A log of an odd shape is read, or refused, within a bounded share of memory."""
    path = tmp_path / "log"
    path.write_bytes(SHAPES[shape]())

    def attempt() -> None:
        try:
            assert len(read(path)) >= 2
        except LogError as error:
            pytest.fail(str(error)[:500]) if "event of many" not in shape else None

    assert peak(attempt) < 150 * MIB


def test_too_many_columns(tmp_path: Path) -> None:
    """A table of thousands of columns is refused."""
    path = tmp_path / "log"
    path.write_text(
        "step,loss," + ",".join("abcdefg"[number % 7] for number in range(5000)) + "\n" + "1," * 5001 + "1\n"
    )
    with pytest.raises(LogError, match="a table of 5,002 columns; expected at most 1,000"):
        read(path)


def test_too_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a run every few lines is given up on."""
    monkeypatch.setattr(runs, "MOST_RUNS", 5)
    path = tmp_path / "log"
    path.write_text("step,loss\n" + "".join(f"{row % 20},1\n" for row in range(1000)))
    with pytest.raises(LogError, match="more than 5 runs one after the other"):
        read(path)


def test_long_log(tmp_path: Path) -> None:
    """With more points than are handed out at a time, spacing, gaps and averages are found as in a short log."""
    count = 150_000
    steps = np.arange(count) * 5
    steps[100_000:] += 1_000
    averaged = np.random.default_rng(0).standard_normal(count) * 0.1 + 3
    for step in range(1, count):
        averaged[step] += 0.9 * (averaged[step - 1] - averaged[step])
    path = tmp_path / "log"
    path.write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in zip(steps, averaged, strict=True)))
    log = read(path)
    assert [len(chunk.step) for chunk in log.chunks()] == [65536, 65536, count - 2 * 65536]
    assert log.report.spacing == 5
    assert "nothing between steps 499,995 and 501,000" in log.report.warnings
    assert log.report.ema == pytest.approx(0.9, abs=0.01)


def test_constant_and_huge_losses(tmp_path: Path) -> None:
    """Losses that never change, or whose squares no float holds, are taken for no average."""
    path = tmp_path / "log"
    for loss in ("1", "1e300"):
        path.write_text("step,loss\n" + "".join(f"{step},{loss if step % 3 else 1}\n" for step in range(3000)))
        assert read(path).report.ema is None


def test_reading_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails in the middle of a log gives a LogError with the system's reason."""
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(b"step,loss\n" + b"".join(b"%d,1\n" % step for step in range(100_000))))
    plain = gzip.GzipFile.read1
    calls = iter(range(100))

    def failing(self: gzip.GzipFile, size: int = -1) -> bytes:
        if next(calls) == 2:
            raise OSError(5, "Input/output error")
        return plain(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read1", failing)
    with pytest.raises(LogError, match="reading failed: Input/output error"):
        read(path)
