"""Whether the guards of a curriculum fit: names, circles, sizes, and what each of them asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.guards import WORDS
from plateau_rule.controller.language.curriculum import Curriculum, Guard, word_of
from plateau_rule.controller.language.faults import Path, twin_faults, unknown

MOST_CONDITIONS = 4096  # of all transitions together, with names followed
DEEPEST_CONDITION = 32  # any, all, not, one inside the other; as much again for names


def walk(curriculum: Curriculum, condition: Guard | str, path: Path) -> Iterator[tuple[Guard | str, Path]]:
    """Every condition inside a condition, itself included, with its path; names are not followed."""
    todo = [(condition, path)]
    while todo:
        condition, path = todo.pop()
        yield condition, path
        todo += parts(condition, path)[::-1]


def parts(condition: Guard | str, path: Path) -> list[tuple[Guard | str, Path]]:
    """The conditions that a condition is made of, with their paths."""
    if isinstance(condition, str):
        return []
    return [(part, (*path, *below)) for part, below in word_of(condition).parts(condition.value)]


def _roots(curriculum: Curriculum) -> Iterator[tuple[Guard | str, Path]]:
    for name, guard in curriculum.guard.items():
        yield guard, ("guard", name)
    for i, transition in enumerate(curriculum.transition):
        for j, condition in enumerate(transition.guards):
            yield condition, ("transition", i, "guards", j)


def depth_faults(curriculum: Curriculum) -> list[Fault]:
    """Conditions nested too deep to be handled, which only Python can make: a file's nesting is bounded before."""
    found = []
    for root, root_path in _roots(curriculum):
        todo = [(root, root_path, 1)]
        while todo:
            condition, _, depth = todo.pop()
            if depth > DEEPEST_CONDITION:
                found.append(
                    Fault("nested-too-deep", root_path, f"conditions nested more than {DEEPEST_CONDITION} deep", "less")
                )
                break
            todo += [(part, (), depth + 1) for part, _ in parts(condition, ())]
    return found


def guard_faults(curriculum: Curriculum, sources: Callable[[int], list[str]]) -> Iterator[Fault]:
    """Everything in guards that does not fit; `sources` tells the states that a transition leaves."""
    named = [(name, ("guard", name)) for name in curriculum.guard]
    yield from twin_faults(named, "the guard", at_key=True)
    for root, root_path in _roots(curriculum):
        for condition, path in walk(curriculum, root, root_path):
            if isinstance(condition, str):
                if condition not in curriculum.guard:
                    word = condition.rstrip("_")
                    hint = f"Write a table, {{ {word} = … }}." if word in WORDS else ""
                    yield unknown(
                        "unknown-guard", path, "[guard.NAME]", condition, [] if hint else curriculum.guard, hint=hint
                    )
            else:
                yield from word_of(condition).faults(condition.value, (*path, condition.word), curriculum.knob)
    endless = list(_circle_faults(curriculum)) or list(_size_faults(curriculum))
    yield from endless or _ramp_faults(curriculum, sources)


def _circle_faults(curriculum: Curriculum) -> Iterator[Fault]:
    """Named guards that contain themselves.

    They are what is left when those that lead nowhere, and then those that nothing left leads to, are taken away.
    """
    leads = {
        name: {part for part, _ in walk(curriculum, guard, ()) if isinstance(part, str) and part in curriculum.guard}
        for name, guard in curriculum.guard.items()
    }
    for _ in range(2):  # those that lead nowhere, then, with the arrows turned, those that nothing leads to
        comes: dict[str, set[str]] = {name: set() for name in leads}
        for name, inner in leads.items():
            for other in inner:
                comes[other].add(name)
        todo = [name for name, inner in leads.items() if not inner]
        while todo:
            gone = todo.pop()
            del leads[gone]
            for name in comes[gone]:
                leads[name].remove(gone)
                if not leads[name]:
                    todo.append(name)
        leads = {name: {other for other in comes[name] if other in leads} for name in leads}
    for name in curriculum.guard:
        if name in leads:
            yield Fault("circular-guard", ("guard", name), f'the guard "{name}" contains itself',
                        "guards that end somewhere", at_key=True)  # fmt: skip


class _TooDeep(Exception):
    pass


def _size_faults(curriculum: Curriculum) -> Iterator[Fault]:
    """Guards that are small as written and huge with names followed."""
    known: dict[str, tuple[int, int]] = {}

    def measure(condition: Guard | str, left: int) -> tuple[int, int]:
        """How many conditions there are in one, and how deep they lie; at most `left` levels are looked at."""
        if left == 0:
            raise _TooDeep
        if isinstance(condition, str):
            if condition not in curriculum.guard:
                return 1, 1
            if condition not in known:
                known[condition] = measure(curriculum.guard[condition], left - 1)
            size, depth = known[condition]
            if depth > left - 1:
                raise _TooDeep
            return size, depth + 1
        inner = [measure(part, left - 1) for part, _ in parts(condition, ())]
        return 1 + sum(size for size, _ in inner), 1 + max((depth for _, depth in inner), default=0)

    total = 0
    for i, transition in enumerate(curriculum.transition):
        for j, condition in enumerate(transition.guards):
            path: Path = ("transition", i, "guards", j)
            try:
                total += measure(condition, 2 * DEEPEST_CONDITION)[0]
            except _TooDeep:
                found = f"conditions nested more than {2 * DEEPEST_CONDITION} deep, names followed"
                yield Fault("guard-too-large", path, found, "less")
                return
            if total > MOST_CONDITIONS:
                found = f"more than {MOST_CONDITIONS} conditions in all transitions, names followed"
                yield Fault("guard-too-large", path, found, "fewer")
                return


def _ramp_faults(curriculum: Curriculum, sources: Callable[[int], list[str]]) -> Iterator[Fault]:
    """Guards that wait for a ramp, asked in a state where that knob has none."""
    states = {state.name: state for state in curriculum.state}

    def asked(condition: Guard | str) -> Iterator[str]:
        for part, _ in walk(curriculum, condition, ()):
            if isinstance(part, str):
                yield from asked(curriculum.guard[part]) if part in curriculum.guard else ()
            elif (knob := word_of(part).ramp(part.value)) is not None:
                yield knob

    for i, transition in enumerate(curriculum.transition):
        for j, condition in enumerate(transition.guards):
            for knob in dict.fromkeys(asked(condition)):
                bare = [s for s in sources(i) if s in states and knob not in states[s].ramp]
                if bare and knob in curriculum.knob:
                    yield Fault("no-ramp", ("transition", i, "guards", j), f'no ramp of "{knob}" in "{bare[0]}"',
                                "a ramp in every state that the transition leaves")  # fmt: skip
