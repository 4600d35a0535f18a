"""Whether the names and values in a curriculum fit together; what a schema cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from controller.amounts import parse_amount
from controller.errors import Fault, Key
from controller.language import FULL, Curriculum, Guard, Knob, Number, Plateau, Rung

PROPERTIES = ("names", "reach", "escape", "monotone", "aligned", "order", "timing", "noise", "resume")
NEXT = "next"
Path = tuple[Key, ...]


def nearest(word: str, words: Iterable[str]) -> str:
    """A sentence that suggests the word that was probably meant, or lists the words that exist."""
    known = sorted(words)
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{close[0]}"?'
    return f"Known here: {', '.join(known)}." if known else ""


def hardness(value: Rung) -> float:
    """Where a knob's value stands among numbers; `full` is above them all until it is bound."""
    return float("inf") if value == FULL else float(value)


def faults_of(curriculum: Curriculum) -> list[Fault]:
    """List everything in a curriculum that does not fit together, in the order of the file's parts."""
    return [
        *_knob_faults(curriculum),
        *_rate_faults(curriculum),
        *_state_faults(curriculum),
        *_guard_faults(curriculum),
        *_transition_faults(curriculum),
        *_check_faults(curriculum),
    ]


def _knob_faults(curriculum: Curriculum) -> Iterator[Fault]:
    for name, knob in curriculum.knob.items():
        path: Path = ("knob", name)
        if (knob.ladder is None) == (knob.range is None):
            yield Fault("knob-values", path, "neither a ladder nor a range" if knob.ladder is None else "a ladder and a range",
                        "exactly one of ladder and range")  # fmt: skip
        for i, value in enumerate(knob.ladder or ()):
            if i and hardness(value) <= hardness(knob.ladder[i - 1]):  # type: ignore[index]  # a ladder, since it is looped over
                yield Fault("ladder-order", (*path, "ladder", i), f"{_spell(value)} after {_spell(knob.ladder[i - 1])}",  # type: ignore[index]
                            "values that grow, each once, the easiest first")  # fmt: skip
        if knob.range is not None:
            if hardness(knob.range.max) < knob.range.min:
                yield Fault(
                    "range-order", (*path, "range", "max"), f"max {_spell(knob.range.max)} below min {knob.range.min}"
                )
            if knob.range.multiple_of is not None and knob.range.multiple_of <= 0:
                yield Fault(
                    "range-multiple", (*path, "range", "multiple_of"), f"{knob.range.multiple_of}", "a number above 0"
                )


def _rate_faults(curriculum: Curriculum) -> Iterator[Fault]:
    rate = curriculum.lr
    if rate.length is not None and rate.cycles is not None:
        yield Fault("length-and-cycles", ("lr", "cycles"), "both length and cycles", "one of them", at_key=True)
    for i, cycle in enumerate(rate.cycles or ()):
        if cycle == "rest" and i + 1 < len(rate.cycles or ()):
            yield Fault(
                "rest-not-last", ("lr", "cycles", i), '"rest" before the last cycle', '"rest" only as the last cycle'
            )
        elif cycle != "rest" and parse_amount(cycle).count == 0:
            yield Fault("empty-amount", ("lr", "cycles", i), f'"{cycle}"', "a cycle that lasts")
    if rate.warmup == "rest":
        yield Fault("rest-here", ("lr", "warmup"), '"rest"', 'an amount of time such as "500 steps"')
    for i, state in enumerate(curriculum.state):
        for key, length in (("state", state.lr.length), ("lr", rate.length)):
            if length not in (None, "rest") and parse_amount(length).count == 0 and (key == "state" or i == 0):  # type: ignore[arg-type]
                path: Path = ("state", i, "lr", "length") if key == "state" else ("lr", "length")
                yield Fault("empty-amount", path, f'"{length}"', "a length that lasts")


