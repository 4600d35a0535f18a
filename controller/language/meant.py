"""What a value of the wrong kind was probably meant to be: a guard in quotation marks, a number as a text."""

from __future__ import annotations

import re
from typing import Any

from plateau_rule.controller.errors import Key, visible
from plateau_rule.controller.guards import WORDS
from plateau_rule.controller.guards.joining import Joining
from plateau_rule.controller.guards.not_ import Not
from plateau_rule.controller.language.amounts import UNITS, amount_hint
from plateau_rule.controller.language.scalars import NUMBER

LONGEST = 60  # characters of a text that is looked at
_SAID = re.compile(r"([a-z_]+) ?(?:>=|==|=|>|:|\() ?([\w.+\" -]+?)\)?")
_NEGATED = re.compile(r"(?:not |! ?)([a-z][\w-]*)", re.IGNORECASE)
_JOINED = re.compile(r"([a-z][\w-]*)(?: (?:and|or|&&?|\|\|?) [a-z][\w-]*)+", re.IGNORECASE)
_SETTING = re.compile(r"([A-Za-z][\w-]*) ?(?:=|:) ?([\w.+-]+)")


def meant(path: tuple[Key, ...], found: Any, phrase: str) -> str:
    """What to write instead, or nothing where nobody can know.

    Args:
        path: where the value stands.
        found: the value.
        phrase: what is asked for there, in words.
    """
    if isinstance(found, str) and len(found) <= LONGEST:
        return _of_text(path, found)
    if phrase.startswith("an amount") and isinstance(found, dict) and len(found) == 1:
        ((unit, count),) = found.items()
        return _amount(count, unit)
    if phrase.startswith("an amount") and isinstance(found, list) and len(found) == 2:
        return _amount(*found)
    if path[-1:] == ("to",) and isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
        return f'Write "{visible(found[0])}".'
    return ""


def _of_text(path: tuple[Key, ...], found: str) -> str:
    match path:
        case (*_, "ladder", int()) if NUMBER.fullmatch(found):
            return f"Write {found}, without quotation marks."
        case (*_, "set") if setting := _SETTING.fullmatch(found):
            value = setting[2] if NUMBER.fullmatch(setting[2]) else f'"{setting[2]}"'
            return f"Write {{ {setting[1]} = {value} }}."
        case (*_, "from", int()) | (*_, "from") if "," in found:
            names = ", ".join(f'"{one.strip()}"' for one in found.split(","))
            return f"Give each its own quotation marks: {names}."
        case (*_, "guards", int()):
            return _guard(found)
        case (*_, str(word), int()) if isinstance(WORDS.get(word), Joining):
            return _guard(found)
    return ""


def _guard(found: str) -> str:
    if (said := _SAID.fullmatch(found)) and said[1] in WORDS:
        value = said[2].strip('"')
        value = value if NUMBER.fullmatch(value) else f'"{value}"'
        return f"Write {{ {said[1]} = {value} }}, without quotation marks around it."
    if negated := _NEGATED.fullmatch(found):
        return f'Write {{ {Not.name} = "{negated[1]}" }}.'
    if _JOINED.fullmatch(found):
        joining = [f"{{ {word.name} = [ … ] }}" for word in WORDS.values() if isinstance(word, Joining)]
        return f"Join several by {' or '.join(joining)}."
    return ""


def _amount(count: Any, unit: Any) -> str:
    if isinstance(unit, str) and isinstance(count, int | float) and not isinstance(count, bool):
        text = f"{count} {unit}"
        return f'Write "{text}".' if unit.rstrip("s") in [one.rstrip("s") for one in UNITS] else amount_hint(text)
    return ""
