"""A curriculum small enough to be followed by hand: four cutoffs, epochs of ten steps, a rate that starts at 1."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from plateau_rule import Controller, Curriculum, CurriculumError, Decision, loads

STATES = [
    {"name": "low", "set": {"cutoff": 1}},
    {"name": "mid", "set": {"cutoff": 2}},
    {"name": "high", "set": {"cutoff": 4}},
    {"name": "top", "set": {"cutoff": 8}},
]


def small(*transitions: dict[str, Any], **tables: Any) -> Curriculum:
    """Four states, low to top, and these transitions, each `*` to `next` unless it says otherwise.

    tables: replace [run], [lr], [knob], [guard], [[state]] and so on.
    """
    written: dict[str, Any] = {
        "format": 1,
        "name": "small",
        "run": {"epochs": 10, "steps_per_epoch": 10},
        "lr": {"peak": 1.0, "shape": "linear", "length": "100 steps"},
        "knob": {"cutoff": {"ladder": [1, 2, 4, 8]}},
        "state": STATES,
        "transition": [{"from": "*", "to": "next"} | transition for transition in transitions],
    }
    return Curriculum.model_validate(written | tables)


def codes_of(text: str) -> list[str]:
    """The codes of all faults of a file, in the order of their places; none if it is sound."""
    try:
        loads(text)
    except CurriculumError as error:
        return [fault.code for fault in error.faults]
    return []


def crowded(*transitions: dict[str, Any], **tables: Any) -> Curriculum:
    """Twenty states, s0 to s19, with so many ways through the first ones that they cannot all be told apart.

    transitions: out of the last state but one, s18, or any other; only s19 has a cutoff of 2, all others of 1.
    """
    first = [f"s{i}" for i in range(18)]
    ways = [{"from": first, "at_most": 20, "guards": [{"below": {"value": 1.0, "window": n}}]} for n in range(1, 7)]
    states = [{"name": f"s{i}", "set": {"cutoff": 1 if i < 19 else 2}} for i in range(20)]
    return small(*ways, *transitions, **{"state": states, "knob": {"cutoff": {"ladder": [1, 2]}}, **tables})


def through(controller: Controller, losses: Iterable[float], **said: Any) -> list[Decision]:
    """Observe losses one after the other; the decisions that they brought."""
    found = [controller.observe(loss, **said) for loss in losses]
    return [decision for decision in found if decision is not None]


def resumed(controller: Controller, curriculum: Curriculum | None = None, **binding: Any) -> Controller:
    """A new controller, in the place of one that was killed, that has gone through JSON."""
    other = Controller(curriculum or controller.machine.curriculum, controller.machine.limits, **binding)
    other.load_state_dict(json.loads(json.dumps(controller.state_dict())), "accept" if curriculum else "refuse")
    return other
