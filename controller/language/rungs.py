"""States that stand for one state each on every rung of a ladder, and the curriculum that spells them all out.

`each = "modes"` in the state `grow` means the states `grow.16`, `grow.17`, and so on, in the order of the ladder.
Whoever reads a file, draws or formats it has the one state; whoever binds it has them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plateau_rule.controller.errors import Fault, Key, spelled
from plateau_rule.controller.language.values import FULL

if TYPE_CHECKING:
    from plateau_rule.controller.language.curriculum import Curriculum, Knob, State, Transition

MOST_STATES = 256  # of a curriculum, spelled out


def rungs_of(knob: Knob) -> list[Any]:
    """The values that a state with `each` goes through, easiest first; none where they are not to be counted."""
    if knob.ladder is not None:
        return list(knob.ladder)
    if knob.range is None or knob.range.multiple_of is None or knob.range.max == FULL:
        return []
    low, step = knob.range.min, knob.range.multiple_of
    count = int((float(knob.range.max) - low) / step + 1e-9) if step > 0 else MOST_STATES
    if not 0 <= count < MOST_STATES:
        return []
    found: list[Any] = [low + place * step for place in range(count + 1)]
    found += [knob.range.max] * (found[-1] != knob.range.max)
    return found[::-1] if knob.order == "down" else found


def has_rungs(curriculum: Curriculum) -> bool:
    """Whether some state stands for several."""
    return any(state.each is not None for state in curriculum.state)


def names_of(curriculum: Curriculum, state: State) -> list[str]:
    """The names of the states that a state stands for; its own where it stands for itself."""
    if state.each is None:
        return [state.name]
    return [f"{state.name}.{rung}" for rung in rungs_of(curriculum.knob[state.each])]


def spelled_out(curriculum: Curriculum) -> Curriculum:
    """The curriculum with a state for each rung; itself where it has no state that stands for several."""
    if not has_rungs(curriculum):
        return curriculum
    names = {state.name: names_of(curriculum, state) for state in curriculum.state}
    states, origins = [], []
    for place, state in enumerate(curriculum.state):
        if state.each is None:
            states.append(state)
            origins.append(place)
            continue
        for name, rung in zip(names[state.name], rungs_of(curriculum.knob[state.each]), strict=True):
            changed = {"name": name, "set": {**state.set, state.each: rung}, "each": None}
            states.append(state.model_copy(update=changed))
            origins.append(place)
    every = [state.name for state in states]
    ways = [_way(transition, names, every) for transition in curriculum.transition]
    made = curriculum.model_copy(update={"state": states, "transition": ways})
    made.remember_origin(curriculum, tuple(origins))
    return made


def _way(transition: Transition, names: dict[str, list[str]], every: list[str]) -> Transition:
    """A transition between the states that are spelled out."""
    many = {name: rungs for name, rungs in names.items() if rungs != [name]}
    leaving, to = transition.from_, transition.to
    written = leaving if isinstance(leaving, list) else [leaving]
    if to in many and leaving == "*":
        sources: Any = [name for name in every if name not in many[to]]
    elif any(name in many for name in written):
        sources = [rung for name in written for rung in many.get(name, [name])]
        if transition.to == "next" and sources[-1] == every[-1] and written[-1] in many:
            sources = sources[:-1]  # the last rung of the last state has no next one
    else:
        sources = leaving
    target = many[to][0] if many.get(to) else to
    return transition.model_copy(update={"from_": sources, "to": target})


# Faults


def rung_faults(curriculum: Curriculum) -> Iterator[Fault]:
    """What is wrong with states that stand for several."""
    count = 0
    for i, state in enumerate(curriculum.state):
        path: tuple[Key, ...] = ("state", i, "each")
        if state.each is None:
            count += 1
            continue
        if state.each not in curriculum.knob:
            yield Fault("unknown-knob", path, f'no knob "{state.each}"', "", "", None, False, "", state.each,
                        tuple(curriculum.knob))  # fmt: skip
            continue
        rungs = rungs_of(curriculum.knob[state.each])
        count += len(rungs)
        if not rungs or any(isinstance(rung, list | tuple | dict) for rung in rungs):
            yield Fault("each-without-rungs", path, f'the knob "{state.each}", whose values have no names to be told '
                        "apart by", "a ladder of numbers or names, or a range of numbers with multiple_of")  # fmt: skip
        for table in ("set", "ramp"):
            if state.each in getattr(state, table):
                yield Fault("key-without-effect", ("state", i, table, state.each), f'"{state.each}" in {table} of a '
                            f'state for each of its rungs', "each alone", at_key=True)  # fmt: skip
    if count > MOST_STATES:
        yield Fault("wrong-count", ("state",), f"{count} states, rungs counted", f"at most {MOST_STATES}")


def written_faults(curriculum: Curriculum, faults: list[Fault]) -> list[Fault]:
    """Faults of a curriculum that is spelled out, with their places in the one that is written, each once."""
    names: dict[str, Any] = {
        "state": [{"name": state.name} for state in curriculum.state],
        "transition": [{"name": transition.name} for transition in curriculum.transition],
    }
    found: dict[tuple[str, tuple[Key, ...]], Fault] = {}
    for fault in faults:
        path = curriculum.written_path(fault.path)
        where = spelled(path, names) if path != fault.path else fault.where
        found.setdefault((fault.code, path), replace(fault, path=path, where=where))
    return list(found.values())
