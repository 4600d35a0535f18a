"""A bound machine as a curriculum again."""

from __future__ import annotations

import warnings

import pytest

from plateau_rule import Machine, bind, load
from plateau_rule.controller.clamping import as_bound


def shape(machine: Machine) -> list[object]:
    """What a machine's states set, and how each of them is left."""
    return [
        (state.name, state.knobs, {*state.ramps}, [(w.target, w.guards, w.actions, w.at) for w in state.transitions])
        for state in machine.states
    ]


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("plateau", {"cutoff": 300}),
        ("plateau", {"cutoff": 1025}),
        ("plateau", None),
        ("misaligned", {"cutoff": 128}),
        ("sequence-length", {"seq_len": 700}),
        ("two-knobs-with-retreat", {"cutoff": 700, "seq_len": 512}),
    ],
)
def test_what_is_bound_can_be_shown_as_a_curriculum(name: str, limits: dict[str, float] | None) -> None:
    """The curriculum of a machine has its states, knobs and ways: bound without limits, it is that machine again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        machine = bind(load(name), limits, epochs=7, steps_per_epoch=900, peak=0.5)
    again = bind(as_bound(machine))
    assert shape(again) == shape(machine)
    assert (again.run, again.peak) == (machine.run, machine.peak)
