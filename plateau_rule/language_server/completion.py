"""What may stand at the cursor: the keys of a table, the words of a value, and the names that the file has given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from plateau_rule.controller.errors import Key
from plateau_rule.controller.language.consistency import PROPERTIES
from plateau_rule.controller.language.values import Table, descriptions
from plateau_rule.controller.language.vocabulary import bare, keys_of, kinds_at, members, phrase, tables_at
from plateau_rule.language_server.cursor import CursorPlace

_HEADER = re.compile(r"[ \t]*\[\[?[ \t]*([A-Za-z0-9_-]+)(?:[ \t]*\.[ \t]*\"?([A-Za-z0-9_./-]+)\"?)?[ \t]*\]")
_ENTRY = re.compile(r"[ \t]*\"?([A-Za-z0-9_-]+)\"?[ \t]*(?:\.[^=]*)?=[ \t]*(?:[\"']([^\"']*)[\"'])?")
_AMOUNTS = ("500 steps", "1 epoch", "0.1 run")


@dataclass(frozen=True, slots=True)
class Completion:
    """Something that may be written at the cursor.

    Attributes:
        label: what it is called.
        text: what is written in the place of the word at the cursor.
        kind: a key of a table, a value, or a name that the file has given to something.
        asks: what the key, or the value's key, asks for.
        about: what it means.
    """

    label: str
    text: str
    kind: Literal["key", "value", "name"]
    asks: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class GivenNames:
    """The names that a text, half-written or not, gives to its parts, in order."""

    states: tuple[str, ...]
    tables: dict[str, tuple[str, ...]]  # of `knob`, `guard` and their like: the names behind the dot


def names_in(text: str) -> GivenNames:
    """Read the names off a text line by line, for it may not be valid."""
    states: list[str] = []
    tables: dict[str, dict[str, None]] = {}
    header: tuple[str, str | None] = ("", None)
    for line in text.split("\n"):
        if match := _HEADER.match(line):
            header = (match.group(1), match.group(2))
            if header[1] is not None:
                tables.setdefault(header[0], {})[header[1]] = None
        elif (match := _ENTRY.match(line)) and header[1] is None:
            if header[0] == "state" and match.group(1) == "name" and match.group(2):
                states.append(match.group(2))
            elif header[0] in ("knob", "guard", "metric"):
                tables.setdefault(header[0], {})[match.group(1)] = None
    return GivenNames(tuple(states), {name: tuple(inside) for name, inside in tables.items()})


def completions(text: str, cursor: CursorPlace) -> list[Completion]:
    """All that may stand at the cursor; the editor keeps what fits the word that was begun.

    Args:
        text: the whole text, for the names it gives.
        cursor: where in it.
    """
    names = names_in(text)
    if cursor.in_header or not cursor.at_value:
        return [*_keys(cursor, names)]
    return [*_values(cursor, names)]


def _keys(cursor: CursorPlace, names: GivenNames) -> Iterator[Completion]:
    """The keys that the table around the cursor may have."""
    for table in tables_at(cursor.path):
        about = descriptions(table)
        for key, kind in keys_of(table).items():
            if cursor.in_header and not _has_header(kind):
                continue
            text = key if cursor.in_header else f"{key} = "
            yield Completion(key, text, "key", phrase(kind), about.get(_field(table, key), ""))
    for name in _names_of_keys(cursor.path, names):
        yield Completion(name, name if cursor.in_header else f"{name} = ", "name")


def _has_header(kind: Any) -> bool:
    core = bare(kind).core
    return bool(get_origin(core) in (list, dict) or (isinstance(core, type) and issubclass(core, Table)))


def _field(table: type[Table], key: str) -> str:
    return next((name for name, field in table.model_fields.items() if (field.alias or name) == key), key)


def _names_of_keys(path: tuple[Key, ...], names: GivenNames) -> Sequence[str]:
    """The keys of a table whose keys are names."""
    match path:
        case ("state", int(), "set" | "ramp") | ("lr", "follow"):
            return names.tables.get("knob", ())
        case ("check", "waive"):
            return tuple(PROPERTIES)
        case _:
            return ()


def _values(cursor: CursorPlace, names: GivenNames) -> Iterator[Completion]:
    """The values that the key at the cursor may have."""
    kinds = [member for kind in kinds_at(cursor.path) for member in (members(kind).values() or [kind])]
    about = about_key(cursor.path)
    for name in _names_of_values(cursor.path, names):
        yield Completion(name, _quoted(name, cursor), "name", about=about)
    for kind in kinds:
        core = bare(kind).core
        if get_origin(core) is Literal:
            for word in get_args(core):
                text = _quoted(word, cursor) if isinstance(word, str) else str(word)
                yield Completion(str(word), text, "value", phrase(kind), about)
        elif core is bool and not cursor.quoted:
            for word in ("true", "false"):
                yield Completion(word, word, "value", phrase(kind), about)
        elif core is str and "amount of time" in (asks := phrase(kind)):
            for word in _AMOUNTS:
                yield Completion(word, _quoted(word, cursor), "value", asks, about)
        elif isinstance(core, type) and issubclass(core, Table) and not cursor.quoted:
            yield from _one_key_tables(core)


def _one_key_tables(table: type[Table]) -> Iterator[Completion]:
    """A table that may stand here, begun with each of its keys: `{ plateau = `."""
    about = descriptions(table)
    for key, kind in keys_of(table).items():
        yield Completion(key, f"{{ {key} = ", "value", phrase(kind), about.get(_field(table, key), ""))


def _quoted(word: str, cursor: CursorPlace) -> str:
    return word if cursor.quoted else f'"{word}"'


def _names_of_values(path: tuple[Key, ...], names: GivenNames) -> Sequence[str]:
    """The names that a value may be, by where it stands."""
    match path:
        case ("transition", int(), "from") | ("transition", int(), "from", int()):
            return (*names.states, "*")
        case ("transition", int(), "to"):
            return (*names.states, "next")
        case (*_, "metric"):
            return ("loss", *names.tables.get("metric", ()))
        case (*_, "ramp_done"):
            return names.tables.get("knob", ())
        case (*_, "guards" | "any" | "all", int()) | (*_, "not"):
            return names.tables.get("guard", ())
        case _:
            return ()


def about_key(path: tuple[Key, ...]) -> str:
    """What the key at the end of a path means, or nothing where it is a name or a number in a list."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    if not path:
        return ""
    for table in tables_at(path[:-1]):
        if words := descriptions(table).get(_field(table, str(path[-1]))):
            return words
    return ""
