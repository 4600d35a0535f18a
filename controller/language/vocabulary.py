"""The vocabulary as data: which keys a table may have, what each asks for in words, and pydantic's errors as Faults."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import annotated_types
from pydantic import Discriminator, Tag, ValidationError

from plateau_rule.controller.errors import Fault, Key, spelled, visible
from plateau_rule.controller.guards import WORDS
from plateau_rule.controller.guards.joining import Joining
from plateau_rule.controller.language.amounts import amount_hint
from plateau_rule.controller.language.curriculum import ActionTable, ActionWord, Curriculum, Guard, Knob
from plateau_rule.controller.language.meant import meant
from plateau_rule.controller.language.values import LARGEST, Asks, OneKey, Table, descriptions

LONGEST_SHOWN = 60  # characters of a value


class BareType(NamedTuple):
    """A type without its wrapping: what it is at heart, and what is said about it."""

    core: Any
    notes: tuple[Any, ...]


@cache
def keys_of(model: type[Table]) -> Mapping[str, Any]:
    """The keys of a table, as the file spells them, with their types."""
    hints = get_type_hints(model, include_extras=True)
    return {field.alias or name: hints[name] for name, field in model.model_fields.items()}


def bare(kind: Any) -> BareType:
    """Take `Annotated[...]` and `... | None` off a type."""
    notes: tuple[Any, ...] = ()
    while True:
        if get_origin(kind) is Annotated:
            kind, *more = get_args(kind)
            notes = (*notes, *_flat(more))
        elif (members := [m for m in get_args(kind) if m is not type(None)]) and type(None) in get_args(kind):
            kind = members[0]  # there are no unions of three here
        else:
            return BareType(kind, notes)


def _flat(notes: list[Any]) -> Iterator[Any]:
    for note in notes:
        yield from getattr(note, "metadata", None) or (note,)  # pydantic's Field keeps limits in its metadata


def members(kind: Any) -> dict[str, Any]:
    """The members of a union that a word tells apart, by that word; nothing for any other type."""
    core, notes = bare(kind)
    if not any(isinstance(note, Discriminator) for note in notes):
        return {}
    tagged = {}
    for member in get_args(core):
        tag = next(note for note in get_args(member)[1:] if isinstance(note, Tag))
        tagged[tag.tag] = member
    return tagged


def tables_in(kind: Any) -> list[type[Table]]:
    """The tables that a value of a type may be or hold directly."""
    if inner := members(kind):
        return [table for member in inner.values() for table in tables_in(member)]
    core = bare(kind).core
    if isinstance(core, type) and issubclass(core, Table):
        return [core]
    if get_origin(core) in (list, dict):
        return tables_in(get_args(core)[-1])
    return []


class Spot(NamedTuple):
    """Where an error of pydantic's points: the path of keys, the type asked for, and whether a key itself is meant."""

    path: tuple[Key, ...]
    kind: Any
    at_key: bool


def _spot(model: type[Table], loc: tuple[Key, ...], unknown_key: bool) -> Spot:
    """Walk along a location of pydantic's, in which members of unions and keys of dicts have entries of their own."""
    kind: Any = model
    path: list[Key] = []
    key_kind: Any = None  # of the last key, if it was one of a dict
    for place, key in enumerate(loc):
        last = place + 1 == len(loc)
        inner = members(kind)
        if key in inner:
            kind = kind if last else inner[str(key)]
            continue
        if last and key == "[key]" and key_kind is not None and not unknown_key:
            return Spot(tuple(path), key_kind, True)
        core = bare(kind).core
        path.append(key)
        key_kind = get_args(core)[0] if get_origin(core) is dict else None
        kind = _inside(core, key)
    return Spot(tuple(path), kind, False)


def _inside(core: Any, key: Key) -> Any:
    if isinstance(core, type) and issubclass(core, Table):
        return keys_of(core).get(str(key))
    return get_args(core)[-1] if get_origin(core) in (list, dict) else None


def kinds_at(path: tuple[Key, ...], model: type[Table] = Curriculum) -> list[Any]:
    """The types of what may stand at a path; several where a value may be one of several, none where nothing may."""
    kinds: list[Any] = [model]
    for key in path:
        kinds = [member for kind in kinds for member in (members(kind).values() or [kind])]
        kinds = [inside for kind in kinds if (inside := _inside(bare(kind).core, key)) is not None]
    return kinds


def tables_at(path: tuple[Key, ...], model: type[Table] = Curriculum) -> list[type[Table]]:
    """The tables that may stand at a path; several where a value may be one of several."""
    kinds = kinds_at(path, model)
    return [table for kind in kinds if get_origin(bare(kind).core) not in (list, dict) for table in tables_in(kind)]


