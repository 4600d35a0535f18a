"""What was edited: two meanings compared, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from plateau_rule.controller.language.fingerprint import canonical, transition_keys
from plateau_rule.controller.machine import Machine

LISTED = ("state", "transition", "ways")  # of a meaning: compared by name; `ways` says the same again


class Edit(NamedTuple):
    """Something that is not as it was.

    Attributes:
        what: where it stands, in words.
        old: how it was; None where it was not there.
        new: how it is; None where it is no longer there.
    """

    what: str
    old: Any
    new: Any


def edits(old: Machine, new: Machine) -> Iterator[Edit]:
    """Everything that two bound curricula say differently, comments and spelling aside."""
    before, after = canonical(old.curriculum), canonical(new.curriculum)
    yield from _tables("", _bound(old), _bound(new))
    for name in [name for name in dict.fromkeys([*before, *after]) if name not in LISTED]:
        shown = "metrics of evaluations that no guard watches" if name == "evaluated" else name
        yield from _tables(shown, before.get(name), after.get(name))
    states = [_by(meaning["state"], "name") for meaning in (before, after)]
    yield from _named("state", *[{f'"{name}"': table for name, table in one.items()} for one in states])
    titles = _titles(new)
    for key, title in _titles(old).items():  # a number may mean another one in the new file
        titles.setdefault(key, f"{title}, as it was" if title in titles.values() else title)
    transitions = [_by(meaning["transition"], "key") for meaning in (before, after)]
    yield from _named("transition", *[{titles[key]: table for key, table in one.items()} for one in transitions])


def _titles(machine: Machine) -> dict[str, str]:
    """What transitions are called, by their keys: a name, or where one without a name leads and its number."""
    written, found = machine.curriculum.written.transition, dict[str, str]()
    for place, (key, way) in enumerate(zip(transition_keys(machine.curriculum), written, strict=True)):
        leaving = ", ".join(way.from_) if isinstance(way.from_, list) else way.from_
        found[key] = f'"{way.name}"' if way.name is not None else f"{place + 1} ({leaving} to {way.to})"
    return found


def _bound(machine: Machine) -> dict[str, Any]:
    """What is no part of a curriculum's meaning, and changes what a run or its check is."""
    curriculum, run = machine.curriculum, machine.run
    final = [state.name for state in curriculum.state if state.final]
    align = {name: value for name, value in machine.align._asdict().items() if name not in ("of_run", "late_steps")}
    return {
        "epochs": run.epochs,
        "steps_per_epoch": run.steps_per_epoch,
        "tokens_per_step": run.tokens_per_step,
        "final": ", ".join(final) or None,
        "check": {"align": align, "waive": dict(curriculum.check.waive)},
    }


def _by(tables: Sequence[Mapping[str, Any]], key: str) -> dict[str, Mapping[str, Any]]:
    return {table[key]: {name: value for name, value in table.items() if name != key} for table in tables}


def _named(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Edit]:
    """Tables that have a name: those that are gone, those that are new, those that were edited, and their order."""
    for name in old:
        if name not in new:
            yield Edit(f"{kind} {name}", "there", None)
    for name, table in new.items():
        if name not in old:
            yield Edit(f"{kind} {name}", None, "there")
        else:
            yield from _tables(f"{kind} {name}", old[name], table)
    kept, now = [name for name in old if name in new], [name for name in new if name in old]
    if kept != now:
        yield Edit(f"order of the {kind}s", *[", ".join(name.strip('"') for name in names) for names in (kept, now)])


def _tables(where: str, old: Any, new: Any) -> Iterator[Edit]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _tables(_below(where, key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and _words(old) and _words(new):
        yield from _guards(where, old, new)
    elif isinstance(old, Mapping) and new is None and old:
        yield from _tables(where, old, dict.fromkeys(old))
    elif isinstance(new, Mapping) and old is None and new:
        yield from _tables(where, dict.fromkeys(new), new)
    else:
        yield Edit(where, _plain(old), _plain(new))


def _below(where: str, key: str) -> str:
    """A place inside another: a key of a named table stands after a comma."""
    return f"{where}, {key}" if where.endswith(('"', ")")) else f"{where}.{key}" if where else key


def _words(items: list[Any]) -> bool:
    """Whether a list is one of guards, each a table of one word; or empty."""
    return all(isinstance(item, Mapping) and len(item) == 1 for item in items)


def _guards(where: str, old: list[Any], new: list[Any]) -> Iterator[Edit]:
    """Guards that are joined: a word that stands once in both was edited, others came or went."""
    gone = [guard for guard in old if guard not in new]
    come = [guard for guard in new if guard not in old]
    for guard in list(gone):
        (word,) = guard
        same = [other for other in come if word in other]
        if len(same) == 1 and sum(word in other for other in gone) == 1:
            gone.remove(guard)
            come.remove(same[0])
            yield from _tables(_below(where, word), guard[word], same[0][word])
    yield from (Edit(f"{where}, {_plain(guard)}", "there", None) for guard in gone)
    yield from (Edit(f"{where}, {_plain(guard)}", None, "there") for guard in come)
    if not gone and not come and [*map(list, old)] != [*map(list, new)]:
        yield Edit(f"{where}, in order", _plain(old), _plain(new))


def _plain(value: Any) -> Any:
    """A value as JSON-able data; whole numbers as such, and tables as the text that a person reads."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, list):
        return ", ".join(f"({_plain(item)})" if isinstance(item, Mapping) else str(_plain(item)) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(said)}".strip() for key, said in value.items())
    return value