def _state_faults(curriculum: Curriculum) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for i, state in enumerate(curriculum.state):
        path: Path = ("state", i)
        if state.name == NEXT:
            yield Fault(
                "reserved-name",
                (*path, "name"),
                f'"{NEXT}" as a name',
                'another name: "next" means the state written after it',
            )
        other = seen.setdefault(state.name.casefold(), state.name)
        if state.name.casefold() in {s.name.casefold() for s in curriculum.state[:i]}:
            like = "a second time" if other == state.name else f'beside "{other}"'
            yield Fault(
                "duplicate-name", (*path, "name"), f'"{state.name}" {like}', "state names that differ by more than case"
            )
        for name, value in state.set.items():
            if name not in curriculum.knob:
                yield Fault(
                    "unknown-knob",
                    (*path, "set", name),
                    f'no knob "{name}"',
                    "",
                    nearest(name, curriculum.knob),
                    at_key=True,
                )
            elif problem := misfit(curriculum.knob[name], value):
                yield Fault("off-ladder", (*path, "set", name), f"{name} = {_spell(value)}", problem)
        for name in curriculum.knob.keys() - state.set.keys():
            yield Fault("knob-not-set", (*path, "set"), f'state "{state.name}" does not set the knob "{name}"',
                        "a value for every knob in every state", at_key=True)  # fmt: skip
        for name, ramp in state.ramp.items():
            here = (*path, "ramp", name)
            if name not in curriculum.knob:
                yield Fault("unknown-knob", here, f'no knob "{name}"', "", nearest(name, curriculum.knob), at_key=True)
                continue
            if problem := misfit(curriculum.knob[name], ramp.to):
                yield Fault("off-ladder", (*here, "to"), f"{name} = {_spell(ramp.to)}", problem)
            elif name in state.set and hardness(ramp.to) < hardness(state.set[name]):
                yield Fault("falling-ramp", (*here, "to"), f"a ramp from {_spell(state.set[name])} down to {_spell(ramp.to)}",
                            "a ramp that rises")  # fmt: skip
            if ramp.over == "rest" or parse_amount(ramp.over).count == 0:
                yield Fault("rest-here", (*here, "over"), f'"{ramp.over}"', 'an amount of time such as "500 steps"')


def misfit(knob: Knob, value: Rung) -> str:
    """Say what a knob's value should be, or nothing if it is one of them."""
    if knob.ladder is not None:
        return "" if value in knob.ladder else f"one of {', '.join(map(_spell, knob.ladder))}"
    if knob.range is None:
        return ""
    low, high, step = knob.range.min, knob.range.max, knob.range.multiple_of
    if not low <= hardness(value) <= hardness(high):
        return f"{low} to {_spell(high)}"
    if step is not None and value != FULL and float(value) % step != 0:
        return f"a multiple of {step}"
    return ""


def walk(curriculum: Curriculum, condition: Guard | str, path: Path) -> Iterator[tuple[Guard | str, Path]]:
    """Every condition inside a condition, itself included, with its path; names are not followed."""
    yield condition, path
    if isinstance(condition, Guard) and condition.word in ("any", "all"):
        for i, part in enumerate(condition.value):
            yield from walk(curriculum, part, (*path, condition.word, i))
    elif isinstance(condition, Guard) and condition.word == "not":
        yield from walk(curriculum, condition.value, (*path, "not"))


def _written_conditions(curriculum: Curriculum) -> Iterator[tuple[Guard | str, Path]]:
    for name, guard in curriculum.guard.items():
        yield from walk(curriculum, guard, ("guard", name))
    for i, transition in enumerate(curriculum.transition):
        for j, condition in enumerate(transition.guards):
            yield from walk(curriculum, condition, ("transition", i, "guards", j))


def _guard_faults(curriculum: Curriculum) -> Iterator[Fault]:
    for condition, path in _written_conditions(curriculum):
        if isinstance(condition, str):
            if condition not in curriculum.guard:
                yield Fault("unknown-guard", path, f'no guard "{condition}"', "a [guard.NAME] of this file or a table",
                            nearest(condition, curriculum.guard))  # fmt: skip
        elif condition.word == "dwell" and condition.value == "rest":
            yield Fault("rest-here", (*path, "dwell"), '"rest"', 'an amount of time such as "500 steps"')
        elif condition.word == "plateau":
            yield from _plateau_faults(condition.value, (*path, "plateau"))
        elif condition.word == "ramp_done" and condition.value not in curriculum.knob:
            yield Fault(
                "unknown-knob",
                (*path, "ramp_done"),
                f'no knob "{condition.value}"',
                "",
                nearest(condition.value, curriculum.knob),
            )
    for name in curriculum.guard:
        if _reaches_itself(curriculum, name):
            yield Fault(
                "circular-guard",
                ("guard", name),
                f'the guard "{name}" contains itself',
                "guards that end somewhere",
                at_key=True,
            )


