"""The verifier agrees with every loss stream of small runs, and every counterexample happens."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given, note, reject
from hypothesis import strategies as st

from plateau_rule import Curriculum
from plateau_rule.controller.binding import bind
from plateau_rule.controller.language.consistency import hardness
from plateau_rule.controller.verifier.findings import Finding, Report
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.witness import controller_of
from plateau_rule.sim.strategies import curricula
from tests.properties.every_stream import Found, every_stream, final

FEW = 30_000  # looks for all counterexamples of a small curriculum
NEVER_TAKEN = {"shadowed", "sustain-too-long", "never-taken", "never-looked-at"}


@st.composite
def small(draw: st.DrawFn) -> Curriculum:
    """Curricula whose runs are short enough to try every stream."""
    return draw(
        curricula(
            max_steps=draw(st.sampled_from((5, 8, 10, 12))),
            max_states=3,
            max_transitions=draw(st.integers(1, 5)),
            max_knobs=1,
            monotone=draw(st.booleans()),
            methods=("halves",),
        )
    )


def disagreements(report: Report, found: Found) -> list[str]:
    """What some stream does and the verifier does not say, or says cannot be."""
    wrong = []
    by_code: dict[str, set[Any]] = {}
    for finding in report.findings:
        by_code.setdefault(finding.code, set()).add(finding.path[1] if len(finding.path) > 1 else None)
    for entry in report.entries:
        steps = found.entered.get(entry.state, set())
        if entry.earliest is None:
            wrong += [f"{entry.state} is never entered, and is at {sorted(steps)}"] * bool(steps)
        elif steps and not (entry.earliest <= min(steps) and max(steps) <= (entry.latest or max(steps))):
            wrong.append(f"{entry} and {sorted(steps)}")
        if entry.certain and entry.state in found.missed:
            wrong.append(f"{entry}, and a run ends without it")
    for index in found.fallen - by_code.get("knob-falls", set()):
        wrong.append(f"a knob falls on transition {index}")
    for index in found.low - by_code.get("misaligned", set()) - by_code.get("rate-falls", set()):
        wrong.append(f"transition {index} raises into a low rate")
    if found.stays and not by_code.keys() & {"may-stay", "never-final", "too-late", "dead-end"}:
        wrong.append("a run can end without a final state")
    for finding in report.findings:
        wrong += _wrongly_said(finding, found)
    return wrong


def _wrongly_said(finding: Finding, found: Found) -> list[str]:
    """Claims that something cannot be, of what some stream does; errors that no stream bears out."""
    index = finding.path[1] if len(finding.path) > 1 else None
    wrong = []
    if finding.code in NEVER_TAKEN or (finding.code == "never-true" and len(finding.path) == 3):
        wrong += [f"{finding}, and it is taken"] * (index in found.taken)
    if finding.code in ("never-true", "always-true") and len(finding.path) > 3:
        where = tuple(key for key in finding.path if isinstance(key, int) or key == "not")
        verdicts = found.verdicts.get(where, set())
        if finding.code == "never-true":
            wrong += [f"{finding}, and it is"] * (True in verdicts)
        else:
            wrong += [f"{finding}, and it is not"] * bool(verdicts - {True})
    if finding.severity == "error":
        happens = {"knob-falls": found.fallen, "misaligned": found.low, "rate-falls": found.low}.get(finding.code)
        wrong += [f"{finding}, and no stream does it"] * (happens is not None and index not in happens)
        wrong += [f"{finding}, and every run ends well"] * (finding.code == "never-final" and not found.stays)
    return wrong


@given(small())
def test_agrees_with_every_stream(curriculum: Curriculum) -> None:
    """Whatever some stream brings about is reported, and whatever is called impossible no stream brings about."""
    found = every_stream(curriculum)
    if found is None:
        reject()  # more runs than can be tried
    report = verify(bind(curriculum), looks=FEW)
    assert disagreements(report, found) == []


def replayed(report: Report, finding: Finding) -> list[Any]:
    """The decisions of a counterexample's stream, each checked against the trace; then the controller."""
    example = finding.counterexample
    assert example is not None
    assert example.rows is not None
    controller = controller_of(report.machine)
    decisions = []
    for row in example.rows:
        told = {k: v for k, v in row.items() if k not in ("step", "epoch", "state", "lr")}
        assert (row["step"], row["epoch"], row["state"], row["lr"]) == (*controller.plan[:3], controller.plan.lr)
        decision = controller.observe(told.pop("loss"), step=row["step"], **told)
        if decision is not None and decision.step != controller.total_steps:
            decisions.append(decision)
    trace = [(v.left, v.state.name, v.transition.title) for v in example.visits if v.transition is not None]
    assert [(d.step, d.from_state, d.transition) for d in decisions] == trace
    return [decisions, controller]


def shown(report: Report, finding: Finding) -> bool:
    """Whether the replay of a counterexample shows what the finding says."""
    decisions, controller = replayed(report, finding)
    example, machine = finding.counterexample, report.machine
    assert example is not None
    states = [machine.states[0].name, *(d.to_state for d in decisions)]
    if finding.code == "knob-falls":
        last = decisions[-1]
        return any(hardness(value) < hardness(last.knobs_before[name]) for name, value in last.knobs.items())
    if finding.code == "unbounded-cycle":
        return states[-1] in states[:-1]
    if finding.code in ("misaligned", "rate-falls"):
        align = machine.curriculum.check.align
        row, run = example.rows[-1], controller.run_state  # type: ignore[index]
        peak = machine.peak * run.rate.scale * run.state.rate.peak
        asked = align.min if finding.code == "misaligned" else align.hold
        return bool(row["step"] == example.step and row["lr"] / peak < asked)
    ended = controller.plan.step == controller.total_steps
    return ended and not any(final(machine.by_name[name]) for name in states)


@given(small())
def test_counterexamples_happen(curriculum: Curriculum) -> None:
    """Every error that something bad can happen comes with a stream under which the Controller does it."""
    report = verify(bind(curriculum), streams=True, looks=FEW)
    for finding in report.findings:
        if finding.counterexample is not None and finding.counterexample.rows is not None:
            note(str(finding))
            assert shown(report, finding)
        elif finding.code in ("knob-falls", "unbounded-cycle", "misaligned", "rate-falls"):
            assert finding.severity != "error"


CYCLES = """
name = "cycles"
run = { epochs = 4, steps_per_epoch = 3 }
lr = { peak = 1.0, cycles = ["2 epochs", "rest"] }
knob.cutoff.ladder = [1, 2]
state = [{ name = "a", set = { cutoff = 1 } }, { name = "b", set = { cutoff = 2 } }]
transition = [{ from = "a", to = "b", at = "epoch", guards = [{ below = { value = 1.0 } }] }]
"""


def test_a_verifier_that_forgets_something_is_caught() -> None:
    """Canary: a verifier that takes every rate for its peak, and sees no decay, disagrees with what streams bring."""
    from plateau_rule import loads

    curriculum = loads(CYCLES)
    found = every_stream(curriculum)
    assert found is not None
    assert disagreements(verify(bind(curriculum)), found) == []
    with mock.patch("plateau_rule.controller.verifier.alignment.Alignment.share", return_value=1.0):
        assert disagreements(verify(bind(curriculum)), found) == ["transition 0 raises into a low rate"]
