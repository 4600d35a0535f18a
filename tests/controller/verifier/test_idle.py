"""What can make no difference in a curriculum, and what is said of it; whole reports are in tests/machines."""

from __future__ import annotations

from typing import Any

import pytest

from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.idle import _alike
from plateau_rule.controller.verifier.verify import verify
from tests.controller.small import small

FLAT = {"plateau": {"window": 4}}
UP: dict[str, Any] = {"actions": ["lr_restart"]}
PAST = "lies at or past the end of the run of 100 steps"
RATE = {"peak": 1.0, "shape": "constant"}


def said(*transitions: dict[str, Any], **tables: Any) -> list[tuple[str, str]]:
    """The codes and sentences about guards and transitions."""
    report = verify(bind(small(*transitions, **{"lr": RATE, **tables})))
    return [(f.code, f.sentence) for f in report.findings if f.property in ("order", "names")]


def test_a_named_guard() -> None:
    """A guard that is named is called by its name, and not looked into."""
    assert said({"guards": ["early", FLAT]}, guard={"early": {"any": [{"min_step": 1}, {"min_step": 50}]}}) == [
        ("always-true", 'the guard "early" is always true when it is looked at'),
    ]  # fmt: skip
    assert said({"guards": ["late"]}, {"guards": [FLAT]}, guard={"late": {"min_step": 200}}) == [
        ("never-true", 'the guard "late" can never be true: step 200 lies at or past the end of the run of 100 steps'),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("guard", "sentence"),
    [
        ({"min_step": 100}, f"min_step = 100 can never be true: step 100 {PAST}"),
        ({"min_epoch": 10}, f"min_epoch = 10 can never be true: step 100 {PAST}"),
        ({"dwell": "100 steps"}, 'dwell = "100 steps" can never be true: it takes 100 steps in the state, '
                                 "and the run has 100 steps"),
        ({"plateau": {"window": 200}}, "plateau can never be true: it takes 200 values in the state, "
                                       "and the run has 100 steps"),
        ({"nonfinite": 26}, "nonfinite = 26 can never be true: after 25 such losses in a row the run is given up"),
        ({"not": {"min_step": 1}}, "not min_step = 1 can never be true"),
        ({"all": [{"min_step": 9}, {"not": {"min_step": 9}}]}, "all can never be true"),
    ],
)  # fmt: skip
def test_never_true(guard: dict[str, Any], sentence: str) -> None:
    """A guard that is never true is named with its number, and with what there is too little of."""
    assert ("never-true", sentence) in said({"guards": [guard]}, {"guards": [FLAT]})


def test_never_true_late_in_the_run() -> None:
    """In a state that is entered late the reason tells from when on; without another way out, the state is blamed."""
    up = {"from": "low", "to": "mid", "guards": [{"min_step": 45}]}
    late = {"from": "mid", "to": "high", "guards": [{"plateau": {"window": 60}}]}
    why = "it takes 60 values in the state, and it is entered at step 45 of 100 at the earliest"
    why = f"plateau can never be true: {why}"
    assert ("never-true", why) in said(up, late, {"from": "mid", "to": "top", "guards": [{"dwell": "20 steps"}]})
    report = verify(bind(small(up, late, {"from": "high", "to": "top"}, lr=RATE)))
    assert [(f.code, f.sentence) for f in report.findings] == [
        ("too-late", f'state "mid" cannot be left within the run, so "high" and "top" are never entered: {why}'),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "step", "dwell"),
    [
        ("step", "its states are always left before step 35", "the state never lasts that long"),
        ("epoch", "it is not looked at from step 35 on", "it is never looked at so late"),
    ],
)
def test_never_true_before_the_timeout(at: str, step: str, dwell: str) -> None:
    """Where a timeout ends every stay, what lies behind it is never seen; at epochs' ends, what is never looked at."""
    timeout = {"from": "low", "to": "high", "guards": [{"min_step": 34}]}
    found = said({"from": "low", "to": "mid", "at": at, "guards": [FLAT, {"min_step": 35}]}, timeout)
    assert found[0] == ("never-true", f"min_step = 35 can never be true: {step}")
    found = said({"from": "low", "to": "mid", "at": at, "guards": [FLAT, {"dwell": "35 steps"}]}, timeout)
    assert found[0] == (
        "never-true",
        f'dwell = "35 steps" can never be true: it takes 35 steps in the state, and {dwell}',
    )


