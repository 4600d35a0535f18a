"""Whether the names and values in a curriculum fit together; what a schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from fractions import Fraction
from itertools import pairwise

from plateau_rule.controller.errors import Fault, Key, spelled
from plateau_rule.controller.errors import nearest as nearest
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.conditions import depth_faults, guard_faults
from plateau_rule.controller.language.conditions import walk as walk
from plateau_rule.controller.language.curriculum import FULL, Curriculum, Knob, Number, Rung
from plateau_rule.controller.language.faults import empty_faults, rest_faults, twin_faults, unknown
from plateau_rule.controller.language.metrics import metric_faults
from plateau_rule.controller.language.rate_faults import rate_faults

PROPERTIES = ("names", "reach", "escape", "monotone", "aligned", "order", "timing", "noise", "resume")
NEXT = "next"
Path = tuple[Key, ...]


def hardness(value: Rung) -> float:
    """Where a knob's value stands among numbers; `full` is above them all until it is bound."""
    return float("inf") if value == FULL else float(value)


SIGNS = {"up": 1.0, "down": -1.0, "none": 0.0}  # of larger values of a knob, by its order


def harder(knob: Knob, value: Rung) -> float:
    """How hard a knob's value is, among its values; all are as hard where it has no order."""
    return SIGNS[knob.order] * hardness(value) if value != FULL else hardness(value)


def faults_of(curriculum: Curriculum) -> list[Fault]:
    """List everything in a curriculum that does not fit together, in the order of the file's parts."""
    names = {
        "state": [{"name": state.name} for state in curriculum.state],
        "transition": [{"name": transition.name} for transition in curriculum.transition],
    }
    # Conditions too deep to be walked come first; guards that go in circles or grow without end hide what they ask for.
    faults = depth_faults(curriculum) or [
        *_knob_faults(curriculum),
        *rate_faults(curriculum, _entered_by_restart(curriculum)),
        *_state_faults(curriculum),
        *metric_faults(curriculum),
        *guard_faults(curriculum, lambda index: sources(curriculum, index)),
        *_transition_faults(curriculum),
        *_check_faults(curriculum),
    ]
    return [replace(fault, where=spelled(fault.path, names)) for fault in faults]


def _knob_faults(curriculum: Curriculum) -> Iterator[Fault]:
    yield from twin_faults([(name, ("knob", name)) for name in curriculum.knob], "the knob", at_key=True)
    for name, knob in curriculum.knob.items():
        path: Path = ("knob", name)
        if (knob.ladder is None) == (knob.range is None) and (knob.order != "none" or knob.ladder is not None):
            found = "neither a ladder nor a range" if knob.ladder is None else "both a ladder and a range"
            yield Fault("knob-values", path, found, "one of the two", at_key=True)
        yield from _ladder_faults(knob, path)
        if knob.range is not None:
            yield from _range_faults(knob, (*path, "range"))


def _ladder_faults(knob: Knob, path: Path) -> Iterator[Fault]:
    ladder = knob.ladder or []
    if knob.order != "up" and FULL in (*ladder, knob.range.max if knob.range else 0):
        yield Fault(
            "full-without-up", path, f'"full" in a knob whose order is "{knob.order}"', "numbers alone", at_key=True
        )
        return
    for i, (before, value) in enumerate(pairwise(ladder), 1):
        if knob.order == "none" and value in ladder[:i]:
            yield Fault("ladder-order", (*path, "ladder", i), f"{_spell(value)} a second time", "each value once")
        elif knob.order != "none" and harder(knob, value) <= harder(knob, before):
            how = "grow" if knob.order == "up" else "fall"
            hint = 'Write order = "down" if smaller is harder.' if knob.order == "up" and _falls(ladder) else ""
            yield Fault("ladder-order", (*path, "ladder", i), f"{_spell(value)} after {_spell(before)}",
                        f"values that {how}, each once, the easiest first", hint)  # fmt: skip


def _falls(ladder: list[Rung]) -> bool:
    return all(hardness(value) < hardness(before) for before, value in pairwise(ladder))


