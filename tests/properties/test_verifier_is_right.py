"""The verifier agrees with every loss stream of small runs, and every counterexample happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

from plateau_rule import loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier import alignment, escape, implications, monotone, outcome, raises, zone_graph
from plateau_rule.controller.verifier.verify import verify
from tests.properties.agreement import disagreements, disagreements_of
from tests.properties.every_stream import EveryStream

LANES = 10
CURRICULA = 50  # in each lane; `make verifier` tries ten times as many


@pytest.mark.parametrize("lane", range(LANES))
def test_agrees_with_every_stream(lane: int) -> None:
    """What some stream brings about is never called impossible or proved away, and what is called broken happens."""
    wrong = {
        seed: said for seed in range(lane * CURRICULA, (lane + 1) * CURRICULA) if (said := disagreements_of(seed)[0])
    }
    assert wrong == {}


@pytest.mark.parametrize("lane", range(2))
def test_agrees_where_knobs_decide_the_clocks(lane: int) -> None:
    """The same of curricula that count tokens or cost by their knobs: their waits, their rates, their ends."""
    seeds = range(lane * CURRICULA, (lane + 1) * CURRICULA)
    assert {seed: said for seed in seeds if (said := disagreements_of(seed, clocks=True)[0])} == {}


def test_agrees_where_a_state_stands_for_many() -> None:
    """The same of curricula with a state for each rung of a knob."""
    assert {seed: said for seed in range(20) if (said := disagreements_of(seed, rungs=True)[0])} == {}


def said_of(text: str, **binding: Any) -> list[str]:
    """What the verifier says of a curriculum, and some stream does not bear out."""
    machine = bind(loads(text), **binding)
    return disagreements(verify(machine), EveryStream(machine).follow())


def undone(target: Any, name: str, new: Any) -> Callable[[], AbstractContextManager[Any]]:
    """A mend that is undone."""
    return lambda: mock.patch.object(target, name, new)


RUN = 'name = "kind"\nrun = { epochs = 4, steps_per_epoch = 3 }\n'
ONE = 'lr = { peak = 1.0, shape = "constant" }\n'
TWO_STATES = 'knob.c.ladder = [1, 2]\nstate = [{ name = "a", set = { c = 1 } }, { name = "b", set = { c = 2 } }]\n'

KINDS: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
    "a raise while the rate is low, asked for only when it is due": (
        RUN + 'lr = { peak = 1.0, cycles = ["6 steps", "rest"] }\n' + TWO_STATES
        + 'check = { align = { within = "2 steps", steps = 2 } }\n'
        'transition = [{ from = "a", to = "b", guards = [{ below = { value = 1.0 } }] }]\n',
        undone(alignment.Alignment, "_may_be_low", lambda self, reach, stay: False),
    ),
    "80 % for some steps, in the state after the next": (
        RUN + 'lr = { peak = 1.0, floor = 0.0, length = "90 steps" }\n'
        "check.align.steps = 50\n"
        "knob.c.ladder = [1, 2]\n"
        'state = [{ name = "a", set = { c = 1 } }, { name = "b", set = { c = 2 } },'
        ' { name = "d", set = { c = 2 }, lr = { length = "1 step" } }]\n'
        'transition = [{ from = "a", to = "b", guards = [{ dwell = "2 steps" }], actions = ["lr_restart"] },'
        ' { from = "b", to = "d", guards = [{ dwell = "2 steps" }] }]\n',
        undone(alignment.Alignment, "_carrying", lambda self, state: False),
    ),
    "a way round that is not the first one in": (
        RUN + ONE + "knob.c.ladder = [1, 2, 3]\n"
        'state = [{ name = "a", set = { c = 1 } }, { name = "b", set = { c = 2 } }, { name = "d", set = { c = 3 } }]\n'
        'transition = [{ from = "a", to = "d", guards = [{ below = { value = 1.0 } }] },'
        ' { from = "a", to = "b", guards = [{ below = { value = 2.0 } }] },'
        ' { from = "b", to = "d", guards = [{ below = { value = 1.0 } }] },'
        ' { from = "d", to = "b", guards = [{ above = { value = 3.0 } }], regress = true }]\n',
        undone(monotone, "components", lambda ways: []),
    ),
    "a state left by retreats alone is not final": (
        RUN + ONE + 'state = [{ name = "a" }, { name = "b" }]\n'
        'transition = [{ from = "a", to = "b", guards = [{ below = { value = 1.0 } }], regress = true }]\n',
        undone(zone_graph, "goals", lambda machine: frozenset(
            i for i, s in enumerate(machine.states) if all(t.regress for t in s.transitions))),
    ),
    "nothing is left that leads out of a state": (
        RUN + ONE + 'state = [{ name = "a" }, { name = "b" }]\n'
        'transition = [{ from = "a", to = "b", guards = [{ dwell = "2 steps" }], at_most = 1 },'
        ' { from = "b", to = "a", guards = [{ nonfinite = 1 }], at_most = 2 }]\n',
        undone(escape.Escape, "_suspects", lambda self, near: iter(())),
    ),
    "at the last NaN only what asks for NaN is tried": (
        RUN + ONE + "nonfinite.limit = 2\n"
        'state = [{ name = "a" }, { name = "b" }, { name = "d" }]\n'
        'transition = [{ from = "a", to = "d", at = "epoch" },'
        ' { from = "a", to = "b", at = "epoch", guards = [{ nonfinite = 1 }] }, { from = "b", to = "d" }]\n',
        undone(outcome.Looks, "levels", lambda self, time: [n for n in (0, 1) if n <= time]),
    ),
    "the trainer may close the epochs early": (
        'name = "kind"\nrun = { epochs = 2 }\n' + ONE + 'state = [{ name = "a" }, { name = "b" }]\n'
        'transition = [{ from = "a", to = "b", guards = [{ dwell = "9 steps" }] }]\n',
        undone(zone_graph.Reach, "_lasts_from", lambda self, node, entered, limits: None),
    ),
    "a peak that is scaled down to nothing": (
        RUN + ONE + 'state = [{ name = "a" }, { name = "b" }, { name = "d" }]\n'
        'transition = [{ from = "*", to = "next", guards = [{ dwell = "2 steps" }],'
        " actions = [{ lr_scale = 1e-200 }] }]\n",
        undone(raises, "_surely_above", lambda machine, explored: True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_mend_that_is_undone_is_caught(kind: str) -> None:
    """Canary: each kind of false report comes back when its mend is undone, and the streams contradict it."""
    text, undo = KINDS[kind]
    assert said_of(text) == []
    with undo():
        assert said_of(text) != []


def test_an_implication_that_is_forgotten() -> None:
    """Canary: without implications `below 1` behind `below 2` is not decided; with them it is shadowed."""
    text = (
        RUN + ONE + 'state = [{ name = "a" }, { name = "b" }, { name = "d" }]\n'
        'transition = [{ from = "a", to = "d", guards = [{ below = { value = 2.0 } }] },'
        ' { from = "a", to = "b", guards = [{ below = { value = 1.0 } }] }, { from = "b", to = "d" }]\n'
    )
    machine: Machine = bind(loads(text))
    assert verify(machine).verdict("order").answer == "broken"
    assert said_of(text) == []
    with mock.patch.object(outcome, "together", return_value=None):
        assert verify(machine).verdict("order").answer == "not decided"


def test_an_implication_that_does_not_hold() -> None:
    """Canary: an implication too many makes a transition shadowed that some stream takes."""
    text = (
        RUN + ONE + 'state = [{ name = "a" }, { name = "b" }, { name = "d" }]\n'
        'transition = [{ from = "a", to = "d", guards = [{ patience = { steps = 2, min_delta = 1.5 } }] },'
        ' { from = "a", to = "b", guards = [{ patience = { steps = 2, min_delta = 0.5 } }] },'
        ' { from = "b", to = "d" }]\n'
    )
    assert said_of(text) == []
    with mock.patch.object(outcome, "together", return_value=implications.WEAKER):
        assert verify(bind(loads(text))).verdict("order").answer == "broken"


def test_a_limit_that_is_not_known() -> None:
    """A ramp to `full` may fall short of the next state or not: it is not decided without a limit, and is with one."""
    text = (
        RUN + ONE + 'knob.size.range = { min = 1, max = "full" }\n'
        'state = [{ name = "a", set = { size = 1 }, ramp = { size = { to = "full", over = "8 steps" } } },'
        ' { name = "b", set = { size = 4 } }, { name = "d", set = { size = "full" } }]\n'
        'transition = [{ from = "*", to = "next", guards = [{ dwell = "4 steps" }], actions = ["lr_restart"] }]\n'
    )
    assert verify(bind(loads(text))).verdict("monotone").answer == "not decided"
    assert verify(bind(loads(text), {"size": 5})).verdict("monotone").answer == "proved"
    assert verify(bind(loads(text), {"size": 90})).verdict("monotone").answer == "broken"
