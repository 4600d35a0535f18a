"""What a file declares and nothing uses, and which of its guards and transitions can make no difference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from plateau_rule.controller.errors import Key
from plateau_rule.controller.guards import TRUE
from plateau_rule.controller.guards.not_ import Not
from plateau_rule.controller.language.conditions import parts, walk
from plateau_rule.controller.language.curriculum import Curriculum, Guard, word_of
from plateau_rule.controller.machine import BoundTransition, Machine
from plateau_rule.controller.verifier.findings import Finding
from plateau_rule.controller.verifier.logic import Node
from plateau_rule.controller.verifier.longer import by_share
from plateau_rule.controller.verifier.outcome import COUNT, FREE, STEP, TIME
from plateau_rule.controller.verifier.zone_graph import Reach

Path = tuple[Key, ...]
ALIKE = 0.85  # of two metrics' names


# Declared, and not used


def unused(machine: Machine) -> Iterator[Finding]:
    """Guards that nothing asks for, rungs that no state sets, metrics that are almost the same."""
    curriculum = machine.curriculum
    named = {part for _, part in _conditions(curriculum) if isinstance(part, str)}
    for name in curriculum.guard:
        if name not in named:
            yield Finding("unused-guard", "names", "error", ("guard", name), f'nothing asks for the guard "{name}"',
                          "Name it in a transition's guards, or remove it", at_key=True)  # fmt: skip
    for name, knob in curriculum.knob.items():
        used = {state.set[name] for state in curriculum.state}
        used |= {state.ramp[name].to for state in curriculum.state if name in state.ramp}
        ramped = any(name in state.ramp for state in curriculum.state)
        for i, rung in enumerate(knob.ladder or ()):
            if rung not in used and not ramped:
                yield Finding("unused-rung", "names", "note", ("knob", name, "ladder", i),
                              f"no state sets {name} = {rung}",
                              "Add a state for it, or take it off the ladder")  # fmt: skip
    yield from _odd_metrics(curriculum)


def _conditions(curriculum: Curriculum) -> Iterator[tuple[Path, Guard | str]]:
    for name, guard in curriculum.guard.items():
        for part, path in walk(curriculum, guard, ("guard", name)):
            yield path, part
    for i, transition in enumerate(curriculum.transition):
        for j, condition in enumerate(transition.guards):
            for part, path in walk(curriculum, condition, ("transition", i, "guards", j)):
                yield path, part


def _odd_metrics(curriculum: Curriculum) -> Iterator[Finding]:
    seen = ["loss"]
    for path, part in _conditions(curriculum):
        name = None if isinstance(part, str) else word_of(part).metric(part.value)
        if isinstance(part, str) or name is None or name in seen:
            continue
        like = next((other for other in seen if _alike(name, other)), None)
        if like is not None:
            yield Finding("odd-metric", "names", "warning", (*path, part.word, "metric"),
                          f'the metric "{name}" looks like "{like}"',
                          f'Write "{like}", unless the trainer gives both to observe')  # fmt: skip
        seen.append(name)


def _alike(one: str, other: str) -> bool:
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio() >= ALIKE and one[-1:] not in "0123456789"


# Guards and transitions


class TransitionPlace(NamedTuple):
    """A transition out of one state that can be reached: the state's place, and its own among the state's."""

    state: int
    place: int


def idle(reach: Reach, stuck: set[int]) -> Iterator[Finding]:
    """Transitions that are never taken, guards that are never or always true; not those of `stuck` states alone."""
    machine = reach.machine
    reached = {node.kind.state for node in reach.nodes}
    taken = {(edge.source.kind.state, edge.place) for node in reach.nodes for edge in node.to}
    for index in range(len(machine.curriculum.transition)):
        places = [TransitionPlace(s, j) for s in sorted(reached) for j, t in enumerate(machine.states[s].transitions)
                  if t.index == index and machine.states[s].stop is None]  # fmt: skip
        if any(place.state not in stuck for place in places):
            yield from _of_transition(reach, index, places, any(place in taken for place in places))


def _of_transition(reach: Reach, index: int, places: list[TransitionPlace], taken: bool) -> Iterator[Finding]:
    looked = [place for place in places if reach.looked.get(place)]
    transition = reach.machine.states[places[0].state].transitions[places[0].place]
    path: Path = ("transition", index)
    if not looked:
        when = {"epoch": "an epoch closes", "eval": "an evaluation comes", "step": "it is looked at"}[transition.at]
        why, remedy = f"its states are left, or the run is over, before {when}", "correct the other transitions"
        if transition.at == "epoch" and reach.machine.run.epochs == 1:
            why, remedy = "the run is over when its only epoch closes", "give the run more epochs"
        yield Finding("never-looked-at", "order", "error", (*path, "at"),
                      f"{transition.title} is never looked at: {why}", f"Look at it at every step, or {remedy}"
                      )  # fmt: skip
        return
    can_be = True
    for j, condition in enumerate(reach.machine.curriculum.transition[index].guards):
        nodes = [reach.courses(place.state).looks.parts[place.place][j] for place in looked]
        can_be = can_be and bool(_verdicts(reach, looked, nodes) & TRUE)
        _, found = _constant(reach, condition, (*path, "guards", j), looked, nodes)
        yield from found
    if not taken and can_be:
        yield _never_taken(reach, transition, path, looked)


def _verdicts(reach: Reach, looked: list[TransitionPlace], nodes: list[Node]) -> int:
    """The verdicts that a condition has at some look."""
    found = 0
    for place, node in zip(looked, nodes, strict=True):
        looks = reach.courses(place.state).looks
        for times, steps in reach.looked[place]:
            found |= looks.verdicts(node, times, steps)
    return found


def _constant(
    reach: Reach, condition: Guard | str, path: Path, looked: list[TransitionPlace], nodes: list[Node]
) -> tuple[str, list[Finding]]:
    """Whether a condition has the same verdict at every look (a code, or nothing), and what to say of it and its parts.

    Where a part makes it so by itself, the part is to blame, and not what is around it.
    """
    verdicts = _verdicts(reach, looked, nodes)
    code = "never-true" if not verdicts & TRUE else "always-true" if verdicts == TRUE else ""
    parts = [_constant(reach, part, where, looked, inner) for part, where, inner in _parts(condition, path, nodes)]
    opposite = _is_opposite(condition)
    blamed = {"never-true": "always-true", "always-true": "never-true"}.get(code, "") if opposite else code
    if not code or any(part == blamed for part, _ in parts):
        return code, [finding for _, found in parts for finding in found]
    if code == "never-true":
        reason, short = _reason(reach, looked, nodes)
        guard = reach.machine.curriculum.guard[condition] if isinstance(condition, str) else condition
        longer = ", make the run longer" if short and not by_share(guard) else ""
        remedy = f"Correct it{longer}, or remove the transition"
        return code, [
            Finding("never-true", "order", "error", path, f"{_words(condition)} can never be true{reason}", remedy)
        ]
    sentence = f"{_words(condition)} is always true when it is looked at"
    return code, [Finding("always-true", "order", "error", path, sentence, "Leave it out, or correct its number")]


def _parts(condition: Guard | str, path: Path, nodes: list[Node]) -> Iterator[tuple[Guard | str, Path, list[Node]]]:
    """The conditions inside a condition; what is inside `not` only if it has parts itself."""
    if isinstance(condition, str):
        return
    for i, (part, where) in enumerate(parts(condition, path)):
        if not _is_opposite(condition):
            yield part, where, [node[1][i] for node in nodes]
        elif parts(part, where):
            yield part, where, [node[1] for node in nodes]


def _is_opposite(condition: Guard | str) -> bool:
    return isinstance(condition, Guard) and isinstance(word_of(condition), Not)


def _words(condition: Guard | str) -> str:
    if isinstance(condition, str):
        return f'the guard "{condition}"'
    value = condition.value
    if _is_opposite(condition):
        return f"not {_words(value)}"
    if isinstance(value, int | str):
        return f"{condition.word} = {json.dumps(value)}"
    return condition.word


def _reason(reach: Reach, looked: list[TransitionPlace], nodes: list[Node]) -> tuple[str, bool]:
    """What a guard asks for that there is not enough of, if that is why; and whether the run is too short for it."""
    atoms = []
    for place, node in zip(looked, nodes, strict=True):
        if node[0] != "atom":
            return "", False
        atoms.append(reach.courses(place.state).looks.atoms[node[1]])
    atom, total = atoms[0], reach.machine.run.total_steps
    if atom.kind == COUNT:
        limit = reach.machine.curriculum.nonfinite.limit
        return (f": after {limit} such losses in a row the run is given up" if atom.needs > limit else "", False)
    if total is None:
        return "", False
    at = {reach.machine.states[place.state].transitions[place.place].at for place in looked}
    if atom.kind == STEP and atom.needs >= total:
        return f": step {atom.needs} lies at or past the end of the run of {total} steps", True
    if atom.kind == STEP:
        early = f"its states are always left before step {atom.needs}"
        return f": {early}" if at == {"step"} else f": it is not looked at from step {atom.needs} on", False
    what = {TIME: "steps in the state", FREE: "values in the state"}[atom.kind]
    first = min(n.zone.entry_low for n in reach.nodes if any(n.kind.state == place.state for place in looked))
    if atom.needs >= total:
        end = f"the run has {total} steps"
    elif first + atom.needs >= total:
        end = f"it is entered at step {first} of {total} at the earliest"
    else:
        end = "the state never lasts that long" if at == {"step"} else "it is never looked at so late"
    return f": it takes {atom.needs} {what}, and {end}", first + atom.needs >= total


def _never_taken(reach: Reach, transition: BoundTransition, path: Path, looked: list[TransitionPlace]) -> Finding:
    """Why a transition whose guards can each be true is never taken."""
    together = fires = False
    beaten: set[int] | None = None
    titles = {t.index: t.title for state in reach.machine.states for t in state.transitions}
    for place in looked:
        looks = reach.courses(place.state).looks
        everyone = (1 << len(looks.transitions)) - 1
        for times, steps in reach.looked[place]:
            facts = looks.facts(times, steps, everyone)
            if not facts.true >> place.place & 1:
                continue
            together = True
            fires = fires or bool((facts.fires_off | facts.fires_on) >> place.place & 1)
            earlier = {
                t.index for i, t in enumerate(looks.transitions[: place.place]) if facts.implies[place.place] >> i & 1
            }
            beaten = earlier if beaten is None else beaten & earlier
    title = transition.title
    if not together:
        return Finding("never-true", "order", "error", (*path, "guards"),
                       f"the guards of {title} are never true together",
                       "Correct them, or remove the transition", at_key=True)  # fmt: skip
    if beaten:
        by = titles[min(beaten)]
        return Finding("shadowed", "order", "error", path,
                       f"{title} is never taken: whenever it could be, {by} is, which stands before it",
                       "Write the narrower transition first")  # fmt: skip
    if not fires:
        return Finding("shadowed", "order", "error", path,
                       f"{title} is never taken: whenever it could be, a transition that stands before it is",
                       "Write the narrower transition first")  # fmt: skip
    if transition.sustain > 1:
        return Finding("sustain-too-long", "order", "error", (*path, "sustain"),
                       f"the guards of {title} cannot hold for {transition.sustain} looks in a row: "
                       "the state is left, or the run is over, before", "Choose a smaller sustain")  # fmt: skip
    return Finding("never-taken", "order", "error", path,
                   f"{title} is never taken: the state is always left, or the run is over, before",
                   "Correct the times that are asked for")  # fmt: skip