def _range_faults(knob: Knob, path: Path) -> Iterator[Fault]:
    assert knob.range is not None  # asked by the caller
    low, high, step = knob.range.min, knob.range.max, knob.range.multiple_of
    if hardness(high) < low:
        yield Fault("range-order", (*path, "max"), f"max {_spell(high)} below min {low}", f"{low} or more")
    if step is not None and step <= 0:
        yield Fault("range-multiple", (*path, "multiple_of"), f"found {step}", "a number above 0")
    elif step is not None and not _is_multiple(low, step):
        yield Fault("range-multiple", (*path, "min"), f"min {low}", f"a multiple of {step}")


def _is_multiple(value: Number, step: Number) -> bool:
    """Whether a number is a multiple of another as they are written: 0.3 is one of 0.1."""
    return (Fraction(str(value)) / Fraction(str(step))).denominator == 1


def _entered_by_restart(curriculum: Curriculum) -> set[str]:
    """The names of the states that some transition with `lr_restart` enters."""
    names = [state.name for state in curriculum.state]
    return {
        target(curriculum, i, source)
        for i, transition in enumerate(curriculum.transition)
        for source in sources(curriculum, i)
        if "lr_restart" in transition.actions and source in names and (transition.to != NEXT or source != names[-1])
    }


def _state_faults(curriculum: Curriculum) -> Iterator[Fault]:
    yield from twin_faults([(s.name, ("state", i, "name")) for i, s in enumerate(curriculum.state)], "the state")
    for i, state in enumerate(curriculum.state):
        path: Path = ("state", i)
        if state.name == NEXT:
            yield Fault("reserved-name", (*path, "name"), f'"{NEXT}" as a name',
                        'another one: "next" means the state written after it')  # fmt: skip
        for name, value in state.set.items():
            if name not in curriculum.knob:
                yield unknown("unknown-knob", (*path, "set", name), "knob", name, curriculum.knob, at_key=True)
            elif problem := misfit(curriculum.knob[name], value):
                yield Fault("off-ladder", (*path, "set", name), f"{name} = {_spell(value)}", problem)
        misspelt = [name for name in state.set if name not in curriculum.knob]
        for name in curriculum.knob:
            if name not in state.set and not get_close_matches(name, misspelt, n=1):
                yield Fault("knob-not-set", (*path, "set"), f'the knob "{name}" is not set',
                            "a value for every knob in every state", at_key=True)  # fmt: skip
        for name in state.ramp:
            yield from _ramp_faults(curriculum, i, name)
        if state.final and (found := _no_end(curriculum, i)):
            yield Fault("key-without-effect", (*path, "final"), found,
                        "final in a state that only retreats leave", at_key=True)  # fmt: skip


def _no_end(curriculum: Curriculum, index: int) -> str:
    """Why a state that is called final is not where a run is to get to."""
    state = curriculum.state[index]
    if state.stop is not None:
        return '"final" in a state with "stop"'
    ways = [i for i, t in enumerate(curriculum.transition) if not t.regress and state.name in sources(curriculum, i)]
    return f'"final" in a state that transition {ways[0] + 1} leads on from' if ways else ""


def _ramp_faults(curriculum: Curriculum, index: int, name: str) -> Iterator[Fault]:
    state, here = curriculum.state[index], ("state", index, "ramp", name)
    ramp = state.ramp[name]
    if name not in curriculum.knob:
        yield unknown("unknown-knob", here, "knob", name, curriculum.knob, at_key=True)
        return
    if problem := misfit(curriculum.knob[name], ramp.to):
        yield Fault("off-ladder", (*here, "to"), f"{name} = {_spell(ramp.to)}", problem)
    elif name in state.set and harder(curriculum.knob[name], ramp.to) < harder(curriculum.knob[name], state.set[name]):
        start, down = _spell(state.set[name]), curriculum.knob[name].order == "down"
        found = f"a ramp from {start} {'up' if down else 'down'} to {_spell(ramp.to)}"
        yield Fault("falling-ramp", (*here, "to"), found, "a ramp that falls" if down else "a ramp that rises")
    yield from rest_faults(ramp.over, (*here, "over"))
    yield from empty_faults(ramp.over, (*here, "over"), "a ramp that lasts")


