"""A rate that follows knobs: `follow` of `[lr]`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plateau_rule import BindingError, Controller, Curriculum, CurriculumError, dumps, loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.drawing import facts
from plateau_rule.controller.edit.difference import difference
from plateau_rule.controller.rate_line import rate_line
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.sim.batch import Batch


def growing(*sizes: float | str, **lr: Any) -> Curriculum:
    """A state for each batch size, left after ten steps with a restart; beside it a length that rises."""
    states = [{"name": f"s{i}", "set": {"batch_size": size, "seq_len": 8 * (i + 1)}} for i, size in enumerate(sizes)]
    way = {"from": "*", "to": "next", "guards": [{"dwell": "10 steps"}], "actions": ["lr_restart"]}
    rate = {"peak": 0.3, "shape": "linear", "length": "40 steps", "follow": {"batch_size": 0.5}}
    batch_size = {"ladder": [1, "full"]} if "full" in sizes else {"order": "none"}
    return Curriculum.model_validate(
        {
            "name": "growing",
            "run": {"epochs": 6, "steps_per_epoch": 10},
            "lr": rate | lr,
            "knob": {
                "batch_size": batch_size,
                "seq_len": {"range": {"min": 8, "max": 64}},
            },
            "state": states,
            "transition": [way] if len(states) > 1 else [],
        }
    )


def rates(curriculum: Curriculum, **binding: Any) -> list[float]:
    """The rate of every step of a run in which the loss is always the same; that of the batch engine is its twin."""
    controller, batch, found = Controller(curriculum, **binding), Batch(curriculum, 1, **binding), []
    while controller.plan.stop is None:
        found.append(controller.plan.lr)
        assert batch.lr().tolist() == found[-1:]
        controller.observe(1.0)
        batch.observe([1.0])
    return found


def test_square_root() -> None:
    """The rate grows with the root of the batch, to the bit as the product that is written down here."""
    found = rates(growing(32, 64, 48))
    for step, rate in enumerate(found):
        place, phase = min(step // 10, 2), min(40, step - 10 * min(step // 10, 2))
        top = 0.3 * 1.0 * 1.0 * ((32, 64, 48)[place] / 32) ** 0.5
        assert rate == top * (0.0 + (1.0 - 0.0) * (1.0 - phase / 40)), step


def test_beside_every_other_factor() -> None:
    """peak · scale · the state's peak · peaks · follow, then not below the lowest; several knobs multiply."""
    curriculum = growing(
        32, 8, length=None, cycles={"first": "5 steps"}, peaks={"factor": 0.5}, lowest=0.05, shape="constant",
        follow={"batch_size": 1.0, "seq_len": -1.0},
    )  # fmt: skip
    expected = [0.3] * 5 + [0.3 * 0.5] * 5 + [max(0.05, 0.3 * 0.5**k * ((8 / 32) * (16 / 8) ** -1.0)) for k in (2, 3)]
    found = rates(curriculum)
    assert found[:10] + found[10:20:5] == pytest.approx(expected, rel=1e-15)
    assert min(found) == 0.05


def test_limits_move_it() -> None:
    """What a trainer clamps, the rate follows as clamped; `full` needs a limit that says how much it is."""
    assert rates(growing(32, 128), limits={"batch_size": 64, "seq_len": 64})[10] == 0.3 * 2**0.5
    assert rates(growing(1, "full"), limits={"batch_size": 64, "seq_len": 64})[10] == 0.3 * 8
    with pytest.raises(BindingError, match="batch_size = full, and the rate follows batch_size; expected a limit"):
        bind(growing(1, "full"))


def test_what_check_draw_and_diff_say() -> None:
    """A raise into the followed peak is aligned, boxes and lines show the moved peak, and an edit of it is an edit."""
    report = verify(bind(growing(32, 64, 128)))
    assert report.verdict("aligned").answer == "proved"
    assert [facts(report.machine.curriculum, state)[-1].split(",")[0] for state in report.machine.curriculum.state] == [
        "lr 0.3", "lr 0.424264", "lr 0.6",
    ]  # fmt: skip
    assert [rate_line(report.machine.curriculum, i)[0][1] for i in (0, 2)] == [0.5, 1.0]
    edits = difference(report.machine, bind(growing(32, 64, 128, follow={"batch_size": 1.0})), budget=1e4).edited
    assert [(edit.what, edit.old, edit.new) for edit in edits] == [("lr.follow.batch_size", 0.5, 1.0)]
    assert "rate-vanishes" not in [finding.code for finding in report.findings]


def test_a_rate_that_stays_low_is_found() -> None:
    """A raise without a restart is judged by the followed peak: the phase decides, not the product."""
    written = growing(32, 128).model_dump(by_alias=True, exclude_unset=True)
    written["transition"][0]["actions"] = []
    finding = next(f for f in verify(bind(Curriculum.model_validate(written))).findings if f.code == "misaligned")
    assert "seq_len rises from 8 to 16 while the rate is at 75 % of the peak" in finding.sentence


def test_it_is_resumed() -> None:
    """A resumed run has the same rates; one under another exponent is told both."""
    controller = Controller(growing(32, 64))
    for _ in range(15):
        controller.observe(1.0)
    saved = json.loads(json.dumps(controller.state_dict()))
    again = Controller(growing(32, 64))
    again.load_state_dict(saved)
    assert again.plan == controller.plan
    edited = Controller(growing(32, 64, follow={"batch_size": 1.0}))
    notes = edited.load_state_dict(saved, on_change="accept")
    assert f"the rate was {controller.plan.lr:.3g} and is {edited.plan.lr:.3g}" in " ".join(notes)
    assert loads(dumps(growing(32, 64))) == growing(32, 64)


REFUSED = [
    ({"follow": {"batchsize": 0.5}}, (32, 64), "unknown-knob"),
    ({"follow": {"batch_size": 0}}, (32, 64), "key-without-effect"),
    ({}, (32, 32), "key-without-effect"),
    ({}, (32, 0), "follow-without-numbers"),
    ({}, (32, -4), "follow-without-numbers"),
]


@pytest.mark.parametrize(("lr", "sizes", "code"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_followed(lr: dict[str, Any], sizes: tuple[float, ...], code: str) -> None:
    """A misspelt knob, one that never changes, one that is not above 0 and an exponent of nothing are faults."""
    with pytest.raises(CurriculumError) as caught:
        growing(*sizes, **lr)
    assert [fault.code for fault in caught.value.faults] == [code]


def test_no_ramp_is_followed() -> None:
    """A knob that the rate follows has no ramp: the factor is worked out once for each state."""
    written = growing(32, 64).model_dump(by_alias=True, exclude_unset=True)
    written["state"][0]["ramp"] = {"batch_size": {"to": 64, "over": "5 steps"}}
    with pytest.raises(CurriculumError, match="a ramp of batch_size, which the rate follows; expected a state"):
        Curriculum.model_validate(written)
