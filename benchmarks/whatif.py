"""How fast what-if questions over a log are answered: `python benchmarks/whatif.py [--turns N]`.

Beside each answer stands what a user would write instead, a loop over `Controller.observe` on the same losses, which
take turns with it in one process; both must decide the same. On easy losses all states are passed early; on hard ones
no guard ever holds, so that every look is taken to the end. Times are medians of processor time, on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import numpy as np

from plateau_rule import Controller, Decision, loads
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.whatif.session import Session, play
from plateau_rule.sim.whatif.thin import thin

ROOT = Path(__file__).resolve().parent.parent
SIZES = (20_000, 1_000_000)
ROWS, COLUMNS, PINS = 18, 640, 40
CURRICULUM = """
name = "timed"
run = {{ epochs = 1000, steps_per_epoch = 1000 }}
lr = {{ peak = 2e-4, floor = 0.1, length = "3 epochs" }}
knob.cutoff.ladder = [128, 256, 512, 1024]
guard.flat = {{ {guard} }}
[[state]]
name = "a"
set = {{ cutoff = 128 }}
[[state]]
name = "b"
set = {{ cutoff = 256 }}
[[state]]
name = "c"
set = {{ cutoff = 512 }}
[[state]]
name = "d"
set = {{ cutoff = 1024 }}
[[transition]]
from = "*"
to = "next"
at = "{at}"
guards = ["flat"]
actions = ["lr_restart"]
"""
GUARDS = {
    "halves, window 400": "plateau = { window = 400, threshold = 0.005 }",
    "trend": 'plateau = { method = "trend", threshold = 0.005, per = "1000 steps" }',
    "returns": 'plateau = { method = "returns" }',
    "diverging": "diverging = { window = 200, factor = 1.25 }",
}
TURNED = {"halves, window 400": ("window", 20.0, 5000.0), "trend": ("threshold", 1e-4, 0.2)}


def losses_of(count: int, hard: bool) -> Floats:
    """A noisy loss: easy, an exponential that ends; hard, one that falls for ever, by far more than its noise hides."""
    noise, time = np.random.default_rng(0).standard_normal(count), np.arange(count)
    clean = 3.0 * np.exp(-1e-4 * time) if hard else 1.0 + 2.0 * np.exp(-time / (count / 8))
    return np.asarray(clean * (1.0 + 0.02 * noise))


def file_of(guard: str, at: str, hard: bool) -> str:
    """A curriculum file; under a hard one the guard is asked everywhere, and cannot hold."""
    written = GUARDS[guard]
    if hard:
        written = written.replace("threshold = 0.005", "threshold = 1e-12").replace("1.25", "1e9")
        written = written.replace('"returns"', '"returns", share = 1e-12')
    return CURRICULUM.format(guard=written, at=at)


def looped(text: str, losses: list[float]) -> tuple[Decision, ...]:
    """What a user would write."""
    controller, found = Controller(loads(text)), []
    for loss in losses:
        decision = controller.observe(loss)
        found += [decision] if decision else []
    return tuple(found)


def timed(work: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """Milliseconds of processor time that a call takes, and what came of it."""
    began = process_time()
    found = work(*given)
    return 1e3 * (process_time() - began), found


def one_setting(turns: int) -> list[dict[str, Any]]:
    """One setting over a whole log, beside the loop."""
    rows = []
    for count in SIZES:
        for hard in (False, True):
            losses = losses_of(count, hard)
            values = losses.tolist()
            for guard in GUARDS:
                for at in ("epoch", "step"):
                    text, took, raises = file_of(guard, at, hard), list[tuple[float, float]](), 0
                    for _ in range(turns if count < 100_000 else max(1, turns // 4)):
                        own, played = timed(play, text, losses)
                        other, expected = timed(looped, text, values)
                        assert played.decisions == expected, (guard, at, count)
                        took.append((own, other))
                        raises = len(expected)
                    own, ratio = median(own for own, _ in took), median(other / own for own, other in took)
                    row = {"losses": count, "hard": hard, "guard": guard, "at": at, "ms": own, "loop_over_own": ratio}
                    rows.append(row | {"raises": raises})
                    kind = "hard" if hard else "easy"
                    print(f"{count:>9,} {kind} {guard:20}{at:6}{own:9.1f} ms{ratio:8.1f} x the loop", flush=True)
    return rows


def session(turns: int) -> list[dict[str, Any]]:
    """What a page asks of a run."""
    rows = []
    for count in SIZES:
        losses = losses_of(count, False)
        for guard, (name, low, high) in TURNED.items():
            text, took = file_of(guard, "epoch", False), dict[str, list[float]]()
            values = [float(f"{one:.2g}") for one in np.geomspace(low, high, ROWS)]
            for _ in range(turns if count < 100_000 else max(1, turns // 4)):
                ms, run = timed(partial(Session, text, losses=losses))
                path = next(one.path for one in run.tunables() if one.name == name)
                steps = np.linspace(0, count, PINS).astype(int).tolist()
                pins = [timed(run.why, step)[0] for step in steps]
                found = {"a session": ms, "why, median": median(pins), "why, most": max(pins)}
                found[f"{ROWS} rows of a raise map"] = timed(list, run.grid(path, values))[
                    0
                ]  # a row is made as it is read
                found["the rate at 600 steps"] = timed(run.rates)[0]
                found[f"the curve in {COLUMNS} columns"] = timed(run.curve, 0, count, COLUMNS)[0]
                found["100 losses more"] = timed(run.extend, losses[-100:])[0]
                found["a cut by a third"] = timed(run.cut, 2 * count // 3)[0]
                for what, ms in found.items():
                    took.setdefault(what, []).append(ms)
            figures = {what: median(ms) for what, ms in took.items()}
            rows.append({"losses": count, "guard": guard, "ms": figures})
            said = ", ".join(f"{what} {ms:.1f} ms" for what, ms in figures.items())
            print(f"{count:>9,} {guard:20}{said}", flush=True)
    return rows


def main() -> None:
    """Time everything, print the table, write the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=9)
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "whatif.json")
    given = options.parse_args()
    figures = {"play": one_setting(given.turns), "session": session(given.turns)}
    many = np.random.default_rng(0).standard_normal(10_000_000)
    ms = median(timed(lambda: thin(None, many, 0, len(many), COLUMNS))[0] for _ in range(given.turns))
    print(f"{len(many):,} losses in {COLUMNS} columns: {ms:.0f} ms")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures | {"thin_10_million_ms": ms}, indent=1) + "\n")
    print(f"figures in {given.json}")


if __name__ == "__main__":
    main()
