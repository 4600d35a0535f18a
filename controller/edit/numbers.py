"""The numbers of a curriculum file that can be turned, and the text with one of them changed in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from plateau_rule.controller.errors import ArgumentError, Key
from plateau_rule.controller.language.amounts import UNITS, parse_amount
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import toml_of

Path = tuple[Key, ...]
REACH = 32.0  # a number is turned up to so many times larger or smaller, within what the schema allows
DIGITS = 12  # of a number as it is written
TURNED = ("guard", "transition")  # the tables whose numbers can be turned
NOT_TURNED = ("name", "actions")  # what a transition does moves no transition


class Tunable(NamedTuple):
    """A number in a file that is worth a slider.

    Attributes:
        path: the keys that lead to it, and places in lists.
        guard: the name of the guard that it belongs to; of a guard without one, or of a transition, the transition's.
        name: the key that it stands behind.
        value: as the file has it; of an amount of time, the number in it.
        min: the least that a slider need show, within what the schema allows.
        max: the most.
        log: whether equal ratios should be equally far apart.
        whole: whether only whole numbers make sense.
        unit: of an amount of time, its unit; else empty.
    """

    path: Path
    guard: str
    name: str
    value: float
    min: float
    max: float
    log: bool
    whole: bool
    unit: str


class Limits(NamedTuple):
    """What the schema says of a number: the least and the most, whether these are excluded, whether it is whole."""

    least: float | None
    most: float | None
    above: bool
    under: bool
    whole: bool


def tunables(text: str, file: str = "<text>") -> tuple[Tunable, ...]:
    """The numbers in the guards of a curriculum file, and in what its transitions count, in the order of the file.

    Args:
        text: a curriculum file that can be loaded.
        file: the name that errors show.

    Raises:
        CurriculumError: the text is no TOML.
    """
    written, places = toml_of(text, file), Places(text, file)
    found = [
        (places.of(path), _tunable(written, path, value))
        for path, value in numbers(written)
        if path[0] in TURNED and not any(key in NOT_TURNED for key in path)
    ]
    return tuple(one for _, one in sorted(found, key=lambda pair: (pair[0].line, pair[0].column)) if one is not None)


def edited(text: str, path: Path, value: float, file: str = "<text>") -> str:
    """The text with one number changed in its place; nothing else moves, comments stay.

    Args:
        text: a curriculum file.
        path: the keys that lead to the number.
        value: the new number; of an amount of time, the number in it, whose unit stays.
        file: the name that errors show.

    Raises:
        ArgumentError: no number is written at the path, or `value` cannot stand there.
        CurriculumError: the text is no TOML.
    """
    path = tuple(path)
    old = _value_at(toml_of(text, file), path)
    raw = Places(text, file).raw(path)
    if raw is None or not is_number(old):
        raise ArgumentError(f"{'.'.join(map(str, path))}: no number is written there; expected one of the tunables")
    spelled = _spelled(old, value)
    place = Places(text, file).of(path)
    lines = text.split("\n")
    line = lines[place.line - 1]
    if line[place.column - 1 : place.end_column] != raw:
        raise ArgumentError(f"{'.'.join(map(str, path))}: the number cannot be told from what surrounds it")
    lines[place.line - 1] = line[: place.column - 1] + spelled + line[place.end_column :]
    return "\n".join(lines)


def numbers(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every number and every amount of time in what a TOML text says, with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, (*path, place))
    elif is_number(value):
        yield path, value


def is_number(value: Any) -> bool:
    """Whether a value is a number, or ends as an amount of time does."""
    if isinstance(value, str):
        return value.rpartition(" ")[2] in (*UNITS, *(unit.rstrip("s") for unit in UNITS))
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_in(value: Any) -> tuple[float, Callable[[float], Any]]:
    """The number in a value, and how another number is spelled in its place."""
    if isinstance(value, int):
        return value, lambda number: round(number)
    if isinstance(value, float):
        return value, lambda number: number
    try:
        amount = parse_amount(value)
    except ValueError:  # a sentence that ends like an amount
        return 0.0, lambda number: value
    whole = amount.unit in ("steps", "tokens")
    return float(amount.count), lambda number: f"{round(number) if whole else f'{number:g}'} {amount.unit}"


def _spelled(old: Any, value: float) -> str:
    if value - value != 0:
        raise ArgumentError(f"{value!r}; expected a finite number")
    new = number_in(old)[1](value)
    if isinstance(new, str):
        return f'"{new}"'
    return str(new) if isinstance(new, int) else repr(float(f"{new:.{DIGITS}g}"))


def _value_at(written: Any, path: Path) -> Any:
    for key in path:
        try:
            written = written[key]
        except (KeyError, IndexError, TypeError):
            return None
    return written


def _tunable(written: dict[str, Any], path: Path, value: Any) -> Tunable | None:
    unit = ""
    if isinstance(value, str):
        try:
            amount = parse_amount(value)
        except ValueError:
            return None
        value, unit = float(amount.count), amount.unit
        limits = Limits(0.0, 1.0 if unit == "run" else None, False, False, unit in ("steps", "tokens"))
    elif (known := _limits(path)) is None:
        return None
    else:
        limits = known
    low, high = _room(value, limits)
    keys = [key for key in path if isinstance(key, str)]
    log = low > 0 and high / low > 10
    return Tunable(path, _owner(written, path), keys[-1], float(value), low, high, log, limits.whole, unit)


def _owner(written: dict[str, Any], path: Path) -> str:
    if path[0] == "guard":
        return str(path[1])
    index = path[1]
    name = written["transition"][index].get("name")
    return str(name or f"transition {int(index) + 1}")


def _room(value: float, limits: Limits) -> tuple[float, float]:
    """How far a slider goes, from the number that stands there, within the schema's limits."""
    least, most, above, under, whole = limits
    if not value:
        low, high = -1.0, 1.0
    elif value < 0:
        low, high = value * REACH, value / REACH
    else:
        low, high = value / REACH, value * REACH
    if whole:
        low, high = float(round(low)), float(round(max(high, low + 1)))
    if least is not None and (low < least or (above and low <= least)):
        low = least + (1 if whole else min(1e-3, value - least)) if above else least
    if most is not None and (high > most or (under and high >= most)):
        high = most - (1 if whole else min(1e-3, most - value)) if under else most
    return min(low, value), max(high, value)


