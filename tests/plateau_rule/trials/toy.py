"""A trainer for tests: rungs are cheap and limited, or dear and better; no data, no clock."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from plateau_rule import Controller, Curriculum, load

LADDER = """
name = "grid"
run  = { epochs = 20, steps_per_epoch = 20 }
lr   = { peak = 1e-3, shape = "cosine", length = "rest" }

[knob.grid]
ladder = [16, 64]
cost   = [0.25, 1]

[[state]]
name = "coarse"
set  = { grid = 16 }

[[state]]
name = "fine"
set  = { grid = 64 }

[[transition]]
from   = "*"
to     = "next"
guards = [{ dwell = "0.5 run" }]

[check]
waive = { aligned = "one rate for all" }
"""


def train(curriculum: Curriculum, budget: object, seed: int) -> Iterator[dict[str, float]]:
    """Half of what is left to learn takes some 35 steps; a coarse grid never learns all of it."""
    chance = random.Random(seed)
    speed = 0.02 * (1 + 0.02 * chance.gauss(0, 1))
    controller = Controller(curriculum)
    left, time_s, step = 1.0, 0.0, 0
    while (plan := controller.plan).stop is None:
        share = float(plan.knobs["grid"]) / 64
        left, time_s, step = left * (1 - speed), time_s + 0.01 * share, step + 1
        score = left + 0.3 * (1 - share) ** 2
        controller.observe(score)
        if step % 20 == 0 or controller.plan.stop is not None:
            spent = {} if "cost" not in controller.counted else {"cost": controller.counted["cost"]}
            yield {"step": step, "score": score, "time_s": time_s, **spent}


def fail(curriculum: Curriculum, budget: object, seed: int) -> Iterator[dict[str, float]]:
    """Train where the seed is even."""
    if seed % 2:
        raise RuntimeError("the device is lost")
    yield from train(curriculum, budget, seed)


if __name__ == "__main__":
    points = train(load(sys.argv[1]), None, int(sys.argv[2]))
    Path(sys.argv[3]).write_text("".join(json.dumps(point) + "\n" for point in points))
