"""When evaluations come in simulated trainings."""

from __future__ import annotations

import numpy as np
import pytest

from plateau_rule import loads
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.sim.simulator.evaluations import Evaluations, SimulateError
from plateau_rule.sim.simulator.learner import Learners, ranges
from plateau_rule.sim.simulator.loop import Truth, train

FILE = """
name = "evaluated"
run = {{ epochs = 10, steps_per_epoch = 50 }}
lr = {{ peak = 1e-3, length = "rest" }}
knob = {{ size = {{ ladder = [1, 2] }} }}
state = [{{ name = "a", set = {{ size = 1 }} }}, {{ name = "b", set = {{ size = 2 }} }}]
transition = [{{ from = "a", to = "b", at = "eval", guards = [{guard}], actions = ["lr_restart"] }}]
{more}
"""
WAITS = '{ dwell = "10 steps" }'
WATCHES = '{ above = { metric = "val_loss", value = 0.0, window = 2 } }'


@pytest.mark.parametrize(
    ("guard", "more", "asked", "entered"),
    [
        (WAITS, "", None, 50),
        (WAITS, "", "7 steps", 14),
        (WAITS, "", "0.5 epochs", 25),
        (WATCHES, "", None, 100),
        (WATCHES, "", "20 steps", 40),
        (WATCHES, 'metric = { val_loss = { every = "30 steps" } }', "7 steps", 60),
        (WATCHES, 'metric = { val_loss = { every = "30 steps" } }', None, 60),
    ],
)
def test_evaluations_come_as_the_file_says(guard: str, more: str, asked: str | None, entered: int) -> None:
    """As often as the metric's `every`; where the file is silent, as was asked; else when an epoch closes."""
    curriculum = loads(FILE.format(guard=guard, more=more))
    learners = Learners.drawn(ranges(500, 1e-3), 3, 0, 0)
    outcome = train(curriculum, learners, Binding(limits={"size": 2}), Truth(1e-3, 20, 50), asked)
    assert np.unique(outcome.decisions.step).tolist() == [entered]


def test_in_words() -> None:
    """It is said how often they come, and nothing of it where nothing waits for them."""

    def said(guard: str, more: str = "", at: str = "eval") -> str:
        machine = bind(loads(FILE.format(guard=guard, more=more).replace('at = "eval"', f'at = "{at}"')))
        return Evaluations.of(machine, machine.guarded, None).in_words(machine)

    assert said(WAITS) == "every 50 steps"
    assert said(WATCHES) == "val_loss every 50 steps"
    assert said(WATCHES, 'metric = { val_loss = { every = "1300 steps" } }') == "val_loss every 1,300 steps"
    assert said(WAITS, at="step") == ""


@pytest.mark.parametrize("amount", ["rest", "5", "0 steps", "often"])
def test_no_amount(amount: str) -> None:
    """What is no amount of time is named with its option."""
    machine = bind(loads(FILE.format(guard=WAITS, more="")))
    with pytest.raises(SimulateError, match=f'^--evaluate-every "{amount}"; expected an amount of time such as'):
        Evaluations.of(machine, machine.guarded, amount)
