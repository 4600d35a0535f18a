"""Whether `check` says what is true: its report, held against every loss stream and against its own counterexamples.

`python -m tests.properties.agreement 5000` draws so many curricula, and tells how many properties were not decided, and
why. It ends with 1 where a report is wrong.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

from plateau_rule.controller.binding import bind
from plateau_rule.controller.language.consistency import PROPERTIES
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS
from plateau_rule.controller.verifier.findings import Counterexample, Finding, Report
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.witness import controller_of
from tests.properties.every_stream import EveryStream, Found, followed, goal, harder, used_up
from tests.properties.small_curricula import small_machine

NEVER_TAKEN = ("shadowed", "sustain-too-long", "never-taken", "never-looked-at")
FOR_EVERY_STREAM = (
    "decay-unfinished",
    "unreachable",
    "dead-end",
    "too-late",
    "never-final",
    *NEVER_TAKEN,
    "never-true",
    "always-true",
)
BUDGET = 6_000  # configurations for one small curriculum, in the tests
LIMITS = (3, 9)  # of a ramp to `full`, where the trainer gives no limit; no rung that has a number lies above them


def disagreements(report: Report, found: Found) -> list[str]:
    """What some stream does and the report does not say, or says cannot be."""
    wrong = [*_entries(report, found), *_spent(report, found)]
    answers = {verdict.property: verdict.answer for verdict in report.verdicts}
    if tuple(answers) != PROPERTIES:
        wrong.append(f"verdicts on {tuple(answers)}")
    said = {
        "escape": ("a run ends without its goal", found.stays),
        "reach": (f"nothing leads out of {found.exhausted} any more", found.exhausted),
        "aligned": (f"transitions {found.low} raise into a low rate, vanished: {found.vanished}",
                    found.low or found.vanished),
        "monotone": (f"knobs fall on {found.fallen}, rounds: {found.rounds}", found.fallen or found.rounds),
    }  # fmt: skip
    wrong += [f"{name} is proved, and {what}" for name, (what, is_so) in said.items()
              if answers[name] == "proved" and is_so]  # fmt: skip
    for finding in report.findings:
        wrong += _wrongly_said(finding, found)
        wrong += _not_shown(report, finding)
    return wrong


def _entries(report: Report, found: Found) -> Iterator[str]:
    for entry in report.entries:
        steps = found.entered.get(entry.state, set())
        if entry.earliest is None and steps:
            yield f"{entry.state} is never entered, and is at {sorted(steps)}"
        elif steps and entry.earliest is not None:
            latest = max(steps) if entry.latest is None else entry.latest
            if min(steps) < entry.earliest or max(steps) > latest:
                yield f"{entry} and {sorted(steps)}"
        if entry.certain and entry.state in found.missed:
            yield f"{entry}, and a run ends without it"


def _spent(report: Report, found: Found) -> Iterator[str]:
    for one in report.spent:
        took = found.spent.get(one.clock, set())
        if took and (min(took) < one.least or (one.most is not None and max(took) > one.most)):
            yield f"{one}, and runs took {min(took)} to {max(took)}"


def _wrongly_said(finding: Finding, found: Found) -> Iterator[str]:
    """Claims that something cannot be, of what some stream does."""
    if finding.severity != "error":
        return
    index = finding.path[1] if len(finding.path) > 1 else None
    if finding.code in NEVER_TAKEN and index in found.taken:
        yield f"{finding}, and it is taken"
    if finding.code in ("never-true", "always-true") and finding.property == "order":
        where = tuple(key for key in finding.path[1:] if key == "not" or (isinstance(key, int)))
        verdicts = found.verdicts.get(where, set())
        if len(finding.path) == 3 and index in found.taken:
            yield f"{finding}, and it is taken"
        if len(finding.path) > 3 and finding.code == "never-true" and True in verdicts:
            yield f"{finding}, and it is"
        if finding.code == "always-true" and verdicts - {True}:
            yield f"{finding}, and it is not"


def _not_shown(report: Report, finding: Finding) -> Iterator[str]:
    """Errors that nothing bears out."""
    example = finding.counterexample
    if example is not None and example.happened:
        why = shown_otherwise(report.machine, finding, example)
        if why:
            yield f"{finding}, and its counterexample does not show it: {why}"
    elif finding.severity == "error" and finding.code not in (*FOR_EVERY_STREAM, "unused-guard"):
        yield f"{finding}, and no counterexample"
    elif finding.code == "may-stay" and finding.severity == "warning":
        yield f"{finding}, and no run that stays"


def shown_otherwise(machine: Machine, finding: Finding, example: Counterexample) -> str:
    """Why the replay of a counterexample does not show what the finding says; nothing where it does."""
    controller, decisions, row, peak = controller_of(machine), [], None, 0.0
    for row in example.rows(machine):
        told = {k: v for k, v in row.items() if k not in ("step", "epoch", "state", "lr")}
        plan, run = controller.plan, controller.run_state
        peaks = machine.curriculum.lr.peaks
        shrunk = peaks.factor**run.rate.cycle if peaks else 1.0
        peak = machine.peak * run.rate.scale * run.state.rate.peak * shrunk * followed(machine, run)
        if (row["step"], row["epoch"], row["state"], row["lr"]) != (plan.step, plan.epoch, plan.state, plan.lr):
            return f"another plan than {row}"
        decision = controller.observe(told.pop("loss"), step=row["step"], **told)
        over = decision is not None and used_up(machine, controller.run_state.rate, decision.step)
        if decision is not None and decision.step != controller.total_steps and not over:
            decisions.append(decision)
    trace = [(v.left, v.state.name, v.transition.title) for v in example.visits if v.transition is not None]
    if [(d.step, d.from_state, d.transition) for d in decisions] != trace:
        return f"it takes {decisions}"
    states = [machine.states[0].name, *(d.to_state for d in decisions)]
    return _otherwise(machine, finding.code, controller, decisions, states, example, row, peak)


def _otherwise(
    machine: Machine,
    code: str,
    controller: Any,
    decisions: list[Any],
    states: list[str],
    example: Counterexample,
    row: Any,
    peak: float,
) -> str:
    last, state = decisions[-1] if decisions else None, controller.run_state.state
    if code == "knob-falls":
        fell = last and any(
            harder(machine, name, last.knobs_before[name]) > harder(machine, name, v) for name, v in last.knobs.items()
        )
        return "" if fell else "no knob falls"
    if code == "unbounded-cycle":
        ways = [machine.by_name[d.from_state].transitions for d in decisions]
        free = [next(t.at_most is None for t in way if t.title == d.transition and t.target == d.to_state)
                for way, d in zip(ways, decisions, strict=True)]  # fmt: skip
        back = len(states) - 2 - states[:-1][::-1].index(states[-1]) if states[-1] in states[:-1] else None
        return "" if back is not None and all(free[back:]) else "no way round"
    if code in ("misaligned", "rate-falls"):
        align = machine.curriculum.check.align
        asked = align.min if code == "misaligned" else align.hold
        return "" if row["step"] == example.step and row["lr"] < asked * peak + (peak == 0.0) else "the rate is high"
    if code == "rate-vanishes":
        return "" if peak < 2.0**-1022 else "the peak is a number"
    early = example.step == example.visits[-1].left < (machine.total_steps or 0) or (
        bool(machine.bounds) and example.step == example.visits[-1].left and controller.plan.stop is None
    )
    if code in ("dead-end", "never-final") and early:
        return "" if machine.states.index(state) not in goal(machine) else "it is the goal"
    if code in ("dead-end", "too-late", "never-final", "may-stay"):
        reached = any(machine.states.index(machine.by_name[name]) in goal(machine) for name in states)
        over = controller.plan.stop is not None or (machine.total_steps is None and not machine.bounds)
        return "" if over and (not reached or code == "dead-end") else "the run goes on, or gets to its goal"
    return ""


def disagreements_of(
    seed: int,
    most: int = 1500,
    budget: int = BUDGET,
    lead: int | None = None,
    clocks: bool = False,
    rungs: bool = False,
) -> tuple[list[str], Report, bool]:
    """Those of the curriculum of a seed; its report; whether every stream was followed."""
    machine = small_machine(seed, lead, clocks, rungs)
    found = EveryStream(machine, most, seed).follow()
    report = verify(machine, budget=budget)
    wrong = disagreements(report, found)
    if machine.limits is None and any(ramp.is_unmeasured for s in machine.states for ramp in s.ramps.values()):
        wrong += _under_limits(machine, report, most, seed)
    return wrong, report, found.covered


def _under_limits(machine: Machine, report: Report, most: int, seed: int) -> Iterator[str]:
    """What is proved without limits, and some limit breaks."""
    for limit in LIMITS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            limits = {name: None if name in machine.ranks else limit for name in machine.curriculum.knob}
        bound = bind(machine.curriculum, limits, lag=machine.lag, lead=machine.lead)
        if len(bound.states) < len(machine.states):
            continue  # merged, and so another machine
        found = EveryStream(bound, most, seed).follow()
        for name, broken in (("monotone", found.fallen), ("aligned", found.low)):
            if broken and report.verdict(name).answer == "proved":
                yield f"{name} is proved, and with a limit of {limit} transitions {broken} break it"


def main(arguments: list[str] | None = None) -> int:
    """Draw curricula and tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curricula", type=int, nargs="?", default=5000)
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--lead", type=int, help="the lead of every knob")
    parser.add_argument("--clocks", action="store_true", help="curricula that count tokens or cost by their knobs")
    options = parser.parse_args(arguments)
    answers: Counter[tuple[str, str]] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    wrong = covered = examples = 0
    for seed in range(options.first, options.first + options.curricula):
        said, report, whole = disagreements_of(seed, 1500, MOST_CONFIGURATIONS, options.lead, options.clocks)
        covered += whole
        wrong += bool(said)
        for line in said:
            print(f"seed {seed}: {line}", flush=True)
        examples += sum(f.counterexample is not None and f.counterexample.happened for f in report.findings)
        answers.update((verdict.property, verdict.answer) for verdict in report.verdicts)
        for verdict in report.verdicts:
            if verdict.answer == "not decided":
                reasons.update((verdict.property, f.code) for f in report.findings
                               if f.property == verdict.property and f.severity == "undecided")  # fmt: skip
    print(
        f"{options.curricula} curricula, every stream of {covered}, {examples} counterexamples, {wrong} wrong reports"
    )
    for (name, answer), count in sorted(answers.items()):
        print(f"  {name:9} {answer:12} {count:6} {100 * count / options.curricula:6.2f} %")
    for (name, code), count in reasons.most_common():
        print(f"  not decided: {name} [{code}] {count}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
