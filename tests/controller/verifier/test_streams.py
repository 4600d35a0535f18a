"""Streams are found by trying shapes, simple ones first; what is found has happened."""

from __future__ import annotations

from math import inf, isnan
from typing import Any

import pytest

from controller.binding import bind
from controller.bound import Machine
from controller.verifier.streams import (
    Budget,
    Shape,
    Visit,
    _combined,
    _levels,
    controller_of,
    stream_of,
)
from tests.controller.small import small

FLAT = {"plateau": {"window": 4}}


def test_shapes() -> None:
    """A body falls, slides, sinks or rises; a tail follows from its last value or from its level."""
    assert Shape("flat", 4.0, 1.0, "flat", 0).values(3) == [4.0, 4.0, 4.0]
    assert Shape("falls", 4.0, 2.0, "flat", 1).values(4) == [32.0, 16.0, 8.0, 8.0]
    assert Shape("slides", 4.0, 1.5, "level", 2).values(4) == [8.0, 6.0, 4.0, 4.0]
    assert Shape("sinks", 4.0, 2.0, "down", 1).values(3) == [-4.0, -8.0, -8000.0]
    assert Shape("rises", 0.5, 2.0, "up", 1).values(3) == [0.5, 1.0, 1000.0]
    assert Shape("rises", 4.0, 2.0, "up", 1).values(1) == [4000.0]
    found = Shape("flat", 4.0, 1.0, "nan", 2).values(3)
    assert found[0] == 4.0
    assert all(map(isnan, found[1:]))


def test_levels() -> None:
    """Values above, between and below the bounds that guards ask for, the highest first."""
    assert _levels([]) == [4.0]
    assert _levels([2.0]) == [4.0, 1.0]
    assert _levels([2.0, 3.0]) == [6.0, 2.5, 1.0]
    assert _levels([-2.0]) == [0.0, -5.0]
    assert _levels([-2.0, 0.0]) == [1.0, -1.0, -5.0]
    assert all(abs(level) < inf for level in _levels([1e300]))


def test_combined() -> None:
    """Every combination of the shapes of several metrics is tried, those of early ones first."""
    shapes = [Shape("flat", float(number), 1.0, "flat", 0) for number in range(3)]
    found = [tuple(shape.level for shape in way) for way in _combined([shapes[:2], shapes])]
    assert found == [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (1, 2)]
    assert list(_combined([shapes])) == [(shape,) for shape in shapes]
    assert len(list(_combined([shapes, shapes, shapes]))) == 27


def visits(machine: Machine, *stays: tuple[int, int | None]) -> list[Visit]:
    """Stays up to steps, each ended by the transition at a place of its state."""
    state, entered, found = machine.states[0], 0, []
    for left, place in stays:
        found.append(Visit(state, entered, left, place))
        if place is not None:
            state, entered = machine.by_name[state.transitions[place].target], left
    return found


def played(*stays: tuple[int, int | None], transition: dict[str, Any], looks: int = 20_000, **tables: Any) -> Any:
    """The rows of a run of a small machine with one transition, each `*` to `next`; or None."""
    machine = bind(small(transition, **tables))
    return stream_of(controller_of(machine), visits(machine, *stays), Budget(looks))


@pytest.mark.parametrize(
    "guard",
    [
        FLAT,
        {"patience": {"steps": 5, "min_delta": 0.1, "smooth": 3}},
        {"below": {"value": 2.0, "window": 3}},
        {"above": {"value": 2.0}},
        {"below": {"value": -2.0}},
        {"diverging": {"window": 6, "factor": 1.5}},
        {"nonfinite": 3},
        {"gap": {"over": "5 steps", "value": 0.1}},
        {"all": [FLAT, {"above": {"value": 2.0}}]},
        {"any": [{"below": {"value": 1.0}}, {"above": {"value": 3.0}}]},
    ],
)
def test_each_guard_can_be_brought_about(guard: dict[str, Any]) -> None:
    """For each metric guard a stream is found that leaves the state late and not earlier, and one that never does."""
    rows = played((50, 0), (51, None), transition={"guards": [guard]})
    assert rows is not None
    assert [row["state"] for row in rows] == ["low"] * 50 + ["mid"]
    assert [row["step"] for row in rows] == list(range(51))
    assert played((100, None), transition={"guards": [guard]}) is not None


def test_metrics_come_with_evaluations() -> None:
    """Another metric is given with an evaluation; each metric has a shape of its own."""
    guards = [{"below": {"metric": "acc", "value": 1.0, "window": 2}}, {"above": {"metric": "bleu", "value": 3.0}}]
    rows = played((30, 0), transition={"guards": guards, "at": "eval", "sustain": 2}, looks=200_000)
    assert rows is not None
    told = [row for row in rows if row.get("eval_end")]
    assert told
    assert all({"acc", "bleu"} <= row.keys() for row in told)
    assert all("acc" not in row for row in rows if not row.get("eval_end"))


def test_no_evaluation_comes() -> None:
    """What is looked at only at evaluations is never taken where none comes."""
    rows = played((60, None), transition={"guards": [], "at": "eval"})
    assert rows is not None
    assert not any(row.get("eval_end") for row in rows)


def test_epochs_closed_by_hand() -> None:
    """Without steps_per_epoch the stream closes as many epochs as the guards ask for."""
    rows = played((30, 0), transition={"guards": [{"min_epoch": 2}, {"dwell": "3 epochs"}], "at": "epoch"},
                  run={}, lr={"peak": 1.0, "shape": "constant"})  # fmt: skip
    assert rows is not None
    assert sum(row.get("epoch_end", False) for row in rows) >= 3


def test_named_guards() -> None:
    """Guards that are named are followed."""
    named = {"both": {"all": ["flat", {"above": {"value": 2.0}}]}, "flat": FLAT}
    assert played((30, 0), transition={"guards": ["both"]}, guard=named) is not None


def test_what_cannot_be() -> None:
    """No stream is found for what does not happen, and none where nothing may be tried."""
    assert played((3, 0), transition={"guards": [FLAT]}) is None
    assert played((30, None), transition={"guards": [{"min_step": 20}]}) is None
    assert played((30, 0), transition={"guards": [{"min_step": 20}]}) is None
    assert played((30, 0), transition={"guards": [FLAT]}, looks=20) is None
    assert played((40, 0), transition={"guards": [{"nonfinite": 30}]}, nonfinite={"limit": 5}) is None


def test_the_budget_is_used_up() -> None:
    """Each look costs: one for the step, and one for each transition that is looked at."""
    machine = bind(small({"guards": [{"min_step": 20}]}))
    budget = Budget(1000)
    assert stream_of(controller_of(machine), visits(machine, (20, 0)), budget) is not None
    assert budget.looks == 1000 - 2 * 20


def test_the_last_step_of_the_run() -> None:
    """What is decided on the last step has no step to apply to: nothing has ended the stay."""
    rows = played((100, None), transition={"guards": [{"min_step": 100}]})
    assert rows is not None
    assert len(rows) == 100
