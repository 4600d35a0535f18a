"""What `plateau compare` saves by branching: `python -P benchmarks/branching.py [--out FOLDER --steps-per-epoch 20]`.

Six ladders on three seeds, that begin alike and raise at different times, three of them when the loss tells them to:
trained each alone, and with the steps that they share trained once. Seconds are processor time of all processes,
start-up and scoring among them. Weights, moments and logs of both are compared byte for byte. What is finished in the
folder is not trained again, and its seconds are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import mkdtemp

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

from benchmarks._speed import RESULTS, write
from plateau_rule import Curriculum, loads
from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.record import read_record
from plateau_rule.fftcore.storage import Disk
from plateau_rule.trials.budget import TrainingBudget
from plateau_rule.trials.cell import RUN, Cell
from plateau_rule.trials.pool import train_cells
from plateau_rule.trials.trainer import Trainer

EPOCHS, SEEDS, WORKERS = 20, 3, 2
TRAINER = "fftcore --device cpu --d-model 64 --layers 2 --seq-len 128"
GUARDS = {
    "fixed-40": '{ dwell = "0.4 run" }',
    "fixed-60": '{ dwell = "0.6 run" }',
    "fixed-80": '{ dwell = "0.8 run" }',
    **{
        f"plateau-{percent}": f"{{ min_epoch = 6 }}, {{ plateau = {{ window = 60, threshold = 0.{percent} }} }}"
        for percent in ("04", "02", "01")
    },
}
LADDER = """
name = "{name}"
run  = {{ epochs = {epochs}, steps_per_epoch = {steps} }}
lr   = {{ peak = 6e-3, shape = "cosine", floor = 0.05, length = "rest" }}
knob = {{ kernel_taps = {{ ladder = [32, "full"] }} }}
state = [{{ name = "short", set = {{ kernel_taps = 32 }} }}, {{ name = "full", set = {{ kernel_taps = "full" }} }}]
transition = [{{ from = "short", to = "full", at = "epoch", guards = [{guards}] }}]
check = {{ waive = {{ aligned = "one cosine for the whole run" }} }}
"""


def curricula(steps: int) -> list[Curriculum]:
    """The six, with epochs of so many steps."""
    return [
        loads(LADDER.format(name=name, epochs=EPOCHS, steps=steps, guards=guards)) for name, guards in GUARDS.items()
    ]


def seconds_of(cells: list[Cell], folder: Path, share: bool) -> float:
    """Processor seconds of training cells; those of earlier calls, where some were finished, are added."""
    kept, used = folder / "seconds.json", getrusage(RUSAGE_CHILDREN)
    before_s = json.loads(kept.read_text()) if kept.exists() else 0.0
    try:
        train_cells(cells, folder, WORKERS, share=share)
    finally:
        now = getrusage(RUSAGE_CHILDREN)
        spent_s = before_s + now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(spent_s))
    return float(spent_s)


def what_is_trained(run: Path) -> list[bytes]:
    """Weights, moments and logs at the end."""
    commit = Checkpoints(run / "checkpoints", None, Disk()).newest()
    tensors = [] if commit is None else [commit.files[name] for name in sorted(commit.files) if name != "state.json"]
    return [*tensors, *((run / name).read_bytes() for name in ("metrics.jsonl", "decisions.jsonl"))]


def steps_shared(run: Path) -> int:
    """Steps of a run that were trained in another."""
    branched = read_record(run).branched
    return 0 if branched is None else branched.step


def main() -> None:
    """Train all of it twice, and write what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="where it is kept")
    parser.add_argument("--steps-per-epoch", type=int, default=20)
    given = parser.parse_args()
    out = given.out or Path(mkdtemp())
    trainer, budget = Trainer.read(TRAINER), TrainingBudget.read(f"{EPOCHS * given.steps_per_epoch} steps")
    cells = [
        Cell(curriculum, trainer, seed, budget)
        for curriculum in curricula(given.steps_per_epoch)
        for seed in range(SEEDS)
    ]
    shared_s = seconds_of(cells, out / "shared", share=True)
    alone_s = seconds_of(cells, out / "alone", share=False)
    runs = [[out / way / "cells" / cell.name / RUN for way in ("shared", "alone")] for cell in cells]
    equal = sum(what_is_trained(one) == what_is_trained(other) for one, other in runs)
    figures = {
        "settings": len(GUARDS),
        "seeds": SEEDS,
        "steps": EPOCHS * given.steps_per_epoch,
        "alone_s": alone_s,
        "shared_s": shared_s,
        "share": shared_s / alone_s,
        "share_of_steps": 1 - sum(steps_shared(one) for one, _ in runs) / (len(runs) * EPOCHS * given.steps_per_epoch),
        "bit_identical": equal,
        "of": len(runs),
    }
    print(
        f"{shared_s:.0f} s shared, {alone_s:.0f} s alone: {shared_s / alone_s:.0%}, "
        f"with {figures['share_of_steps']:.0%} of the steps"
    )
    print(f"{equal} of {len(runs)} bit-identical")
    write(RESULTS / "branching.json", figures)


if __name__ == "__main__":
    main()