def phrase(kind: Any, found: Any = None) -> str:
    """What a type asks for, in words; limits that are there for safety alone are told only to whom they stop."""
    core, notes = bare(kind)
    for note in notes:
        if isinstance(note, Asks):
            return note.phrase
    if get_origin(core) is Literal:
        words = [f'"{word}"' if isinstance(word, str) else str(word) for word in get_args(core)]
        return f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    if core in (int, float):
        return ("a whole number" if core is int else "a number") + _limits(notes, found)
    if core is bool:
        return "true or false"
    if get_origin(core) is list:
        least = any(isinstance(note, annotated_types.MinLen) and note.min_length for note in notes)
        most = next((note.max_length for note in notes if isinstance(note, annotated_types.MaxLen)), None)
        tables = isinstance(bare(get_args(core)[0]).core, type) and tables_in(core)
        listed = "tables with double brackets, [[…]]" if tables else "a list"
        if most is not None and isinstance(found, list) and len(found) > most:
            return f"{listed}, at most {most}"
        if not least:
            return listed
        return listed + (", at least one" if tables else " with at least one item")
    if isinstance(core, type) and issubclass(core, Table):
        keys = list(keys_of(core))
        return f"a table of one key, such as {keys[0]}" if issubclass(core, OneKey) else f"a table of {', '.join(keys)}"
    return "a table, { NAME = … }"


def _limits(notes: tuple[Any, ...], found: Any) -> str:
    low = next((f" from {_short(n.ge)}" for n in notes if isinstance(n, annotated_types.Ge)), "")
    low = low or next((f" above {_short(n.gt)}" for n in notes if isinstance(n, annotated_types.Gt)), "")
    for note in notes:
        if isinstance(note, annotated_types.Lt):
            return f"{low} and below {_short(note.lt)}"
        if isinstance(note, annotated_types.Le):
            # A limit is Any that can be compared, to annotated_types; ours are numbers.
            beyond = isinstance(found, int | float) and not -LARGEST <= found <= note.le  # type: ignore[operator]
            if note.le != LARGEST or beyond:
                return f"{low} to {_short(note.le)}" if "from" in low else f"{low}, at most {_short(note.le)}"
    low = "" if low == f" from {_short(-LARGEST)}" else low
    return low.replace(" from ", " of at least ")


def _short(number: Any) -> str:
    return f"{number:g}".replace("e+0", "e").replace("e+", "e") if abs(number) > 1e6 else f"{number:,}"


