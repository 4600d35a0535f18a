"""Streams are found by trying shapes, simple ones first; what is found has happened."""

from __future__ import annotations

from itertools import islice
from math import inf, isnan
from typing import Any

import pytest

from plateau_rule.controller.binding import bind
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent
from plateau_rule.controller.verifier.shapes import Shape, levels_between, ratios_of, shapes_of
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.witness import (
    Player,
    Visit,
    _asked,
    _combined,
    _counts,
    _looks,
    _ways,
    rows_of,
)
from tests.controller.small import STATES, small

FLAT = {"plateau": {"window": 4}}


def test_shapes() -> None:
    """A body falls, slides, sinks or rises; a tail follows from its last value or from its level."""
    assert list(Shape("flat", 4.0, 1.0, "flat", 0).values(3)) == [4.0, 4.0, 4.0]
    assert list(Shape("falls", 4.0, 2.0, "flat", 1).values(4)) == [32.0, 16.0, 8.0, 8.0]
    assert list(Shape("slides", 4.0, 1.5, "level", 2).values(4)) == [8.0, 6.0, 4.0, 4.0]
    assert list(Shape("sinks", 4.0, 2.0, "down", 1).values(3)) == [-4.0, -8.0, -8000.0]
    assert list(Shape("rises", 0.5, 2.0, "up", 1).values(3)) == [0.5, 1.0, 1000.0]
    assert list(Shape("rises", 4.0, 2.0, "up", 1).values(1)) == [4000.0]
    found = list(Shape("flat", 4.0, 1.0, "nan", 2).values(3))
    assert found[0] == 4.0
    assert all(map(isnan, found[1:]))


def test_levels() -> None:
    """Values above, between and below the bounds that guards ask for, the highest first."""
    assert levels_between([]) == [4.0]
    assert levels_between([2.0]) == [4.0, 1.0]
    assert levels_between([2.0, 3.0]) == [6.0, 2.5, 1.0]
    assert levels_between([-2.0]) == [0.0, -5.0]
    assert levels_between([-2.0, 0.0]) == [1.0, -1.0, -5.0]
    assert all(abs(level) < inf for level in levels_between([1e300]))


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


def played(*stays: tuple[int, int | None], transition: dict[str, Any], budget: int = 20_000, **tables: Any) -> Any:
    """The rows of a run of a small machine with one transition, each `*` to `next`; or None."""
    machine = bind(small(transition, **tables))
    try:
        found = Player(machine).play(visits(machine, *stays), Budget(budget))
    except BudgetSpent:
        return None
    return None if found is None else list(rows_of(machine, found))


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
    rows = played((30, 0), transition={"guards": guards, "at": "eval", "sustain": 2})
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
    assert played((30, 0), transition={"guards": [FLAT]}, budget=1) is None
    assert played((40, 0), transition={"guards": [{"nonfinite": 30}]}, nonfinite={"limit": 5}) is None


def test_the_last_step_of_the_run() -> None:
    """What is decided on the last step has no step to apply to: nothing has ended the stay."""
    rows = played((100, None), transition={"guards": [{"min_step": 100}]})
    assert rows is not None
    assert len(rows) == 100


def first_of(machine: Machine, left: int = 30, place: int | None = 0) -> Visit:
    """A stay in the first state that is ended on a step."""
    return Visit(machine.states[0], 0, left, place)


@pytest.mark.parametrize(
    ("transition", "tables", "expected"),
    [
        ({"guards": [FLAT]}, {}, (1, 0)),
        ({"guards": [FLAT], "sustain": 3}, {}, (3, 0)),
        ({"guards": [FLAT], "sustain": 3, "at": "epoch"}, {}, (21, 0)),
        ({"guards": [FLAT], "sustain": 3, "at": "epoch"}, {"run": {"epochs": 10}}, (3, 0)),
        ({"guards": [{"min_epoch": 4}, {"dwell": "3 epochs"}]}, {}, (1, 4)),
        ({"guards": [{"min_epoch": 2}, {"dwell": "3 epochs"}]}, {}, (1, 3)),
        ({"guards": [{"any": [{"min_epoch": 2}, {"dwell": "70 steps"}]}, {"min_step": 40}]}, {}, (1, 2)),
    ],
)
def test_what_a_stay_must_hold(transition: dict[str, Any], tables: dict[str, Any], expected: tuple[int, int]) -> None:
    """Steps from the first to the last of the looks that a transition takes, and the epochs that its guards ask for."""
    machine = bind(small(transition, lr={"peak": 1.0, "shape": "constant"}, **tables))
    assert _looks(machine, first_of(machine)) == expected
    assert _looks(machine, first_of(machine, place=None)) == (1, 0)


