"""What a curriculum means, apart from how it is spelled: what changes a fingerprint, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from plateau_rule import Controller, Curriculum
from plateau_rule.controller.language.fingerprint import canonical, fingerprints, transition_keys
from plateau_rule.sim.strategies import curricula
from tests.controller.small import STATES, small

GOLDEN = Path(__file__).parents[1] / "golden" / "meaning.json"
WAY: dict[str, Any] = {"guards": ["flat", {"dwell": "500 steps"}], "actions": ["lr_restart", {"lr_scale": 0.5}]}
RATE: dict[str, Any] = {"peak": 1.0, "length": "1000 steps"}
FLAT: dict[str, Any] = {"plateau": {"window": 50}}


def whole(**tables: Any) -> Curriculum:
    """A curriculum with something of everything."""
    return small(WAY, **{"lr": RATE, "guard": {"flat": FLAT}} | tables)


def way(**keys: Any) -> dict[str, Any]:
    """The tables of `whole`, with its transition changed."""
    return {"transition": [{"from": "*", "to": "next"} | WAY | keys]}


def flat(**keys: Any) -> dict[str, Any]:
    """The tables of `whole`, with its plateau changed."""
    return {"guard": {"flat": {"plateau": {"window": 50} | keys}}}


def low(**keys: Any) -> dict[str, Any]:
    """The tables of `whole`, with its first state changed."""
    return {"state": [STATES[0] | keys, *STATES[1:]]}


@pytest.mark.parametrize(
    "tables",
    [
        {"name": "other", "description": "words", "run": {"epochs": 3}, "check": {"waive": {"aligned": "by design"}}},
        {"knob": {"cutoff": {"unit": "bins", "ladder": [1.0, 2, 4, 8]}}},
        {"lr": {"length": "1_000 steps", "peak": 1}},
        {"lr": RATE | {"length": "1e3 steps", "shape": "cosine", "floor": 0, "rewarm": False}},
        {"nonfinite": {"limit": 25}},
        {"guard": {"still": FLAT}} | way(guards=["still", {"dwell": "5e2 steps"}]),
        {"guard": {}} | way(guards=[FLAT, {"dwell": "500 steps"}]),
        way(at="step", sustain=1, regress=False),
        flat(threshold=5e-3, metric="loss", method="halves", per="window"),
        low(lr={}),
        low(lr={"peak": 1.0}),
        low(ramp={}),
    ],
)
def test_spelling_is_no_meaning(tables: dict[str, Any]) -> None:
    """Words for people, [run], [check], spellings, defaults written out and names of guards change no fingerprint."""
    assert fingerprints(whole(**tables)) == fingerprints(whole())


@pytest.mark.parametrize(
    ("tables", "states"),
    [
        ({"lr": RATE | {"peak": 2.0}}, ""),
        ({"lr": RATE | {"floor": 0.1}}, ""),
        ({"lr": RATE | {"length": "999 steps"}}, ""),
        ({"nonfinite": {"limit": 24}}, ""),
        ({"knob": {"cutoff": {"ladder": [1, 2, 4, 8, 16]}}}, ""),
        (flat(window=51), "low mid high"),
        (flat(threshold=0.004), "low mid high"),
        (flat(metric="val_loss"), "low mid high"),
        (flat(per="100 steps"), "low mid high"),
        (way(at="epoch"), "low mid high"),
        (way(sustain=2), "low mid high"),
        (way(at_most=2), "low mid high"),
        (way(regress=True), "low mid high"),
        (way(actions=[{"lr_scale": 0.5}, "lr_restart"]), "low mid high"),
        (way(guards=["flat"]), "low mid high"),
        (way(name="up"), "low mid high"),
        ({"transition": [*way()["transition"], {"from": "mid", "to": "top"}]}, "mid"),
        (low(lr={"peak": 0.5}), "low"),
        (low(stop="done"), "low"),
        (low(ramp={"cutoff": {"to": 2, "over": "5 steps"}}), "low"),
    ],
)
def test_what_a_fingerprint_tells(tables: dict[str, Any], states: str) -> None:
    """Whatever changes a run changes the fingerprint of the whole, and those of the states that it concerns."""
    before, states_before = fingerprints(whole())
    after, states_after = fingerprints(whole(**tables))
    assert before != after
    assert [name for name in states_before if states_before[name] != states_after[name]] == states.split()


def test_every_way_of_writing_from_is_the_same_for_a_state() -> None:
    """A state's fingerprint tells where its transitions lead, not whether they were written for it alone."""
    named: dict[str, Any] = {"name": "up"}
    _, star = fingerprints(small(named))
    _, listed = fingerprints(small(named | {"from": ["low", "mid", "high"]}))
    _, single = fingerprints(small(named | {"from": "low", "to": "mid"}))
    assert star == listed
    assert single["low"] == star["low"]
    assert single["mid"] != star["mid"]


