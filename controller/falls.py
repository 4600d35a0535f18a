"""A knob never falls unmarked, wherever a curriculum is run: a file that lets one fall is refused."""

from __future__ import annotations

from typing import NoReturn

from plateau_rule.controller.errors import RegressionError
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.plan import Decision


def refuse_falls(machine: Machine) -> frozenset[str]:
    """Refuse a machine in which a transition without `regress` makes a knob easier.

    Returns:
        The names of the states in which a ramp can have gone further than the state that follows it begins. Whether
        it has is known only when they are left.

    Raises:
        RegressionError: a knob falls whenever such a transition is taken.
    """
    some = set()
    for old in _entered(machine):
        for way in old.transitions if old.stop is None else ():
            new = machine.by_name[way.target]
            for name, value in () if way.regress else new.knobs.items():
                hard, ramp = machine.hardness(name, value), old.ramps.get(name)
                if hard < machine.hardness(name, old.knobs[name]):
                    _refuse(machine, way, name, old.knobs[name], value)
                if ramp is not None and hard < machine.signs[name] * ramp.end:
                    some.add(old.name)
    return frozenset(some)


def refuse_fall(machine: Machine, decision: Decision) -> None:
    """Refuse a transition that was taken, where it makes a knob easier and is not marked.

    Raises:
        RegressionError: it does.
    """
    ways = machine.by_name[decision.from_state].transitions
    way = next(way for way in ways if (way.title, way.target) == (decision.transition, decision.to_state))
    for name in () if way.regress else machine.harder(decision.knobs_before, decision.knobs):
        _refuse(machine, way, name, decision.knobs_before[name], decision.knobs[name])


def _refuse(machine: Machine, way: BoundTransition, name: str, before: object, after: object) -> NoReturn:
    place = machine.curriculum.place(("transition", way.index))
    what = "falls" if machine.signs[name] > 0 else "gets easier, and rises"
    raise RegressionError(
        f'{f"{place}: " if place else ""}{name} {what} from {before} to {after} between "{way.source}" and '
        f'"{way.target}", and {way.title} is not marked. Exchange the states, or write regress = true and at_most if '
        "this is a retreat"
    )


def _entered(machine: Machine) -> list[BoundState]:
    """The states that transitions lead to from the first one, whatever their guards are."""
    found = {machine.states[0].name: machine.states[0]}
    todo = [machine.states[0]]
    while todo:
        state = todo.pop()
        if state.stop is not None:  # no step is taken in it
            continue
        ways = {way.target: machine.by_name[way.target] for way in state.transitions}
        todo += [new for name, new in ways.items() if name not in found]
        found |= ways
    return list(found.values())