@cache
def _schema() -> dict[str, Any]:
    """The plain schema of the models: that of files says the same, and takes twice as long to make."""
    return Curriculum.model_json_schema()


def _limits(path: Path) -> Limits | None:
    """What the schema says of a number."""
    nodes = [_schema()]
    for key in path:
        nodes = [inner for node in nodes for inner in _below(node, key)]
    for node in [choice for inner in nodes for choice in _choices(inner)]:
        if node.get("type") in ("integer", "number"):
            above, under = "exclusiveMinimum" in node, "exclusiveMaximum" in node
            least, most = (node.get("exclusiveM" + end, node.get("m" + end)) for end in ("inimum", "aximum"))
            return Limits(least, most, above, under, node["type"] == "integer")
    return None


def _choices(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a node of the schema may be, references and alternatives followed."""
    if "$ref" in node:
        yield from _choices(_schema()["$defs"][node["$ref"].rpartition("/")[2]])
        return
    yield node
    for kind in ("anyOf", "oneOf", "allOf"):
        for inner in node.get(kind, ()):
            yield from _choices(inner)


def _below(node: dict[str, Any], key: Key) -> Iterator[dict[str, Any]]:
    for one in _choices(node):
        if isinstance(key, int):
            if isinstance(one.get("items"), dict):
                yield one["items"]
            continue
        if key in one.get("properties", {}):
            yield one["properties"][key]
            continue
        rest = one.get("additionalProperties")
        yield from ([rest] if isinstance(rest, dict) else one.get("patternProperties", {}).values())