def misfit(knob: Knob, value: Rung) -> str:
    """Say what a knob's value should be, or nothing if it is one of them."""
    if knob.ladder is not None:
        return "" if value in knob.ladder else f"one of {', '.join(map(_spell, knob.ladder))}"
    if knob.range is None:
        return "a number" if knob.order == "none" and value == FULL else ""
    low, high, step = knob.range.min, knob.range.max, knob.range.multiple_of
    if hardness(high) < low:
        return ""  # the range itself is at fault
    if not low <= hardness(value) <= hardness(high):
        return f"{low} to {_spell(high)}"
    if step is not None and step > 0 and value not in (FULL, high) and not _is_multiple(value, step):  # type: ignore[arg-type]
        return f"a multiple of {step}, or {_spell(high)}"
    return ""


def sources(curriculum: Curriculum, index: int) -> list[str]:
    """The names of the states that a transition leaves, in the order of the file."""
    transition = curriculum.transition[index]
    names = [state.name for state in curriculum.state]
    if transition.from_ == "*":
        return names[:-1] if transition.to == NEXT else [name for name in names if name != transition.to]
    return [transition.from_] if isinstance(transition.from_, str) else list(transition.from_)


def target(curriculum: Curriculum, index: int, source: str) -> str:
    """The name of the state that a transition enters from `source`, one of its sources."""
    to = curriculum.transition[index].to
    names = [state.name for state in curriculum.state]
    return names[names.index(source) + 1] if to == NEXT else to


_WILDCARDS = {
    "all",
    "any",
    "anything",
    "anywhere",
    "each",
    "every",
    "everything",
    "everywhere",
}  # what people write for *


def _transition_faults(curriculum: Curriculum) -> Iterator[Fault]:
    names = [state.name for state in curriculum.state]
    titles = [(t.name, ("transition", i, "name")) for i, t in enumerate(curriculum.transition) if t.name is not None]
    yield from twin_faults(titles, "the transition")
    for i, transition in enumerate(curriculum.transition):
        path: Path = ("transition", i)
        listed = isinstance(transition.from_, list)
        written = transition.from_ if isinstance(transition.from_, list) else [transition.from_]
        for j, name in enumerate(written):
            here: Path = (*path, "from", j) if listed else (*path, "from")
            if name == "*":
                continue
            if name.lower() in _WILDCARDS and name not in names:
                yield Fault("unknown-state", here, f'no state "{name}"', "", 'Write from = "*" for all states.')
            elif name not in names:
                yield unknown("unknown-state", here, "state", name, names)
            elif transition.to == NEXT and name == names[-1]:
                yield Fault("no-next-state", here, f'"{name}" is the last state, it has no next one',
                            "a state that has a next one")  # fmt: skip
            elif name in written[:j]:
                yield Fault("duplicate-name", here, f'the state "{name}" a second time', "each state once")
        if transition.to != NEXT and transition.to not in names:
            yield unknown("unknown-state", (*path, "to"), "state", transition.to, [*names, NEXT])
        elif transition.from_ == "*" and not sources(curriculum, i):
            yield Fault("leaves-nothing", (*path, "from"), "no state that this transition could leave", "at least one")


def _check_faults(curriculum: Curriculum) -> Iterator[Fault]:
    titles = [transition.name for transition in curriculum.transition if transition.name is not None]
    for name, waiver in curriculum.check.waive.items():
        path: Path = ("check", "waive", name)
        if name not in PROPERTIES:
            yield unknown("unknown-property", path, "property", name, list(PROPERTIES), at_key=True)
        for title in waiver if isinstance(waiver, dict) else ():
            if title not in titles:
                yield unknown("unknown-transition", (*path, title), "transition", title, titles, at_key=True)
    within = curriculum.check.align.within
    if parse_amount(within).unit != "steps":
        yield Fault("within-in-steps", ("check", "align", "within"), f'found "{within}"', "an amount in steps")


def _spell(value: Rung | Number) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