def everything() -> Curriculum:
    """A curriculum with every kind of key, some by their defaults."""
    return small(
        {"name": "up", "guards": ["flat", {"any": [{"dwell": "1_000 steps"}, {"not": "high-acc"}]}], "at": "epoch",
         "sustain": 2, "at_most": 3, "actions": ["lr_restart", {"lr_scale": 1}, {"signal": "up"}, "checkpoint"]},
        {"from": ["low", "mid"], "to": "top", "guards": [{"all": ["gap", {"nonfinite": 3}, {"min_epoch": 1}]}]},
        {"from": "low", "to": "mid", "guards": [{"ramp_done": "length"}]},
        {"from": "top", "to": "low", "regress": True},
        lr={"peak": 1, "cycles": ["1e3 steps", "0.5 run", "rest"], "warmup": "1.0 epochs", "rewarm": True},
        knob={"length": {"unit": "tokens", "ladder": [1, 2, 4, "full"]}},
        state=[
            {"name": "low", "set": {"length": 1}, "ramp": {"length": {"to": 2, "over": "2 epochs"}}},
            {"name": "mid", "set": {"length": 2}, "lr": {"peak": 0.5, "shape": "wsd", "decay": 0.25}},
            {"name": "high", "set": {"length": 4}, "lr": {"floor": 0.125}},
            {"name": "top", "set": {"length": "full"}},
        ],
        guard={
            "flat": {"plateau": {"method": "trend", "threshold": 0.02, "per": "1e3 steps"}},
            "high-acc": {"above": {"metric": "acc", "value": 3}},
            "gap": {"gap": {"over": "1 epoch", "value": 1e-3}},
        },
        nonfinite={"limit": 9},
    )  # fmt: skip


def test_the_form_of_a_meaning() -> None:
    """What is hashed stays what it is, to the letter: checkpoints that were saved long ago hang on it."""
    curriculum = everything()
    whole, states = fingerprints(curriculum)
    found = {"canonical": canonical(curriculum), "whole": whole, "states": states}
    assert json.loads(json.dumps(found)) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_counters_are_named_by_what_is_written() -> None:
    """A transition is counted under its name, else under where it leads; a second one of a kind is told apart."""
    curriculum = small({}, {"name": "up"}, {"from": ["low", "mid"], "to": "next"}, {}, {"from": "low", "to": "top"})
    assert transition_keys(curriculum) == ["*>next", "up", "low,mid>next", "*>next#2", "low>top"]


@settings(max_examples=settings().max_examples // 2)
@given(curricula(open_runs=True))
def test_writing_out_every_default_is_no_edit(curriculum: Curriculum) -> None:
    """A drawn curriculum with the defaults of its rate, states and transitions written out means what it meant."""
    written = curriculum.model_dump(by_alias=True, exclude_unset=True)
    dumped = curriculum.model_dump(by_alias=True)
    written["nonfinite"] = dumped["nonfinite"]
    written["lr"] |= {key: dumped["lr"][key] for key in ("shape", "floor", "rewarm") if written["lr"].get("warmup")}
    for state, full in zip(written["state"], dumped["state"], strict=True):
        state["lr"] = {"peak": full["lr"]["peak"]} | state.get("lr", {})
    for transition, full in zip(written["transition"], dumped["transition"], strict=True):
        transition |= {
            key: full[key] for key in ("at", "sustain", "regress", "guards", "actions") if key not in transition
        }
    assert Controller(Curriculum.model_validate(written)).fingerprint == Controller(curriculum).fingerprint


if __name__ == "__main__":  # writes the golden file anew, for another format
    one, each = fingerprints(everything())
    meaning = {"canonical": canonical(everything()), "whole": one, "states": each}
    GOLDEN.write_text(json.dumps(meaning, indent=1) + "\n", encoding="utf-8")
