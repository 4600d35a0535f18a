"""How fast a log is replayed: `python benchmarks/replay.py [--points N]`; 10,000,000 points for the published figures.

A metrics.jsonl of a falling, noisy loss is written to a temporary folder, read, and shown to curricula that look when
an epoch closes or at every step; a guard that never holds keeps them looking to the end. Points a second are by
processor time, on one core. The ratio is to what a user would write instead: a loop over `Controller.observe` on the
same losses in the same process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from plateau_rule import Controller, Curriculum, load, loads
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.reading import find
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.noise import noise_of
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.verdict import verdict_of

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 50
NEVER = "{ nonfinite = 1000 }"
BLOCK = 100_000


def lines(points: int, spacing: int) -> Iterator[str]:
    """Rows of a metrics.jsonl."""
    random = np.random.default_rng(0)
    for start in range(0, points, BLOCK):
        place = np.arange(start, min(points, start + BLOCK))
        losses = (2 + 3 * np.exp(-place / (points / 8))) * (1 + 0.03 * random.standard_normal(len(place)))
        rows = zip((spacing * place).tolist(), losses.tolist(), strict=True)
        yield "".join(f'{{"step": {step}, "loss": {loss!r}, "lr": 0.0002}}\n' for step, loss in rows)


def written(folder: Path, name: str, points: int, spacing: int = 1) -> Path:
    """Write a log."""
    path = folder / name
    with path.open("w") as file:
        file.writelines(lines(points, spacing))
    return path


def looking_on(name: str, at: str) -> Curriculum:
    """A shipped curriculum that never gets out of its first state, and looks when it is told to."""
    text = find(name).read_text()
    head, transition = text.split("[[transition]]", 1)
    kept = [line for line in transition.splitlines() if not line.startswith("at ")]
    guards = next(line for line in kept if line.startswith("guards"))
    more = guards.partition("#")[0].rstrip().removesuffix("]") + f", {NEVER}]\nat = {at!r}"
    body = "\n".join(kept).replace(guards, more)
    return loads(head + "[[transition]]" + body)


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    start = process_time()
    work()
    return process_time() - start


def looped(curriculum: Curriculum, log: Log, steps_per_epoch: int) -> None:
    """What a user would write: one loop over the controller."""
    controller = Controller(curriculum, epochs=EPOCHS, steps_per_epoch=steps_per_epoch)
    for chunk in log.chunks():
        for loss in chunk.loss.tolist():
            controller.observe(loss)


def main() -> None:
    """Run everything, print the table, write the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--points", type=int, default=1_000_000, help="points in the log")
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "replay.json")
    given = options.parse_args()
    points, results = given.points, dict[str, dict[str, float]]()
    print(f"{'what':52}{'points':>12}{'points/s':>12}")

    def show(name: str, count: int, seconds: float) -> None:
        results[name] = {"points": count, "seconds": seconds, "points_per_s": count / seconds}
        print(f"{name:52}{count:12,}{count / seconds:12,.0f}", flush=True)

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        path = written(folder, "metrics.jsonl", points)
        logs: list[Log] = []
        show("read", points, timed(lambda: logs.append(read(path))))
        log, per_epoch = logs[0], max(1, points // EPOCHS)
        setting = Binding(epochs=EPOCHS, steps_per_epoch=per_epoch)
        cases = {
            "replay, plateau, looks when an epoch closes": looking_on("plateau", "epoch"),
            "replay, plateau, looks at every step": looking_on("plateau", "step"),
            "replay, plateau-trend, looks at every step": looking_on("plateau-trend", "step"),
            "replay, plateau-returns, looks at every step": looking_on("plateau-returns", "step"),
        }
        for what, curriculum in cases.items():
            show(what, points, timed(lambda curriculum=curriculum: replay(curriculum, log, setting)))  # type: ignore[misc]
        for name in ("plateau", "plateau-trend", "plateau-returns", "patience"):
            shipped = load(name)
            show(f"replay, {name} as shipped", points, timed(lambda: replay(shipped, log, setting)))  # noqa: B023
        first = next(iter(cases.values()))
        show("loop over observe, plateau, when an epoch closes", points, timed(lambda: looped(first, log, per_epoch)))
        show("noise", points, timed(lambda: noise_of(log)))
        timeline, noise = replay(first, log, setting), noise_of(log)
        verdict_s = timed(lambda: verdict_of(timeline, noise))
        sparse = read(written(folder, "sparse.jsonl", points // 10, 50))
        wide = Binding(epochs=EPOCHS, steps_per_epoch=50 * points // 10 // EPOCHS)
        show("replay of a point every 50 steps", points // 10, timed(lambda: replay(first, sparse, wide)))
        words = [sys.executable, "-m", "plateau_rule", "replay", "plateau", str(path), "--json"]
        words += ["--epochs", str(EPOCHS), "--steps-per-epoch", str(per_epoch)]
        start = perf_counter()
        subprocess.run(words, check=True, capture_output=True, cwd=ROOT)
        show("plateau replay --json, all of it, by the wall clock", points, perf_counter() - start)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit
    loop, own = (
        results[what]["seconds"] for what in ("loop over observe, plateau, when an epoch closes", *list(cases)[:1])
    )
    print(f"\nverdict: {1000 * verdict_s:.0f} ms; peak memory of the command: {peak_mib:.0f} MiB")
    print(f"a replay is {loop / own:.1f} times as fast as the loop")
    figures = {"replay": results, "verdict_s": verdict_s, "peak_mib": peak_mib, "ratio_to_loop": loop / own}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"figures in {given.json}")


if __name__ == "__main__":
    main()
