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
MOST_DRAWN = 5  # rungs of a state that are drawn one by one


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


# Drawn


def abbreviated(curriculum: Curriculum) -> Curriculum:
    """The curriculum to be drawn: its rungs spelled out, those in the middle of many as one state; it is for show.

    All are spelled out where the rate follows the knob: it is another one in each.
    """
    if not has_rungs(curriculum):
        return curriculum
    out = spelled_out(curriculum)
    by_name = {state.name: state for state in out.state}
    states, shown_as = [], dict[str, str]()
    for written in curriculum.state:
        names = names_of(curriculum, written)
        if written.each is None or written.each in curriculum.lr.follow or len(names) <= MOST_DRAWN:
            boxes = [[name] for name in names]
        else:
            boxes = [names[:1], names[1:2], names[2:-1], names[-1:]]
        for box in boxes:
            first, last = by_name[box[0]], by_name[box[-1]]
            shown_as |= dict.fromkeys(box, box[0] if len(box) == 1 else f"{box[0]} … {box[-1]}")
            if len(box) > 1 and written.each is not None:
                values = f"{first.set[written.each]} to {last.set[written.each]}, {len(box)} rungs"
                first = first.model_copy(update={"name": shown_as[box[0]], "set": {**first.set, written.each: values}})
            states.append(first)
    ways = []
    for way in out.transition:
        sources = way.from_ if isinstance(way.from_, list) else [way.from_]
        leaving = list(dict.fromkeys(shown_as.get(source, source) for source in sources))
        ways.append(way.model_copy(update={"from_": leaving if leaving != ["*"] else "*",
                                           "to": shown_as.get(way.to, way.to)}))  # fmt: skip
    return out.model_copy(update={"state": states, "transition": ways})


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
        knob = curriculum.knob[state.each]
        rungs = rungs_of(knob)
        count += len(rungs)
        if not rungs or any(isinstance(rung, list | tuple | dict) for rung in rungs):
            yield from _uncounted(knob, state.each, path)
        for table in ("set", "ramp"):
            if state.each in getattr(state, table):
                yield Fault("key-without-effect", ("state", i, table, state.each), f'"{state.each}" in {table} of a '
                            f'state for each of its rungs', "each alone", at_key=True)  # fmt: skip
    if count > MOST_STATES:
        yield Fault("wrong-count", ("state",), f"{count} states, rungs counted", f"at most {MOST_STATES}")


def _uncounted(knob: Knob, name: str, path: tuple[Key, ...]) -> Iterator[Fault]:
    """Why the values of a knob are not to be counted; where its own table is at fault, that is told of the table."""
    span = knob.range
    if span is None and knob.ladder:
        why, expected = (
            "whose values are lists or tables: no state can be called by them",
            "a ladder of numbers or names",
        )
    elif span is None:
        why, expected = "which has no ladder", "a knob with a ladder, or a range with multiple_of"
    elif span.max == FULL:
        why = 'whose range ends in "full": where that is, the file does not say'
        expected = "a range whose max is a number"
    elif span.multiple_of is None:
        why, expected = "whose range has no multiple_of to count by", "a range with multiple_of, or a ladder"
    elif span.multiple_of > 0 and span.max >= span.min:
        count = int((float(span.max) - span.min) / span.multiple_of) + 1
        why, expected = f"whose range has {count:,} rungs", f"at most {MOST_STATES}: each is a state"
    else:
        return
    yield Fault("each-without-rungs", path, f'the knob "{name}", {why}', expected)


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