def shown(found: Any) -> str:
    """A value as it may stand in a sentence: short, and nothing in it that a terminal obeys."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, str):
        return f'"{visible(found if len(found) <= LONGEST_SHOWN else found[:LONGEST_SHOWN] + "…")}"'
    if isinstance(found, Mapping):
        return "a table" if found else "an empty table"
    if isinstance(found, list):
        return "a list" if found else "an empty list"
    if hasattr(found, "isoformat"):
        return f"the date or time {found}"
    if isinstance(found, int) and abs(found) >= 10**LONGEST_SHOWN:
        return "a number of more than 60 digits"
    return repr(found) if isinstance(found, int | float) else f"{type(found).__name__}"


# pydantic's kinds of error, as the codes that users see; our own kinds (with a hyphen) are codes already.
CODES_OF_KINDS = {
    "extra_forbidden": "unknown-key",
    "missing": "missing-key",
    "literal_error": "unknown-word",
    "finite_number": "not-finite",
    "string_pattern_mismatch": "bad-name",
    "string_too_long": "bad-text",
    "string_too_short": "bad-text",
    "too_short": "wrong-count",
    "too_long": "wrong-count",
    "greater_than": "out-of-range",
    "greater_than_equal": "out-of-range",
    "less_than": "out-of-range",
    "less_than_equal": "out-of-range",
}


def faults_in(error: ValidationError, model: type[Table], written: Mapping[str, Any]) -> list[Fault]:
    """Turn pydantic's errors about a table into Faults, in pydantic's order.

    A CurriculumError that was raised inside is none of pydantic's errors and comes through on its own.

    Args:
        error: pydantic's errors.
        model: the table.
        written: what the table was made of; states and transitions take their names from it.
    """
    faults = [_fault(dict(detail), model, written) for detail in error.errors(include_url=False)]
    if model is Curriculum:
        faults = _named(faults, written)
    misspelt: dict[tuple[Key, ...], list[str]] = {}
    for fault in faults:
        if fault.code == "unknown-key" and len(fault.word) <= LONGEST_SHOWN:
            misspelt.setdefault(fault.path[:-1], []).append(fault.word)

    def is_there(fault: Fault) -> bool:
        words = [word.lower() for word in misspelt.get(fault.path[:-1], [])]
        return bool(get_close_matches(str(fault.path[-1]), words, n=1))

    return [fault for fault in faults if fault.code != "missing-key" or not is_there(fault)]


def _named(faults: list[Fault], written: Mapping[str, Any]) -> list[Fault]:
    """The faults, those in a [knob] or a [guard] without a name as one: the name is missing."""
    for table, kind in (("knob", Knob), ("guard", Guard)):
        inside = written.get(table)
        if isinstance(inside, Mapping) and inside and inside.keys() <= keys_of(kind).keys():
            mine = [fault for fault in faults if fault.path[:1] == (table,)]
            if mine:
                found = Fault("missing-key", (table,), f"[{table}] without a name", f"[{table}.NAME]",
                              f"Write [{table}.{'flat' if kind is Guard else 'cutoff'}], for example.", at_key=True
                              )  # fmt: skip
                faults = [found, *(fault for fault in faults if fault not in mine)]
    return faults


def _fault(detail: dict[str, Any], model: type[Table], written: Mapping[str, Any]) -> Fault:
    error, found = detail["type"], detail.get("input")
    path, kind, at_key = _spot(model, detail["loc"], error == "extra_forbidden")
    where = spelled(path[:-1] if error in ("extra_forbidden", "missing") else path, written)
    if model is not Curriculum:
        where = f"{model.__name__}: {where}" if where else model.__name__
    code = error if "-" in error else CODES_OF_KINDS.get(error, "wrong-type")
    if code == "wrong-type" and type(found) is int and bare(kind).core is float:
        code = "out-of-range"  # no float can hold it
    if code == "unknown-key":
        return _unknown_key(path, model, where, written)
    if code == "missing-key":
        asked = tables_at(path[:-1], model)[0]
        about = descriptions(asked).get(_field(asked, str(path[-1])), "")
        return Fault(code, path, f'the key "{path[-1]}" is missing', phrase(kind), about, at_key=True, where=where)
    if code == "one-key":
        many = detail["ctx"]["found"]
        counted = "an empty table" if many == "none" else f"the keys {many}"
        hint = "" if many == "none" else "Write one table for each; all of a list must hold."
        return Fault(code, path, f"found {counted}", "exactly one key", hint, where=where)
    if code == "unknown-word" and path == ("format",):
        return Fault("unknown-format", path, f"found format {shown(found)}", "format 1", where=where)
    hint, word, words = _hint(code, kind, found)
    if not at_key and (instead := meant(path, found, phrase(kind, found))):
        hint, word = instead, ""
    return Fault(
        code, path, f"found {_found(code, found)}", phrase(kind, found), hint, None, at_key, where, word, words
    )


def _field(model: type[Table], key: str) -> str:
    return next(name for name, field in model.model_fields.items() if key in (name, field.alias))


def _found(code: str, found: Any) -> str:
    text = shown(found)
    if code == "bad-name" and isinstance(found, str):
        strange = next((c for c in found if not c.isascii()), None)
        if strange is not None and strange.isprintable():
            return f'{text}, in which "{strange}" is {unicodedata.name(strange, "no letter a-z")}'
    if code == "bad-text" and isinstance(found, str):
        strange = next((c for c in found if not c.isprintable()), None)
        if strange is not None:
            return f"{text} with the character U+{ord(strange):04X}"
        return f"a text of {len(found)} characters" if found else "an empty text"
    return f"{text} of {len(found)}" if code == "wrong-count" and found else text


def _unknown_key(path: tuple[Key, ...], model: type[Table], where: str, written: Mapping[str, Any]) -> Fault:
    tables, key = tables_at(path[:-1], model), str(path[-1])
    words = tuple(sorted({word for table in tables for word in keys_of(table)}))
    short = visible(key if len(key) <= LONGEST_SHOWN else key[:LONGEST_SHOWN] + "…")
    hint = ""
    named = written.get("guard") if model is Curriculum else None
    if ActionTable in tables and key in get_args(ActionWord):
        hint = f'This action has no argument: write "{key}".'
    elif model is Curriculum and len(path) == 1 and isinstance(inside := written.get(key), Mapping) and inside:
        table = next(
            (name for name, kind in (("knob", Knob), ("guard", Guard)) if inside.keys() <= keys_of(kind).keys()), ""
        )
        hint = f"Write [{table}.{short}]." if table and not get_close_matches(key, words, n=1) else ""
    elif key in _DIRECTIONS and any("metric" in keys_of(table) for table in tables):
        hint = 'Which way is better is said of the metric: goal = "max" in its [metric.NAME].'
    elif Guard in tables and isinstance(named, Mapping) and key in named:
        hint = f'It is a [guard.NAME]: write "{short}".'
    elif Guard in tables and key in _KEYS_IN_GUARDS:
        words_with_it = [word for word, inner in _TABLES_OF_GUARDS.items() if any(key in keys_of(t) for t in inner)]
        hint = f"It is a key of {', '.join(words_with_it)}: write {{ {words_with_it[0]} = {{ {key} = … }} }}."
    elif tables == [Guard] and not get_close_matches(key.lower(), words, n=1):
        told = f"Known here: {', '.join(words)}. A guard of your own? Name the file that registers it: --words FILE.py."
        return Fault("unknown-key", path, f'unknown key "{short}"', "", told, None, True, where)
    return Fault("unknown-key", path, f'unknown key "{short}"', "", hint, None, True, where, "" if hint else key, words)


_TABLES_OF_GUARDS = {word: [t for t in tables_in(kind) if t is not Guard] for word, kind in keys_of(Guard).items()}
_KEYS_IN_GUARDS = {key for tables in _TABLES_OF_GUARDS.values() for table in tables for key in keys_of(table)}


_DIRECTIONS = ("direction", "goal", "greater_is_better", "mode")  # what people write in a guard
_SINGLE = "A table of which there is one has single brackets, […]."


def _hint(code: str, kind: Any, found: Any) -> tuple[str, str, tuple[str, ...]]:
    """A hint in words, or a word with those that may have been meant."""
    core, notes = bare(kind)
    asks = next((note for note in notes if isinstance(note, Asks)), None)
    if code == "bad-name" and found in ("*", "**") and (asks is None or '"*"' not in asks.phrase or found == "**"):
        return 'Alone and not in a list, "*" means all states.', "", ()
    if code == "bad-amount" and isinstance(found, str):
        return amount_hint(found), "", ()
    if code == "unknown-word" and isinstance(found, str):
        if ActionTable in tables_in(kind) and found in keys_of(ActionTable):
            return f"This action has an argument: write {{ {found} = … }}.", "", ()
        literals = [m for m in (*members(kind).values(), kind) if get_origin(bare(m).core) is Literal]
        words = [str(word) for m in literals for word in get_args(bare(m).core)]
        if get_origin(core) is Literal and not get_close_matches(found[:LONGEST_SHOWN].lower(), words):
            return "", "", ()  # all of them are listed as what is expected
        return "", found if len(found) <= LONGEST_SHOWN else "", tuple(words or ["full"])
    if code != "wrong-type":
        return "", "", ()
    if isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < LARGEST:
        if asks is not None and asks.phrase.startswith("an amount"):
            return f'Say the unit: "{found} {"run" if 0 < found < 1 else "steps"}".', "", ()
        if core is int and float(found).is_integer():
            return f"Write {int(found)}.", "", ()
    if isinstance(found, str) and (core in (int, float, bool) or (asks is not None and "number" in asks.phrase)):
        if core is bool and found.lower() in ("true", "false") and not found.islower():
            return f"Write {found.lower()}, in small letters and without quotation marks.", "", ()
        if core is bool and found.lower() in ("yes", "on", "no", "off"):
            return f"Write {'true' if found.lower() in ('yes', 'on') else 'false'}.", "", ()
        share = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?) ?%", found)
        return f"Write {float(share[1]) / 100:g}." if share else "Write it without quotation marks.", "", ()
    if get_origin(core) is list and "[[" not in phrase(kind):
        return f"Put it into brackets: {'[ { … } ]' if isinstance(found, Mapping) else '[ … ]'}.", "", ()
    if isinstance(found, list) and core is Knob and found and isinstance(found[0], Mapping):
        return _SINGLE, "", ()
    if isinstance(found, list) and core is Knob:
        return "Write { ladder = [ … ] }.", "", ()
    if isinstance(found, list) and Guard in tables_in(kind):
        joining = [word.name for word in WORDS.values() if isinstance(word, Joining)]
        return f"Join several by {' or '.join(f'{{ {name} = [ … ] }}' for name in joining)}.", "", ()
    if isinstance(found, list) and isinstance(core, type) and issubclass(core, Table):
        return _SINGLE, "", ()
    if isinstance(found, Mapping) and get_origin(core) is list:
        return "Its header has double brackets.", "", ()
    return "", "", ()
