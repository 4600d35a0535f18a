"""What an edit means: ten pairs of a shipped file and an edited one, each statement held against the Controller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plateau_rule import Binding, Controller, CurriculumError, Machine, bind, load, loads
from plateau_rule.controller.edit.difference import Difference, as_dict, difference, in_words
from plateau_rule.controller.edit.resuming import Resumption
from plateau_rule.controller.errors import SnapshotError
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS

SHORT: dict[str, Any] = {"epochs": 20, "steps_per_epoch": 100, "limits": {"cutoff": 1025, "seq_len": 1024}}
WAIT = ('guards  = [{ min_epoch = 2 }, "flat"]', 'guards  = [{ min_epoch = 4 }, "flat"]')

# A shipped file, what is replaced in it, and words that the difference must say.
PAIRS: dict[str, tuple[str, list[tuple[str, str]], list[str]]] = {
    "a later first raise": ("plateau", [WAIT],
                            ["guards.min_epoch: 2 -> 4", "words: step 200 to 1900, or never -> step 400"]),
    "a longer rate": ("plateau", [('length = "3 epochs"', 'length = "5 epochs"')], ["lr.length: 3 epochs -> 5 epochs"]),
    "no restart": (
        "plateau", [('actions = ["lr_restart"]', "actions = []")], ["aligned: proved -> broken: cutoff rises from 128"],
    ),
    "a timeout": (
        "plateau",
        [(WAIT[0], 'guards = [{ any = ["flat", { dwell = "3 epochs" }] }]')],
        ["escape: conditional -> proved"],
    ),
    "a state that is renamed": (
        "plateau", [('name = "words"', 'name = "word"')],
        ['state "words" is gone', 'words: is refused', 'adopt would enter "word"'],
    ),
    "a harder state": ("plateau", [("set  = { cutoff = 128 }", "set  = { cutoff = 256 }")],
                       ['state "syntax", set.cutoff: 128 -> 256', "syntax: goes on with cutoff 128 -> 256"]),
    "an easier state": ("plateau", [("set  = { cutoff = 512 }", "set  = { cutoff = 256 }")],
                        ["spelling: is refused", "a knob never falls on a resume"]),
    "a higher threshold": ("plateau-trend", [("threshold = 0.02", "threshold = 0.2")],
                           ["plateau.threshold: 0.02 -> 0.2"]),
    "half the rate": ("half-rate-on-raise", [("lr_scale = 0.5", "lr_scale = 0.25")], ["0.5", "0.25"]),
    "a comment": ("plateau", [("# characters and spaces", "# letters")], ["nothing changed"]),
}  # fmt: skip


def machines(name: str) -> tuple[Machine, Machine]:
    """A shipped file and its edit, bound alike to a short run."""
    file, replaced, _ = PAIRS[name]
    text = edited = shipped()[file].read_text(encoding="utf-8")
    for old, new in replaced:
        assert old in edited, (file, old)
        edited = edited.replace(old, new)
    return bind(loads(text), Binding(**SHORT)), bind(loads(edited), Binding(**SHORT))


def said(found: Difference) -> str:
    """All lines as one, so that it does not matter where they are broken."""
    return " ".join(" ".join(in_words(found, "old.toml", "new.toml")).split())


def run_of(machine: Machine) -> Controller:
    """A Controller of a machine."""
    return Controller(machine.curriculum, Binding(**SHORT))


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_said_happens(name: str) -> None:
    """Entries, rates, verdicts and resumes, each as the Controller does it under a loss that stays flat."""
    old, new = machines(name)
    found = difference(old, new, budget=MOST_CONFIGURATIONS)
    text = said(found)
    for words in PAIRS[name][2]:
        assert words in text
    assert all(len(line) <= 80 for line in in_words(found, "old.toml", "new.toml"))
    saved: dict[str, Any] = {}
    for machine, report in ((old, found.old), (new, found.new)):
        controller, entries = run_of(machine), {entry.state: entry for entry in report.entries}
        shares = {(r.transition.source, r.transition.target): r.after for r in report.raises}
        while controller.plan.stop is None:
            if machine is old:
                saved.setdefault(controller.plan.state, controller.state_dict())
            decision = controller.observe(1.0)
            if decision is None or decision.step == controller.total_steps:
                continue
            entry = entries[decision.to_state]
            assert entry.earliest is not None
            assert entry.earliest <= decision.step <= (entry.latest or decision.step)
            low, high = shares.get((decision.from_state, decision.to_state), (0.0, 1e9))
            peak = machine.peak * controller.run_state.rate.scale * controller.run_state.state.rate.peak
            assert low - 1e-9 <= controller.plan.lr / peak <= high + 1e-9
        for finding in report.findings:
            assert finding.severity != "error" or (finding.counterexample and finding.counterexample.happened)
    for one in found.resumed:
        if one.state in saved:
            resumed_as_said(one, run_of(new), saved[one.state])


def resumed_as_said(one: Resumption, controller: Controller, state: dict[str, Any]) -> None:
    """What a Controller saved in a state is loaded by the new one, or refused, as is said."""
    if not one.goes_on:
        with pytest.raises(SnapshotError) as caught:
            controller.load_state_dict(state, on_change="accept")
        assert str(caught.value) == one.why
        return
    controller.load_state_dict(state, on_change="accept" if one.accept else "refuse")
    before, now = state["plan"]["knobs"], controller.plan.knobs
    assert {n: (a, b) for n, a, b in one.knobs} == {n: (v, now[n]) for n, v in before.items() if now[n] != v}


@pytest.mark.parametrize("name", ["a later first raise", "a state that is renamed"])
def test_the_earliest_entry_is_reached(name: str) -> None:
    """Under a flat loss the edited file enters each state as early as is said, and under a falling one never."""
    _, new = machines(name)
    found = difference(*machines(name), budget=MOST_CONFIGURATIONS)
    controller, entered = run_of(new), {}
    while controller.plan.stop is None:
        if (decision := controller.observe(1.0)) is not None:
            entered[decision.to_state] = decision.step
    assert entered == {entry.state: entry.earliest for entry in found.new.entries[1:]}
    controller, loss = run_of(new), 1e9
    while controller.plan.stop is None:
        loss *= 0.98
        assert controller.observe(loss) is None
    assert not any(entry.certain for entry in found.new.entries[1:])


def test_as_data() -> None:
    """As JSON: both sides, whether they are the same, and each change."""
    found = difference(*machines("a longer rate"), budget=MOST_CONFIGURATIONS)
    data = json.loads(json.dumps(as_dict(found, "a", "b")))
    assert (data["old"]["file"], data["new"]["file"], data["same"]) == ("a", "b", False)
    assert data["edited"] == [{"what": "lr.length", "old": "3 epochs", "new": "5 epochs"}]
    assert [one["goes_on"] for one in data["resumed"]] == [True] * 4


def test_a_metric_that_a_guard_comes_to_watch() -> None:
    """A metric that only one of the two files watches is told, whichever of them it is."""
    text = shipped()["plateau"].read_text(encoding="utf-8") + '\n[metric.acc]\ngoal = "max"\n'
    texts = text, text.replace('"flat"]', '"flat", { above = { metric = "acc", value = 0.5 } }]')
    unwatched, watched = (bind(loads(one), Binding(**SHORT)) for one in texts)
    assert "metrics of evaluations that no guard watches: acc -> not said" in said(
        difference(unwatched, watched, budget=MOST_CONFIGURATIONS)
    )
    assert "metrics of evaluations that no guard watches: not said -> acc" in said(
        difference(watched, unwatched, budget=MOST_CONFIGURATIONS)
    )


def test_two_that_do_not_fit() -> None:
    """A limit below a ladder is refused for both alike."""
    with pytest.raises(CurriculumError):
        bind(load("plateau"), Binding({"cutoff": 4}))
