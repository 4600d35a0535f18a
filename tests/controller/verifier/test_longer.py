"""What a report says of a run that is too short, or of a raise that comes too late in it, is true."""

from __future__ import annotations

import re

import pytest

from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import load, loads, shipped
from plateau_rule.controller.verifier.budget import Budget
from plateau_rule.controller.verifier.findings import Finding, Report
from plateau_rule.controller.verifier.longer import in_a_longer_run
from plateau_rule.controller.verifier.verify import verify

PER_EPOCH = 80
ADVICE = re.compile(r'Make the run longer: "(.+)" can be entered from step (\d+) \(epoch (\d+)\) on')


def checked(curriculum: Curriculum, epochs: int) -> Report:
    """What is found on a run of some epochs."""
    return verify(bind(curriculum, Binding(epochs=epochs, steps_per_epoch=PER_EPOCH, tokens_per_step=1)))


def of(report: Report, code: str) -> Finding | None:
    """The first finding with a code."""
    return next((finding for finding in report.findings if finding.code == code), None)


@pytest.mark.parametrize(
    "name",
    ["fixed-epochs", "half-rate-on-raise", "loss-gap", "patience", "plateau-returns", "plateau-trend", "plateau"],
)
def test_the_run_that_is_long_enough(name: str) -> None:
    """The step that is named is the earliest entry in a longer run; one epoch less, and the run is still too short."""
    curriculum = load(name)
    finding = of(checked(curriculum, 1), "too-late")
    assert finding is not None
    told = ADVICE.match(finding.suggestion)
    assert told is not None
    state, step, epoch = told[1], int(told[2]), int(told[3])
    assert epoch == step // PER_EPOCH
    longer = checked(curriculum, epoch + 1)
    assert of(longer, "too-late") is None
    assert next(entry.earliest for entry in longer.entries if entry.state == state) == step
    shorter = checked(curriculum, epoch)
    assert next(entry.earliest for entry in shorter.entries if entry.state == state) is None


def test_shares_of_the_run() -> None:
    """Where shares of the run are asked for, a longer run is not offered as a remedy, for it is none."""
    text = shipped()["plateau"].read_text(encoding="utf-8").replace("{ min_epoch = 2 }", '{ dwell = "0.4 run" }')
    for epochs in (20, 2000):
        finding = of(checked(loads(text), epochs), "too-late")
        assert finding is not None
        assert finding.suggestion.startswith("Shorten what is asked for; a share of the run is longer")


def test_shares_of_the_run_in_a_ramp() -> None:
    """The same of a ramp over a share of the run, whose end a transition waits for."""
    text = """
name = "ramps"
run = { epochs = 10, steps_per_epoch = 100 }
lr = { peak = 1e-3, length = "rest" }
knob.size = { range = { min = 1, max = 9 } }
state = [
  { name = "a", set = { size = 1 }, ramp = { size = { to = 4, over = "1 run" } } },
  { name = "b", set = { size = 4 } },
]
transition = [{ from = "a", to = "b", guards = [{ ramp_done = "size" }] }]
"""
    finding = of(verify(bind(loads(text))), "too-late")
    assert finding is not None
    assert finding.suggestion.startswith("Shorten what is asked for; a share of the run is longer")


@pytest.mark.parametrize("name", ["half-rate-on-raise", "patience", "plateau-trend", "plateau"])
def test_a_late_raise_is_ruled_out(name: str) -> None:
    """The guard that is offered against a raise in the last steps rules it out, and breaks nothing."""
    curriculum = load(name)
    report = checked(curriculum, 20)
    finding = of(report, "late-raise")
    assert finding is not None
    guard = finding.suggestion.partition("add to its guards: ")[2]
    text = re.sub(r"^(guards +=[^#\n]*)\]", rf"\1, {guard}]", shipped()[name].read_text(encoding="utf-8"), flags=re.M)
    mended = checked(loads(text), 20)
    assert of(mended, "late-raise") is None
    assert not mended.broken


def test_a_budget_that_is_spent() -> None:
    """Where too little can be tried, no step is named, for none is known to be the earliest."""
    machine = bind(load("plateau"), Binding(epochs=1, steps_per_epoch=PER_EPOCH))
    assert in_a_longer_run(machine, ["full"], Budget(1)) == "Shorten what is asked for, or make the run longer"
