"""The lead: by how many steps a transition that changes a knob is decided before it applies.

A data loader prepares batches some steps before they are trained on. A knob that decides what is in them must be known
by then: with a lead of n steps, its values on the next n steps and on the one after them are settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from reprlib import repr as brief
from typing import Any

from plateau_rule.controller.arguments import python_number
from plateau_rule.controller.errors import BindingError, Fault, visible
from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.language.consistency import nearest
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.machine import BoundState, BoundTransition, Lead

EXPECTED = 'a whole number of steps, or one for each knob, such as {"batch_size": 17}'
MOST = 10**6  # steps; a loader that prepares more batches has no memory left


def lead_of(given: object, faults: list[Fault]) -> int | dict[str, int] | None:
    """What a trainer says of its lead, in Python's numbers; what is wrong with it is added to the faults."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return _steps("lead", given, ("lead",), faults)
    if wrong := [name for name in given if not isinstance(name, str)]:
        faults.append(Fault("bad-run", ("lead",), f"the key {brief(wrong[0])}", EXPECTED))
        return None
    return {name: _steps(name, steps, ("lead", name), faults) for name, steps in given.items()}


def _steps(name: str, given: object, path: tuple[str, ...], faults: list[Fault]) -> int:
    number = python_number(given)
    if isinstance(number, int) and 0 <= number <= MOST:
        return number
    expected = f"a whole number of steps, from 0 to {MOST:,}"
    faults.append(Fault("bad-run", path, brief(given), expected if len(path) > 1 else EXPECTED))
    return 0


def lead_faults(curriculum: Curriculum, lead: int | Mapping[str, int] | None, limits: Any) -> Iterator[Fault]:
    """A knob with a lead that neither the curriculum nor the trainer has."""
    known = {**curriculum.knob, **(limits or {})}
    for name in lead if isinstance(lead, Mapping) else ():
        if name not in known:
            knobs = f"one of {', '.join(known)}" if known else "no lead: there is no knob"
            yield Fault("bad-run", ("lead", name), f'no knob is called "{name}"', knobs, nearest(name, known))


def lead_by_knob(curriculum: Curriculum, lead: int | Mapping[str, int] | None) -> Lead:
    """The lead of each knob of the curriculum that has one."""
    given = lead if isinstance(lead, Mapping) else dict.fromkeys(curriculum.knob, lead or 0)
    return FrozenDict({name: given[name] for name in curriculum.knob if given.get(name)})


def steps_shown(lead: int | Mapping[str, int] | None) -> str:
    """A lead as it may stand in a sentence."""
    if isinstance(lead, Mapping):
        return ", ".join(f"{steps} steps for {knob}" for knob, steps in lead.items()) or "0 steps"
    return f"{lead or 0} steps"


def with_lead(states: tuple[BoundState, ...], lead: Lead) -> tuple[BoundState, ...]:
    """The states, each way out with the lead of the knobs that it changes."""
    if not lead:
        return states
    by_name = {state.name: state for state in states}

    def led(way: BoundTransition) -> BoundTransition:
        new = by_name[way.target]
        if new.stop is not None or any(action.name == "rollback" for action in way.actions):
            return replace(way, at_once=True)
        changed = [lead[name] for name in lead if _changes(by_name[way.source], new, name)]
        return replace(way, lead=max(changed, default=0))

    return tuple(replace(state, transitions=tuple(map(led, state.transitions))) for state in states)


def _changes(old: BoundState, new: BoundState, knob: str) -> bool:
    """Whether a knob may be another one after a transition; while a ramp moves it, it may be anything."""
    return old.knobs[knob] != new.knobs[knob] or knob in old.ramps or knob in new.ramps


# On a command line


def lead_in(words: Iterable[str], option: str = "--lead") -> int | dict[str, int] | None:
    """Read a lead as a command line spells it.

    Args:
        words: one number of steps for every knob; or KNOB=STEPS each.
        option: how they were introduced, for the errors.

    Returns:
        The lead, or None where there are no words.

    Raises:
        BindingError: a word is something else, or a knob comes twice.
    """
    by_knob: dict[str, int] = {}
    every: int | None = None
    several = len(words := list(words)) > 1
    for word in words:
        name, equals, text = word.rpartition("=")
        steps = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
        if steps is None or (not name and (equals or several)) or name in by_knob:
            expected = f"steps for every knob, such as {option} 17, or for each one: {option} batch_size=17"
            raise BindingError([Fault("bad-run", (), f'{option} "{visible(word)}"', expected)])
        if name:
            by_knob[name] = steps
        else:
            every = steps
    return by_knob or every