def test_what_guards_need() -> None:
    """Each guard is known by the metric that it watches and by how many values it needs, also inside others."""
    machine = bind(
        small(
            {"guards": [FLAT, {"not": {"below": {"metric": "acc", "value": 2.0, "window": 7}}}, "either"]},
            {"from": "low", "to": "top", "guards": [{"nonfinite": 3}, {"min_step": 5}]},
            {"from": "mid", "guards": [{"above": {"metric": "bleu", "value": 1.0}}]},
            guard={
                "either": {
                    "any": [{"patience": {"steps": 5, "smooth": 3}}, {"gap": {"over": "0.5 epochs", "value": 1.0}}]
                },
            },
        )
    )
    found = {
        metric: [(hint.needs, hint.levels) for hint in guards]
        for metric, guards in _asked(machine, machine.states[0]).items()
    }
    assert found == {
        "loss": [(4, ()), (8, ()), (10, ())],
        "acc": [(7, (2.0,))],
    }
    assert _counts(machine, machine.states[0]) == [3]


def asked_by(*guards: dict[str, Any]) -> list[Any]:
    """The guards of a state, as they are asked of the loss."""
    machine = bind(small({"guards": list(guards)}))
    return _asked(machine, machine.states[0])["loss"]


@pytest.mark.parametrize(
    ("guard", "ratio"),
    [
        ({"plateau": {"window": 50, "threshold": 0.25}}, 2.0 ** (1 / 25)),
        ({"plateau": {"window": 4, "threshold": 20.0}}, 41.0**0.5),
        ({"plateau": {"method": "returns"}}, 1.001),
        ({"diverging": {"window": 8, "factor": 4.0}}, 2.0),
        ({"patience": {"steps": 5, "min_delta": 0.5}}, 1.5),
        ({"patience": {"steps": 5, "min_delta": 7.0}}, 2.0),
        ({"patience": {"steps": 5}}, 1.001),
        ({"gap": {"over": "5 steps", "value": 0.25}}, 1.251),
        ({"gap": {"over": "5 steps", "value": 9.0}}, 2.0),
        ({"below": {"value": 2.0}}, 1.001),
    ],
)
def test_ratios(guard: dict[str, Any], ratio: float) -> None:
    """How fast a metric must fall to be surely improving follows from what the guard calls an improvement."""
    assert ratios_of(asked_by(guard)) == pytest.approx(sorted({ratio, 1.001}, reverse=True), rel=1e-12)


def test_ratios_of_several() -> None:
    """Of several guards the fastest is tried, then the last, then a gentle one."""
    guards = [{"diverging": {"window": 8, "factor": 4.0}}, {"patience": {"steps": 5, "min_delta": 0.5}}]
    assert ratios_of(asked_by(*guards)) == [2.0, 1.5, 1.001]
    assert ratios_of(asked_by(*guards[::-1])) == [2.0, 1.001]


def spelled_shapes(asked: list[Any], nonfinite: list[int], steps: int, span: int) -> list[str]:
    """The shapes that are tried, each as one line."""
    return [
        f"{body} {level:g} {by:g} {tail} {last}"
        for body, level, by, tail, last in shapes_of(asked, steps, span, nonfinite)
    ]


def test_shapes_that_are_tried() -> None:
    """Flat ones, flat ones with an end that turns, moving ones, and moving ones with every end: simple ones first."""
    assert spelled_shapes([], [], 9, 1) == [
        "flat 4 1 flat 0", "falls 4 1.001 flat 0", "slides 4 1.001 flat 0", "sinks 4 1.001 flat 0",
        "rises 4 1.001 flat 0",
    ]  # fmt: skip
    found = spelled_shapes(asked_by({"above": {"value": 2.0, "window": 6}}), [3], 8, 2)
    # What follows the body is as long as the looks (2) with the values before them that count, or as the window.
    assert found[:2] == ["flat 4 1 flat 0", "flat 1 1 flat 0"]
    ends = ["nan 4", *(f"{tail} {last}" for tail in ("up", "down") for last in (2, 4, 5, 6, 7))]
    turning = [f"flat {level} 1 {end}" for end in ends for level in (4, 1)]
    assert found[2:24] == turning
    assert found.pop(24) == "flat 2 1 flat 0"  # the value itself
    bodies = ("falls", "slides", "sinks", "rises")
    assert found[24:32] == [f"{body} {level} 1.001 flat 0" for body in bodies for level in (4, 1)]
    assert found[32:36] == ["falls 4 1.001 nan 4", "falls 1 1.001 nan 4", "falls 4 1.001 up 2", "falls 1 1.001 up 2"]
    assert len(found) == 32 + 4 * (1 + 4 * 5) * 2
    assert found[-1] == "rises 1 1.001 level 7"


