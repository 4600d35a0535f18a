"""What a curriculum is measured against: the right moment for every raise, and no curriculum at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.guards.below import Below
from plateau_rule.controller.guards.level import Level
from plateau_rule.controller.language.curriculum import Curriculum, Guard, Metric, Transition
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.rate import multiplier, warming
from plateau_rule.sim.simulator.learner import Bands, Floats, Learners, Learning
from plateau_rule.sim.simulator.loop import FLATNESS


def oracle(curriculum: Curriculum) -> Curriculum | None:
    """The same states, each left as soon as the true loss is flat, with a restart; None where there is one state."""
    if len(curriculum.state) < 2:
        return None
    flat = Guard(**{Below.name: Level(metric=FLATNESS, value=1.0)})
    raising = Transition(from_="*", to="next", guards=[flat], actions=["lr_restart"])
    known = {FLATNESS: Metric(at="step")}
    return curriculum.model_copy(update={"metric": known, "guard": {}, "transition": [raising]})


def without(machine: Machine, learners: Learners, steps: NDArray[np.int64]) -> Floats:
    """The noiseless final loss without a curriculum: everything open, one decay over each learner's number of steps."""
    last = hardest(machine)
    bands = Bands.of(machine)
    learning = Learning(learners, bands, np.ones((len(bands.edges), len(learners)), dtype=np.bool_))
    final, longest = np.zeros(len(learners)), int(steps.max())
    top, grid = (
        machine.peak * last.rate.peak * last.rate.follow,
        4096,
    )  # the decay by a table: no decision hangs on its last bits
    shares = np.array([multiplier(last.rate.shape, last.rate.floor, last.rate.decay, i, grid) for i in range(grid + 1)])
    warmup, start = machine.warmup
    with np.errstate(all="ignore"):
        for step in range(longest):
            phase = np.clip((step - warmup) / np.maximum(1, steps - warmup), 0.0, 1.0)
            rate = top * shares[(phase * grid).astype(np.int64)]
            learning.learn(rate if step >= warmup else np.full(len(learners), top * warming(step, warmup, start)))
            ending = steps == step + 1
            if ending.any():
                final[ending] = learning.loss()[ending]
    return final


def hardest(machine: Machine) -> BoundState:
    """The state with the hardest knobs; the last of them."""
    return max(
        machine.states, key=lambda state: (*(machine.hardness(*knob) for knob in state.knobs.items()), state.index)
    )
