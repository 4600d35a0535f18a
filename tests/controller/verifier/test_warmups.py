"""Warm-ups that a run, or a stay, is too short for."""

from __future__ import annotations

import pytest

from plateau_rule import loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.verify import verify

FILE = """
name = "warm"
run = {{ epochs = 10, steps_per_epoch = 100 }}
lr = {{ peak = 1e-3, length = "rest"{lr} }}
knob = {{ size = {{ ladder = [1, 2, 3] }} }}
state = [
  {{ name = "a", set = {{ size = 1 }} }},
  {{ name = "b", set = {{ size = 2 }}, lr = {{ {own} }} }},
  {{ name = "c", set = {{ size = 3 }} }},
]
transition = [{{ from = "*", to = "next", guards = [{guard}], actions = [{actions}] }}]
check = {{ waive = {{ aligned = "another property" }} }}
"""


def found(
    lr: str = "", own: str = "", guard: str = '{ dwell = "50 steps" }', actions: str = '"lr_restart"'
) -> list[str]:
    """What is said of warm-ups, each with its severity."""
    report = verify(bind(loads(FILE.format(lr=lr, own=own, guard=guard, actions=actions))))
    return [f"{one.severity}: {one.sentence}" for one in report.findings if one.code == "warmup-unfinished"]


@pytest.mark.parametrize(("steps", "too_long"), [(999, False), (1000, True)])
def test_longer_than_the_run(steps: int, too_long: bool) -> None:
    """A warm-up that takes all of the run is told of; one that leaves a step for the peak is not."""
    said = found(f', warmup = "{steps} steps"', actions="")
    told = ["warning: the warm-up of 1000 steps does not fit into the run of 1000 steps"]
    assert said == (told if too_long else [])


def test_longer_than_every_stay() -> None:
    """A warm-up of a state that clocks end before it is over; one of as many steps as the stay is over."""
    told = 'warning: a stay in "b" ends after 50 steps at the latest, before its warm-up of 51 steps is over'
    assert found(own='warmup = "51 steps"') == [f"{told}: the rate gets to 96.2 % of the peak"]
    assert found(own='warmup = "50 steps"') == []


def test_longer_than_some_stays() -> None:
    """A warm-up that some losses cut off is a note: most files that warm up and wait for a plateau have it."""
    said = found(', warmup = "80 steps"', guard="{ plateau = { window = 50 } }")
    assert said == ['note: a stay in "a" may end after 50 steps, before its warm-up of 80 steps is over']


def test_repeated_warmups_are_told_once() -> None:
    """States that share a warm-up share the sentence; the last one lasts long enough."""
    (said,) = found(', warmup = "60 steps", rewarm = true')
    assert said.startswith('warning: a stay in "a" (and in 1 other state) ends after 50 steps at the latest')


def test_a_warmup_that_goes_on() -> None:
    """Without a restart the warm-up goes on into the next state, and nothing cuts it off."""
    assert found(', warmup = "80 steps"', actions="") == []