def test_no_shape_overflows() -> None:
    """A ratio is tried only where its power over the whole stay is a float; a length only where the stay is as long."""
    asked = asked_by({"diverging": {"window": 4, "factor": 2.0}})
    assert {line.split()[2] for line in spelled_shapes(asked, [], 700, 1)} == {"1", "2", "1.001", "12", "48"}
    assert {line.split()[2] for line in spelled_shapes(asked, [], 800, 1)} == {"1", "1.001", "12", "48"}
    assert {line.split()[2] for line in spelled_shapes(asked, [], 10**6, 1)} == {"1", "12", "48"}
    assert {line.split()[4] for line in spelled_shapes(asked, [9], 3, 1)} == {"0", "1", "2", "3"}


def test_ways_to_play_a_stay() -> None:
    """The likeliest first: where evaluations count, with as many as the looks need; else with all or with none."""

    def first(transition: dict[str, Any], most: int = 9, **tables: Any) -> list[tuple[set[str], int, int]]:
        machine = bind(small(transition, lr={"peak": 1.0, "shape": "constant"}, **tables))
        return [
            (set(shapes), evaluated, end)
            for shapes, evaluated, end in islice(_ways(machine, first_of(machine), None), most)
        ]

    acc = {"below": {"metric": "acc", "value": 1.0}}
    assert first({"guards": [FLAT], "sustain": 2}, 2) == [({"loss"}, 0, 0)] * 2
    assert first({"guards": [FLAT], "at": "eval", "sustain": 2}, 4) == [({"loss"}, n, 0) for n in (2, 30, 0, 2)]
    assert first({"guards": [acc], "at": "eval", "sustain": 2}, 4) == [({"acc", "loss"}, n, 0) for n in (2, 30, 0, 2)]
    assert first({"guards": [acc], "sustain": 2}, 4) == [({"acc", "loss"}, n, 0) for n in (0, 30, 3, 2)]
    by_hand = first({"guards": [{"min_epoch": 3}], "at": "epoch", "sustain": 2}, 5, run={"epochs": 9})
    assert by_hand == [({"loss"}, 0, end) for end in (3, 0, 2, 5, 3)]
    more = first({"guards": [{"min_epoch": 40}], "at": "epoch"}, 4, run={"epochs": 99})
    assert more == [({"loss"}, 0, end) for end in (30, 0, 1, 30)]


def test_shapes_of_each_metric() -> None:
    """Counts of non-finite losses shape the loss alone; the metrics are combined, early shapes of each first."""
    acc = {"below": {"metric": "acc", "value": 1.0}}
    machine = bind(small({"guards": [acc, {"nonfinite": 3}]}))
    ways = [shapes for shapes, evaluated, _ in _ways(machine, first_of(machine), None) if evaluated == 0]
    assert {shapes["loss"].tail for shapes in ways} == {"flat", "nan"}
    assert "nan" not in {shapes["acc"].tail for shapes in ways}
    assert [(shapes["acc"].level, shapes["loss"].tail) for shapes in ways[:3]] == [
        (2, "flat"),
        (2, "nan"),
        (0.5, "flat"),
    ]


def test_rows_tell_their_plan() -> None:
    """A row has the step, epoch, state and rate of its plan; without steps_per_epoch, where epochs are closed."""
    rows = played((12, 0), transition={"guards": [{"min_step": 12}]})
    assert rows is not None
    assert [row["epoch"] for row in rows] == [0] * 10 + [1] * 2
    assert [row["lr"] for row in rows] == pytest.approx([1 - step / 100 for step in range(12)])
    rows = played((5, 0), transition={"guards": [{"min_epoch": 2}], "at": "epoch"}, run={"epochs": 9},
                  lr={"peak": 1.0, "shape": "constant"})  # fmt: skip
    assert rows is not None
    assert [row.get("epoch_end", False) for row in rows] == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    ("first", "second", "reached"),
    [
        ({"below": {"value": 2.0}}, {"not": {"above": {"value": 2.0}}}, {"low", "mid", "high"}),  # exactly 2.0
        ({"any": [{"below": {"value": 3.0}}, {"above": {"value": 2.0}}]}, {"dwell": "9 steps"}, {"low", "mid", "high"}),
    ],
    ids=["a value at the level itself", "no finite loss at all"],
)
def test_the_only_loss_that_does_it(first: dict[str, Any], second: dict[str, Any], reached: set[str]) -> None:
    """Kind: two guards that leave one value between them, or none; a loss at the level, or no loss, gets past."""
    ways: list[dict[str, Any]] = [
        {"from": "low", "to": "mid", "guards": [first]},
        {"from": "low", "to": "high", "guards": [second]},
    ]
    report = verify(bind(small(*ways, state=STATES[:3])))
    assert {entry.state for entry in report.entries if entry.earliest is not None} == reached
    assert report.verdict("order").answer == "proved"
    assert report.verdict("reach").answer == "proved"
