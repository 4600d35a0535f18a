"""Whether the names and values in a curriculum fit together; what a schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from plateau_rule.controller.errors import Fault, Key, spelled
from plateau_rule.controller.errors import nearest as nearest
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.clock_faults import clock_faults
from plateau_rule.controller.language.conditions import depth_faults, guard_faults
from plateau_rule.controller.language.conditions import walk as walk
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.faults import twin_faults, unknown
from plateau_rule.controller.language.knob_faults import knob_faults, value_faults
from plateau_rule.controller.language.metrics import metric_faults
from plateau_rule.controller.language.rate_faults import rate_faults
from plateau_rule.controller.language.rungs import has_rungs, names_of, rung_faults, spelled_out, written_faults

PROPERTIES = ("names", "reach", "escape", "monotone", "aligned", "order", "timing", "noise", "resume")
NEXT = "next"
Path = tuple[Key, ...]


def faults_of(curriculum: Curriculum) -> list[Fault]:
    """List everything in a curriculum that does not fit together, in the order of the file's parts."""
    names = {
        "state": [{"name": state.name} for state in curriculum.state],
        "transition": [{"name": transition.name} for transition in curriculum.transition],
    }
    if has_rungs(curriculum):
        made = list(rung_faults(curriculum))
        if made or not all(names_of(curriculum, state) for state in curriculum.state):
            made += knob_faults(curriculum)
            return [replace(fault, where=spelled(fault.path, names)) for fault in made]
        out = spelled_out(curriculum)
        return written_faults(out, faults_of(out))
    # Conditions too deep to be walked come first; guards that go in circles or grow without end hide what they ask for.
    faults = depth_faults(curriculum) or [
        *knob_faults(curriculum),
        *clock_faults(curriculum),
        *rate_faults(curriculum, _entered_by_restart(curriculum)),
        *_state_faults(curriculum),
        *metric_faults(curriculum),
        *guard_faults(curriculum, lambda index: sources(curriculum, index)),
        *_transition_faults(curriculum),
        *_check_faults(curriculum),
    ]
    return [replace(fault, where=spelled(fault.path, names)) for fault in faults]


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
        yield from value_faults(curriculum, i)
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
