"""What the page is told, as data for JSON: decisions, states, the machine, and what `check` found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from plateau_rule.controller.clamping import as_bound
from plateau_rule.controller.drawing import arrows, facts
from plateau_rule.controller.edit.numbers import Path
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.notebook.checked import lines_of
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.controller.readings import Way
from plateau_rule.controller.verifier.findings import Finding, Report

if TYPE_CHECKING:
    from plateau_rule.sim.whatif.session import Session

MOST_POINTS = 800  # of a metric


def key_of(path: Path) -> str:
    """A path in a file, as one word."""
    return json.dumps(list(path), separators=(",", ":"))


def plain(value: Any) -> Any:
    """A knob's value as JSON has it: a number, or text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else str(value)
    return value if isfinite(value) else str(value)


def as_json(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs as JSON has them."""
    return {name: plain(value) for name, value in knobs.items()}


def level(machine: Machine, name: str, value: Any, values: Sequence[Any]) -> float:
    """By what a knob's values are put in order: how hard they are; else their size; else when they came."""
    if machine.signs.get(name):
        return machine.hardness(name, value)
    if isinstance(value, (int, float)):
        return float(value)
    return float(values.index(value))


def decision_as_data(decision: Decision) -> dict[str, Any]:
    """A transition that was taken."""
    return {
        "step": decision.step,
        "epoch": decision.epoch,
        "from": decision.from_state,
        "to": decision.to_state,
        "transition": decision.transition,
        "raises": list(decision.raises),
        "knobs": as_json(decision.knobs),
        "lr": decision.lr,
        "lr_before": decision.lr_before,
    }


def plan_as_data(plan: Plan) -> dict[str, Any]:
    """What holds for the step that comes next."""
    return {
        "step": plan.step,
        "epoch": plan.epoch,
        "state": plan.state,
        "knobs": as_json(plan.knobs),
        "lr": plan.lr,
        "stop": plan.stop,
    }


def ways_as_data(ways: Iterable[Way]) -> list[dict[str, Any]]:
    """Transitions as they stood."""
    return [way.as_dict() for way in ways]


def stays(machine: Machine, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """The states, one after the other, each with its first step and the first one after it."""
    edges = [(0, machine.states[0].name), *((one.step, one.to_state) for one in decisions)]
    ends = [*(step for step, _ in edges[1:]), None]
    return [{"state": state, "from": step, "to": end} for (step, state), end in zip(edges, ends, strict=True)]


def drawn_machine(machine: Machine) -> dict[str, Any]:
    """States with what holds in them, and the ways between them."""
    curriculum = as_bound(machine)
    shades = hardness_of(machine)
    ways = arrows(curriculum)
    left = {way.source for way in ways}
    return {
        "states": [
            {
                "name": state.name,
                "says": ", ".join(f"{name} {plain(value)}" for name, value in state.knobs.items()),
                "lines": facts(curriculum, curriculum.state[place]),
                "hardness": shades[place],
                "final": place not in left or state.final or state.stop is not None,
            }
            for place, state in enumerate(machine.states)
        ],
        "arrows": [
            {
                "from": way.source,
                "to": way.target,
                "title": way.title,
                "named": bool(way.name),
                "says": way.guards.removeprefix("when an epoch closes: "),
                "actions": way.actions,
                "regress": way.regress,
            }
            for way in ways
        ],
    }


def hardness_of(machine: Machine) -> list[float]:
    """How hard each state is among the others, from 0 to 1; by its place where no knob has an order."""
    ordered = [name for name, sign in machine.signs.items() if sign]

    def hard(state: BoundState) -> tuple[float, ...]:
        return tuple(machine.hardness(name, state.knobs[name]) for name in ordered)

    sizes: Sequence[Any] = [hard(state) for state in machine.states]
    if len(set(sizes)) == 1:
        sizes = [state.index for state in machine.states]
    ranks = {size: place for place, size in enumerate(sorted(set(sizes)))}
    return [ranks[size] / max(1, len(ranks) - 1) for size in sizes]


def checked(report: Report) -> list[dict[str, Any]]:
    """What is said of a report, line by line, each with the run in which it shows itself."""
    return [
        {"kind": line.kind, "text": line.text, **({"code": None} if line.finding is None else shown_by(line.finding))}
        for line in lines_of(report)
    ]


def shown_by(finding: Finding) -> dict[str, Any]:
    """The code of a finding, and the run in which it shows itself, where there is one."""
    example = finding.counterexample
    if example is None or not example.visits:
        return {"code": finding.code, "example": None}
    visits = [{"state": visit.state.name, "from": visit.entered, "to": visit.left} for visit in example.visits]
    return {"code": finding.code, "example": {"stays": visits, "step": example.step, "shows": example.shows}}


def metrics_of(session: Session) -> list[dict[str, Any]]:
    """What evaluations brought of the metrics that guards ask for, over time."""
    found: dict[str, list[list[float]]] = {name: [] for name in sorted(session.machine.guarded)}
    for step, brought in sorted(session.log.evaluations.items()):
        for name in found.keys() & brought.keys():
            if isfinite(brought[name]):
                found[name].append([step, brought[name]])
    return [
        {"name": name, "points": points[:: 1 + len(points) // MOST_POINTS]} for name, points in found.items() if points
    ]
