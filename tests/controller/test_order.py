"""Knobs of which smaller values are harder, and knobs without an order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plateau_rule import Controller, Curriculum, CurriculumError, RegressionError, dumps, loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.sim.batch import Batch
from tests.controller.naive import Bound, Naive

FORCING = {"ladder": [1.0, 0.5, 0.0], "order": "down"}
BATCH = {"order": "none"}


def forced(*values: float, knob: dict[str, Any] = FORCING, **transition: Any) -> Curriculum:
    """A state for each value, left after ten steps with a restart; beside it a batch size that goes up and down."""
    states = [{"name": f"s{i}", "set": {"forcing": v, "batch": (32, 64, 16)[i % 3]}} for i, v in enumerate(values)]
    way = {"from": "*", "to": "next", "guards": [{"dwell": "10 steps"}], "actions": ["lr_restart"]}
    return Curriculum.model_validate(
        {
            "name": "forced",
            "run": {"epochs": 5, "steps_per_epoch": 10},
            "lr": {"peak": 1.0, "shape": "constant"},
            "knob": {"forcing": knob, "batch": BATCH},
            "state": states,
            "transition": [way | transition],
        }
    )


def test_smaller_is_harder() -> None:
    """A ladder that falls is climbed downwards: check proves it, decisions name the raise, the batch is in none."""
    curriculum = forced(1.0, 0.5, 0.0)
    report = verify(bind(curriculum))
    assert [report.verdict(name).answer for name in ("monotone", "aligned")] == ["proved", "proved"]
    controller = Controller(curriculum)
    decisions = [d for d in (controller.observe(1.0) for _ in range(50)) if d is not None]
    assert [(d.knobs["forcing"], d.raises) for d in decisions] == [(0.5, ("forcing",)), (0.0, ("forcing",))]
    assert loads(dumps(curriculum)) == curriculum


def test_easier_again_is_a_fall() -> None:
    """A knob that gets easier upwards needs `regress`; a batch size that is smaller again does not."""
    finding = next(f for f in verify(bind(forced(0.5, 1.0))).findings if f.code == "knob-falls")
    assert finding.sentence.startswith("forcing gets easier, and rises from 0.5 to 1.0")
    assert finding.counterexample is not None
    assert finding.counterexample.happened
    assert "idle-regress" not in [f.code for f in verify(bind(forced(0.5, 1.0, regress=True, at_most=1))).findings]


def test_a_rate_that_is_low_at_such_a_raise() -> None:
    """A raise downwards into a low rate is misaligned, in words that say which way is harder."""
    curriculum = forced(1.0, 0.5, actions=[])
    written = curriculum.model_dump(by_alias=True, exclude_unset=True) | {"lr": {"peak": 1.0, "length": "20 steps"}}
    found = verify(bind(Curriculum.model_validate(written))).findings
    sentence = next(f.sentence for f in found if f.code == "misaligned")
    assert sentence.startswith("forcing gets harder, and falls from 1.0 to 0.5 while the rate is at 50 %")


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        ({"range": {"min": 0.0, "max": 1.0}, "order": "down"}, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]),
        ({"ladder": [1.0, 0.5, 0.0], "order": "down"}, [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0]),
        ({"range": {"min": 0.0, "max": 1.0, "multiple_of": 0.25}, "order": "down"},
         [1, 1, 1, 0.75, 0.75, 0.5, 0.5, 0.5, 0.25, 0.25, 0]),
    ],
    ids=["range", "ladder", "multiples"],
)  # fmt: skip
def test_ramps_fall(knob: dict[str, Any], expected: list[float]) -> None:
    """A ramp of such a knob falls, by what it passed last; the batch engine plans the same values."""
    written = forced(1.0, 1.0, knob=knob).model_dump(by_alias=True, exclude_unset=True)
    written["state"][0]["ramp"] = {"forcing": {"to": 0.0, "over": "10 steps"}}
    curriculum = Curriculum.model_validate(written | {"transition": []})
    controller, batch, found = Controller(curriculum), Batch(curriculum, 1), []
    for _ in expected:
        found.append(float(controller.plan.knobs["forcing"]))
        assert batch.knob("forcing").tolist() == found[-1:]
        controller.observe(1.0)
        batch.observe([1.0])
    assert found == pytest.approx(expected)


def test_no_resume_makes_it_easier() -> None:
    """An edit that gives such a knob a larger value is refused on a resume; one of a knob without an order is not."""
    before = Controller(forced(1.0, 0.5, 0.0))
    for _ in range(25):
        before.observe(1.0)
    saved = json.loads(json.dumps(before.state_dict()))
    assert saved["floors"] == {"forcing": 0.0}
    eased = Controller(forced(1.0, 0.5, 0.5))
    with pytest.raises(RegressionError, match=r"sets forcing = 0\.5, and the run was already at 0"):
        eased.load_state_dict(saved, on_change="accept")
    written = forced(1.0, 0.5, 0.0).model_dump(by_alias=True, exclude_unset=True)
    written["state"][2]["set"]["batch"] = 8
    smaller = Controller(Curriculum.model_validate(written))
    smaller.load_state_dict(saved, on_change="accept")
    assert smaller.plan.knobs["batch"] == 8


@pytest.mark.parametrize(
    ("edits", "refused"),
    [
        ([("up", 6), ("none", 2), ("up", 4)], ()),
        ([("up", 6), ("none", 2), ("up", 1), ("up", 0.5)], (3,)),
        ([("up", 6), ("down", 6), ("down", 8)], (2,)),
        ([("up", 6), ("down", 8), ("down", 4), ("up", 3), ("up", 5)], (1, 3)),
        ([("down", 4), ("up", 3), ("none", 3), ("down", 9)], (1,)),
    ],
    ids=["forgotten", "anew", "turned", "turned-twice", "turned-and-forgotten"],
)
def test_an_edited_order(edits: list[tuple[str, float]], refused: tuple[int, ...]) -> None:
    """An edit to no order forgets the floor for good; an edit that turns the order keeps the value that was reached."""

    def edited(order: str, value: float) -> Bound:
        knob = {"range": {"min": 0.0, "max": 9.0}, "order": order}
        return Bound(forced(value, value, knob=knob), None, (5, 10, None))

    bound = edited(*edits[0])
    controller, naive = Controller(bound.curriculum), Naive(bound)
    for place, edit in enumerate(edits[1:], 1):
        controller.observe(1.0)
        naive.observe({"loss": 1.0})
        bound = edited(*edit)
        other = Controller(bound.curriculum)
        if place in refused:
            with pytest.raises(RegressionError, match="a knob never falls"):
                other.load_state_dict(controller.state_dict(), on_change="accept")
            with pytest.raises(LookupError, match="would fall"):
                naive.edit(bound, True)
        else:
            other.load_state_dict(controller.state_dict(), on_change="accept")
            naive.edit(bound, True)
            controller = other
        assert controller.plan.knobs == naive.plans[-1][3]


def test_adoption_never_enters_an_easier_state() -> None:
    """A run whose knobs are known enters the first state that is as hard, downwards; one whose are not, the hardest."""
    for known, state in (({"forcing": 0.5}, "s1"), ({"forcing": 0.4}, "s2"), (None, "s2")):
        controller = Controller(forced(1.0, 0.5, 0.0))
        controller.adopt(step=30, knobs=known)
        assert controller.plan.state == state


REFUSED = [
    ({"ladder": [0.0, 0.5, 1.0], "order": "down"}, "ladder-order"),
    ({"ladder": [1.0, 0.5, 0.0]}, "ladder-order"),
    ({"ladder": [1.0, "full"], "order": "none"}, "full-without-up"),
    ({"range": {"min": 0, "max": "full"}, "order": "down"}, "full-without-up"),
    ({"ladder": [1.0, 0.5, 1.0, 0.0], "order": "none"}, "ladder-order"),
    ({"order": "down"}, "knob-values"),
]


@pytest.mark.parametrize(("knob", "code"), REFUSED, ids=range(len(REFUSED)))
def test_what_has_no_order_is_refused(knob: dict[str, Any], code: str) -> None:
    """A ladder against its order, a value twice, and `full` where larger is not harder are faults."""
    with pytest.raises(CurriculumError) as caught:
        forced(1.0, 1.0, knob=knob)
    assert code in [fault.code for fault in caught.value.faults]
