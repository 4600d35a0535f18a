"""Each statement of a difference is brought about by the Controller: entries as early and late as told, knobs, logs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Any

import pytest

from plateau_rule import Binding, Controller, Machine
from plateau_rule.commands import app as plateau
from plateau_rule.controller.edit.difference import difference
from plateau_rule.controller.language.writing import dumps
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS, Budget
from plateau_rule.controller.verifier.explored import explore
from plateau_rule.controller.verifier.findings import Report, visits_of
from plateau_rule.controller.verifier.trails import trail
from plateau_rule.controller.verifier.witness import Player
from tests.controller.edit.test_difference import PAIRS, SHORT, machines, run_of

TREND_APART = 10  # losses between two looks of a trend with a window of this length
STREAMS = 12  # of losses that nobody chose


def losses(seed: int) -> Iterator[float]:
    """Stretches that fall, stay or rise, each with noise of its own."""
    chosen = random.Random(seed)
    loss = 3.0
    while True:
        slope, noise = chosen.choice([-0.01, -0.002, 0.0, 0.0, 0.001]), chosen.choice([0.0, 0.0, 0.01, 0.1])
        for _ in range(chosen.choice([60, 150, 400])):
            loss = max(0.1, loss + slope)
            yield max(0.01, loss + chosen.gauss(0.0, noise))


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_entries_are_reached(name: str) -> None:
    """Each state of both files is entered on the earliest and on the latest step that is told, by losses that do it.

    What is told is a bound: a trend looks at every tenth loss, and cannot say that it is flat between them.
    """
    found = difference(*machines(name), budget=MOST_CONFIGURATIONS)
    for report in (found.old, found.new):
        machine, reach = report.machine, explore(report.machine).by_run
        apart = TREND_APART if "trend" in machine.curriculum.name else 1
        for entry in report.entries[1:]:
            nodes = [node for node in reach.nodes if reach.state(node).name == entry.state]
            assert (entry.earliest is None) == (not nodes)
            if entry.earliest is not None and entry.latest is not None:
                assert is_entered(machine, entry.state, entry.earliest), entry
                assert is_entered(machine, entry.state, entry.latest // apart * apart), entry


def is_entered(machine: Machine, state: str, step: int) -> bool:
    """Whether losses are found under which the Controller enters a state on a step."""
    reach = explore(machine).by_run
    for node in reach.nodes:
        if reach.state(node).name == state and node.zone.entry_low <= step <= node.zone.entry_high:
            taken = trail(reach, node, step, None)
            if taken is None:
                continue
            player, visits = Player(machine), visits_of(machine, taken, step)
            played = player.play(visits, Budget(inf))
            run = player.controller
            if played is not None and (run.plan.state, run.plan.step) == (state, step):
                return True
            if player.play(visits[:-1], Budget(inf)) is not None and settles(run, step):
                return True
    return False


def settles(controller: Controller, step: int) -> bool:
    """Whether a loss that falls and then stays, from some step on, brings a transition that applies from a step."""
    before = controller.run_state.copy()
    low, high = before.step, step
    while low < high:
        middle = (low + high) // 2
        controller.run_state = before.copy()
        loss, decision = 1.0, None
        while decision is None and controller.plan.stop is None:
            loss *= 0.98 if controller.plan.step < middle else 1.0
            decision = controller.observe(loss)
        if decision is not None and decision.step == step:
            return True
        low, high = (middle + 1, high) if decision is not None and decision.step < step else (low, middle)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_under_losses_that_nobody_chose(name: str) -> None:
    """Entries, knobs and rates are within what is told; what is bound to be entered is; what may stay away can."""
    found = difference(*machines(name), budget=MOST_CONFIGURATIONS)
    for report in (found.old, found.new):
        for seed in range(STREAMS):
            entered = followed(report, run_of(report.machine), losses(seed))
            assert {entry.state for entry in report.entries if entry.certain} <= entered
        falling = followed(report, run_of(report.machine), (1e9 * 0.98**step for step in range(10**6)))
        assert {entry.state for entry in report.entries if not entry.certain} & falling == set()


def followed(report: Report, controller: Controller, stream: Iterator[float]) -> set[str]:
    """Follow a run to its end, hold each transition against a report, and return the states that were entered."""
    entries = {entry.state: entry for entry in report.entries}
    told = {(one.transition.source, one.transition.target): one for one in report.raises}
    entered, before = {controller.plan.state}, controller.plan.knobs
    while controller.plan.stop is None:
        decision = controller.observe(next(stream))
        if decision is not None and decision.step < (controller.total_steps or 0):
            entry, now = entries[decision.to_state], controller.plan.knobs
            assert entry.earliest is not None
            assert entry.latest is not None
            assert entry.earliest <= decision.step <= entry.latest
            raised = {knob: (was, now[knob]) for knob, was in before.items() if now[knob] != was}
            one = told.get((decision.from_state, decision.to_state))
            named = one.knobs if one else {}
            assert as_turned(raised, report.machine) == as_turned(named, report.machine)
            entered.add(decision.to_state)
        before = controller.plan.knobs
    return entered


def as_turned(knobs: Mapping[str, tuple[Any, ...]], machine: Machine) -> dict[str, tuple[Any, ...]]:
    """Knobs before and after a raise, `full` as the limit that it is bound to."""
    limits = machine.limits or {}
    return {knob: tuple(limits[knob] if value == "full" else value for value in pair) for knob, pair in knobs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_over_a_log(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over a log, the transitions of both files are those that the Controller takes, fed with the losses of the log."""
    monkeypatch.chdir(tmp_path)
    stream = losses(7)
    logged = [round(next(stream), 6) for _ in range(2000)]
    Path("log.csv").write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in enumerate(logged)))
    for file, machine in zip(("old.toml", "new.toml"), machines(name), strict=True):
        Path(file).write_text(dumps(machine.curriculum), encoding="utf-8")
    options = ["--epochs", "20", "--steps-per-epoch", "100", "--log", "log.csv", "--json"]
    knobs = machines(name)[0].curriculum.knob
    limits = [word for k, most in SHORT["limits"].items() if k in knobs for word in ("--limit", f"{k}={most}")]
    assert plateau.main(["diff", "old.toml", "new.toml", *options, *limits]) == 0
    told = json.loads(capsys.readouterr().out)["log"]
    for side, machine in zip(("old", "new"), machines(name), strict=True):
        controller = Controller(machine.curriculum, Binding(**SHORT))
        taken = [decision for loss in logged if (decision := controller.observe(loss)) is not None]
        assert [(d.step, d.from_state, d.to_state) for d in taken] == [
            (row["step"], row["from"], row["to"]) for row in told[side]
        ]