def _reaches_itself(curriculum: Curriculum, start: str) -> bool:
    todo, seen = [start], set[str]()
    while todo:
        for part, _ in walk(curriculum, curriculum.guard[todo.pop()], ()):
            if part == start:
                return True
            if isinstance(part, str) and part in curriculum.guard and part not in seen:
                seen.add(part)
                todo.append(part)
    return False


METHOD_KEYS = {
    "halves": ("window", "threshold", "per"),
    "trend": ("window", "threshold", "per", "confidence", "min_window", "cooldown"),
    "returns": ("share",),
}


def _plateau_faults(plateau: Plateau, path: Path) -> Iterator[Fault]:
    given = plateau.model_fields_set
    own = METHOD_KEYS[plateau.method]
    for key in sorted(given - {"metric", "method"} - set(own)):
        fitting = " or ".join(f'"{method}"' for method, keys in METHOD_KEYS.items() if key in keys)
        yield Fault(
            "key-of-other-method",
            (*path, key),
            f'"{key}" with method "{plateau.method}"',
            f"method {fitting}",
            at_key=True,
        )
    if plateau.method == "halves" and plateau.window < 2:
        yield Fault(
            "window-too-short", (*path, "window"), f"a window of {plateau.window}", "at least 2: it has two halves"
        )
    if plateau.per == "rest" or (plateau.per != "window" and parse_amount(plateau.per).count == 0):
        yield Fault(
            "rest-here", (*path, "per"), f'"{plateau.per}"', '"window" or an amount of time such as "1000 steps"'
        )


def sources(curriculum: Curriculum, index: int) -> list[str]:
    """The names of the states that a transition leaves, in the order of the file."""
    transition = curriculum.transition[index]
    names = [state.name for state in curriculum.state]
    if transition.from_ == "*":
        return names[:-1] if transition.to == NEXT else [name for name in names if name != transition.to]
    return [transition.from_] if isinstance(transition.from_, str) else list(transition.from_)


def target(curriculum: Curriculum, index: int, source: str) -> str | None:
    """The name of the state that a transition enters from `source`, or None where there is no next one."""
    to = curriculum.transition[index].to
    if to != NEXT:
        return to
    names = [state.name for state in curriculum.state]
    place = names.index(source) + 1
    return names[place] if place < len(names) else None


def _transition_faults(curriculum: Curriculum) -> Iterator[Fault]:
    names = [state.name for state in curriculum.state]
    titles = Counter(t.name for t in curriculum.transition if t.name is not None)
    for i, transition in enumerate(curriculum.transition):
        path: Path = ("transition", i)
        if transition.name is not None and titles[transition.name] > 1 and transition.name in {
            t.name for t in curriculum.transition[:i]
        }:  # fmt: skip
            yield Fault(
                "duplicate-name", (*path, "name"), f'"{transition.name}" a second time', "transition names that differ"
            )
        written = transition.from_ if isinstance(transition.from_, list) else [transition.from_]
        for j, name in enumerate(written):
            here: Path = (*path, "from", j) if isinstance(transition.from_, list) else (*path, "from")
            if name == "*" and here[-1] == "from":
                continue
            if name not in names:
                yield Fault("unknown-state", here, f'no state "{name}"', "", nearest(name, names))
            elif transition.to == NEXT and name == names[-1]:
                yield Fault(
                    "no-next-state",
                    here,
                    f'"{name}" is the last state, it has no next one',
                    "a state that has a next one",
                )
            elif name in written[:j]:
                yield Fault("duplicate-name", here, f'"{name}" a second time', "each state once")
        if transition.to != NEXT and transition.to not in names:
            yield Fault(
                "unknown-state",
                (*path, "to"),
                f'no state "{transition.to}"',
                "",
                nearest(transition.to, [*names, NEXT]),
            )
        if not sources(curriculum, i):
            yield Fault("leaves-nothing", (*path, "from"), "no state that this transition could leave", "at least one")


def _check_faults(curriculum: Curriculum) -> Iterator[Fault]:
    for name in curriculum.check.waive:
        if name not in PROPERTIES:
            yield Fault(
                "unknown-property",
                ("check", "waive", name),
                f'no property "{name}"',
                "",
                nearest(name, PROPERTIES),
                at_key=True,
            )
    if parse_amount(curriculum.check.align.within).unit != "steps":
        yield Fault(
            "within-in-steps", ("check", "align", "within"), f'"{curriculum.check.align.within}"', "an amount in steps"
        )


def _spell(value: Rung | Number) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
