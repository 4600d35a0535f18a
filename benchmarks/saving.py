"""What a checkpoint costs the loop: `python -P benchmarks/saving.py [--preset base --turns 5]`.

In turns in one process: an optimizer step, the same step with a checkpoint begun before it and durable after it, and a
checkpoint that is waited for, as one was before there was a thread for it. Seconds are processor time of all threads,
so that the thread's work counts as if no core were free for it; `copied` is by the wall, what the loop itself waits.
The share is of a minute: at one checkpoint a minute. Steps have one pass of one window, which makes them short; what a
checkpoint costs does not depend on it.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import torch

from plateau_rule.fftcore.checkpoint import STATE, Checkpoints
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.saving import Saving
from plateau_rule.fftcore.storage import Disk
from plateau_rule.fftcore.tensors import Tensors

MINUTE_S = 60


def _with_state(tensors: Tensors) -> dict[str, bytes]:
    return {STATE: b"{}", **tensors.packed()}


def main() -> None:
    """Measure, and print the shares."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--preset", choices=PRESETS, default="base")
    asked.add_argument("--turns", type=int, default=5)
    given = asked.parse_args()
    config = PRESETS[given.preset].model_copy(update={"batch_size": 1, "accumulation": 1})
    learner = Learner(config, read_text(None), 0, torch.device("cpu"), heads_only=False)
    learner.turn(limits(config))
    learner.step(0, 1e-3)
    alone, beside, waited, copied = [], [], [], []
    with TemporaryDirectory() as folder:
        saving = Saving(Checkpoints(Path(folder), 1, Disk()), 1, "stop", print)
        for turn in range(given.turns):
            began = process_time()
            learner.step(1, 1e-3)
            alone.append(process_time() - began)
            began, began_s = process_time(), perf_counter()
            tensors = learner.copied()
            copied.append(perf_counter() - began_s)
            saving.begin(2 * turn, partial(_with_state, tensors))
            learner.step(1, 1e-3)
            saving.wait()
            beside.append(process_time() - began)
            began_s = perf_counter()
            tensors = learner.copied()
            saving.begin(2 * turn + 1, partial(_with_state, tensors))
            saving.wait()
            waited.append(perf_counter() - began_s)
        size = sum(path.stat().st_size for path in saving.checkpoints.path(2 * given.turns - 2).iterdir())
        saving.close()
    cost_s = median(one - other for one, other in zip(beside, alone, strict=True))
    print(f"{given.preset}: a checkpoint of {size / 1e6:,.0f} MB, {given.turns} turns, medians")
    print(f"  the loop waits {median(copied):.3f} s for the copy, {median(copied) / MINUTE_S:.2%} of a minute")
    print(f"  processor time in all {cost_s:.2f} s, {cost_s / MINUTE_S:.2%} of a minute")
    print(f"  waited for, it takes {median(waited):.2f} s by the wall, {median(waited) / MINUTE_S:.2%} of a minute")


if __name__ == "__main__":
    main()