def test_no_reason_without_a_run() -> None:
    """Where the run's length is not known, no reason is given that would need it."""
    found = said({"from": "low", "to": "high", "guards": [{"dwell": "9 steps"}]},
                 {"from": "low", "to": "mid", "guards": [{"dwell": "20 steps"}]}, run={})  # fmt: skip
    assert ("never-true", 'dwell = "20 steps" can never be true') in found


def test_parts_are_blamed() -> None:
    """Inside any, all and not it is the part at fault that is told, wherever it stands, once."""
    never, always = {"min_step": 200}, {"min_step": 1}
    low = {"below": {"value": 1.0}}

    def paths(guard: dict[str, Any]) -> list[tuple[str, tuple[Any, ...]]]:
        report = verify(bind(small({"guards": [guard, FLAT]}, {"guards": [FLAT]}, lr=RATE)))
        return [(f.code, f.path[4:]) for f in report.findings if f.code in ("never-true", "always-true")]

    assert paths({"any": [low, never]}) == [("never-true", ("any", 1))]
    assert paths({"any": [low, always]}) == [("always-true", ("any", 1))]
    assert paths({"all": [low, always]}) == [("always-true", ("all", 1))]
    assert paths({"all": [always, never, low]}) == [("always-true", ("all", 0)), ("never-true", ("all", 1))]
    assert paths({"not": {"any": [low, always]}}) == [("always-true", ("not", "any", 1))]
    assert paths({"not": {"not": {"any": [low, always]}}}) == [("always-true", ("not", "not", "any", 1))]
    assert paths({"not": {"all": [low, {"any": [low, never]}]}}) == [("never-true", ("not", "all", 1, "any", 1))]
    assert paths({"not": never}) == [("always-true", ())]
    assert paths({"any": [{"not": always}, low]}) == [("never-true", ("any", 0))]


def test_shadowed_by_several() -> None:
    """What several transitions beat together is shadowed, though none of them does so alone."""
    low = {"below": {"value": 1.0}}
    transitions = (
        {"from": "low", "to": "mid", "guards": [low]},
        {"from": "low", "to": "mid", "guards": [{"not": low}]},
        {"from": "low", "to": "high", "guards": [{"any": [low, {"not": low}]}]},
    )
    found = said(*transitions)[0]
    assert found == (
        "shadowed",
        "transition 3 is never taken: whenever it could be, a transition that stands before it is",
    )
    finding = next(f for f in verify(bind(small(*transitions, lr=RATE))).findings if f.code == "shadowed")
    assert (finding.path, finding.suggestion) == (("transition", 2), "Write the narrower transition first")


def test_shadowed_by_name() -> None:
    """The transition that beats another one is called by its name."""
    assert said({"name": "wide", "guards": [FLAT]}, {"name": "narrow", "guards": [FLAT, {"min_step": 20}]}) == [
        ("shadowed", "narrow is never taken: whenever it could be, wide is, which stands before it"),
    ]  # fmt: skip


def test_metrics_that_look_alike() -> None:
    """Names that differ by a slip are asked about, and those that differ by a number are not."""
    assert _alike("vall_loss", "val_loss")
    assert _alike("Val_Loss", "val_loss")
    assert not _alike("acc", "val_loss")
    assert not _alike("val_loss_2", "val_loss_1")
    los = said({"guards": [{"below": {"metric": "los", "value": 1.0}}]})
    assert ("odd-metric", 'the metric "los" looks like "loss"') in los
    tops = said({"guards": [{"below": {"metric": "top1", "value": 1.0}}, {"above": {"metric": "top5", "value": 1.0}}]})
    assert "odd-metric" not in {code for code, _ in tops}


def test_unused_rungs_of_a_ramp() -> None:
    """A ladder that a ramp climbs is used, rung by rung."""
    states = [{"name": "low", "set": {"cutoff": 1}}, {"name": "top", "set": {"cutoff": 8}}]
    assert said({"guards": [FLAT]}, state=states) == [
        ("unused-rung", "no state sets cutoff = 2"), ("unused-rung", "no state sets cutoff = 4"),
    ]  # fmt: skip
    states[0]["ramp"] = {"cutoff": {"to": 8, "over": "20 steps"}}
    assert said({"guards": [FLAT]}, state=states) == []
