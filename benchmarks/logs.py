"""How fast logs are read, and in how much memory; `python benchmarks/logs.py [--points N] [--gib SIZE]`.

Each log is written to a temporary folder and read in a process of its own, whose peak memory is the system's count.
Points a second are by processor time, on one core. `json.loads` is what a user would write instead: a loop over the
lines with Python's own json that keeps step and loss, on the same file in the same run.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

from plateau_rule.sim.logs import read
from plateau_rule.sim.logs.events import masked_crc

ROOT = Path(__file__).resolve().parent.parent
BLOCK = 1000


def loss(step: int) -> float:
    """A loss that falls, with a ripple."""
    return 2 + 8 / (1 + step / 1e4) + step * 7919 % 1000 / 1e4


def metrics(steps: range) -> bytes:
    """Lines of our own metrics.jsonl."""
    row = b'{"step": %d, "epoch": %d, "state": "words", "knobs": {"cutoff": 256}, "lr": %.17g, "loss": %.17g, '
    row += b'"chunk_loss": 2.5, "grad_norm": 1.0}\n'
    return b"".join(row % (s, s // 1000, 2e-4 * (1 - s / 1e9), loss(s)) for s in steps)


def plain_json(steps: range) -> bytes:
    """JSON lines of another trainer."""
    row = b'{"step": %d, "epoch": %d, "lr": 0.0002, "loss": %.6f}\n'
    return b"".join(row % (s, s // 1000, loss(s)) for s in steps)


def table(steps: range) -> bytes:
    """Rows of a CSV."""
    return b"step,epoch,loss,lr\n" * (not steps[0]) + b"".join(
        b"%d,%d,%.6f,0.0002\n" % (s, s // 1000, loss(s)) for s in steps
    )


def printed(steps: range) -> bytes:
    """Lines as modded-nanogpt prints them."""
    return b"".join(
        b"step:%d/9999999 train_loss:%.4f train_time:%dms step_avg:216.33ms\n" % (s, loss(s), s) for s in steps
    )


def trainer_state(steps: range) -> bytes:
    """Hugging Face's log_history; the document is left open at its end."""
    rows = (json.dumps({"epoch": s / 1000, "learning_rate": 2e-4, "loss": loss(s), "step": s}, indent=6) for s in steps)
    return (b"," if steps[0] else b'{"epoch": 1.0, "log_history": [') + ",".join(rows).encode()


def events(steps: range) -> bytes:
    """Records of a TensorBoard event file."""
    return b"".join(map(event, steps))


def event(step: int) -> bytes:
    """One scalar, with its checksums."""
    value = b"\x0a\x0atrain/loss\x15" + struct.pack("<f", loss(step))
    varint = bytes([step & 0x7F | 0x80, step >> 7 & 0x7F | 0x80, step >> 14 & 0x7F])
    data = (
        b"\x09"
        + struct.pack("<d", 1.7e9)
        + b"\x10"
        + varint
        + b"\x2a"
        + bytes([len(value) + 2, 0x0A, len(value)])
        + value
    )
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


# What is written: the writer, and the share of --points that it writes.
LOGS: dict[str, tuple[Callable[[range], bytes], float]] = {
    "metrics.jsonl": (metrics, 1.0),
    "metrics.jsonl, 4 times as long": (metrics, 4.0),
    "JSON lines": (plain_json, 1.0),
    "CSV": (table, 1.0),
    "printed text": (printed, 1.0),
    "trainer_state.json": (trainer_state, 0.2),
    "TensorBoard events": (events, 0.2),
}


class Measured(NamedTuple):
    """What reading one log took."""

    points: int
    mib: float
    cpu_s: float
    wall_s: float
    peak_mib: float


def write(path: Path, blocks: Iterator[bytes]) -> None:
    """Write a log."""
    with path.open("wb") as file:
        file.writelines(blocks)


def ours(path: Path) -> int:
    """Read a log; its points."""
    return len(read(path))


def json_loop(path: Path) -> int:
    """Read JSON lines as a user would."""
    steps, losses = [], []
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            if "loss" in row:
                steps.append(row["step"])
                losses.append(row["loss"])
    return len(steps)


def measure(way: Callable[[Path], int], path: Path) -> Measured:
    """Read a log, in a process of its own."""
    cpu, wall = process_time(), perf_counter()
    points = way(path)
    cpu, wall = process_time() - cpu, perf_counter() - wall
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss is in bytes there
    return Measured(
        points, path.stat().st_size / 2**20, cpu, wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    )


def apart(way: Callable[[Path], int], path: Path) -> Measured:
    """`measure` in a fresh process, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, way, path).result()


def main() -> None:
    """Run everything, print the table, write the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--points", type=int, default=1_000_000, help="points in a log, up to 2,000,000")
    options.add_argument("--gib", type=float, default=0, help="also read a metrics.jsonl of this size")
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "logs.json")
    given = options.parse_args()
    results: dict[str, dict[str, float]] = {}
    print(f"{'log':32}{'points':>12}{'MiB':>8}{'points/s':>12}{'MiB/s':>8}{'wall s':>8}{'peak MiB':>10}")

    def show(name: str, found: Measured) -> None:
        speed = found.points / found.cpu_s
        results[name] = found._asdict() | {"points_per_s": speed}
        sizes = f"{found.mib / found.cpu_s:8.0f}{found.wall_s:8.1f}{found.peak_mib:10.0f}"
        print(f"{name:32}{found.points:12,}{found.mib:8.0f}{speed:12,.0f}{sizes}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        for name, (make, share) in LOGS.items():
            count = min(int(given.points * share), 2_000_000 if make is events else 1 << 40)
            write(path, (make(range(start, min(start + BLOCK, count))) for start in range(0, count, BLOCK)))
            show(name, apart(ours, path))
            if name == "metrics.jsonl":
                show("the same, json.loads in a loop", apart(json_loop, path))
        if given.gib:
            write(path, (metrics(range(s, s + BLOCK)) for s in range(0, int(given.gib * 2**30 / 155), BLOCK)))
            show(f"metrics.jsonl of {path.stat().st_size / 2**30:.2f} GiB", apart(ours, path))
    ratio = results["metrics.jsonl"]["points_per_s"] / results["the same, json.loads in a loop"]["points_per_s"]
    print(f"\nmetrics.jsonl is read {ratio:.1f} times as fast as by json.loads in a loop")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"logs": results, "ratio_to_json_loop": ratio}, indent=1) + "\n")
    print(f"figures in {given.json}")


if __name__ == "__main__":
    main()
