"""Replays of runs that end by their tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plateau_rule import Controller, loads
from plateau_rule.sim.logs import read
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.simulator.simulate import Settings, SimulateError, simulate

TEXT = """
name = "tokens"
run = { tokens_per_step = [2, "batch"], tokens = 500 }
lr = { peak = 1.0, shape = "linear" }
knob.batch.ladder = [1, 2, 4]
guard.low.below = { value = 2.0 }
state = [
    { name = "a", set = { batch = 1 } },
    { name = "b", set = { batch = 2 }, ramp = { batch = { to = 4, over = "90 tokens" } } },
]
transition = [
    { from = "a", to = "b", guards = ["low", { dwell = "40 tokens" }] },
]
"""


@pytest.mark.parametrize("every", [1, 7])
def test_a_replay_ends_where_the_run_does(tmp_path: Path, every: int) -> None:
    """It takes the transitions of the run, and ends on the step on which the tokens are used up, between points too."""
    losses = [3.0 - 0.02 * step for step in range(400)]
    controller, taken = Controller(loads(TEXT)), []
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"step": s, "loss": losses[s]}) + "\n" for s in range(0, 400, every)))
    while controller.plan.stop is None:
        step = controller.plan.step
        decision = controller.observe(losses[step - step % every])
        taken += [(decision.step, decision.to_state)] if decision else []
    found = replay(loads(TEXT), read(log))
    assert (found.final.step, found.ended) == (controller.plan.step, "the run of 500 tokens is over")
    if every == 1:
        assert [(one.step, one.to_state) for one in found.decisions] == taken


def test_simulating_asks_for_a_bound_on_the_steps() -> None:
    """How many steps such a run has depends on its knobs: `simulate` asks for more than it can have."""
    with pytest.raises(SimulateError, match="depends on its knobs"):
        simulate(loads(TEXT), Settings(learners=2))
