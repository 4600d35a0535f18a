"""The values that a knob may have: a number, `full`, a name, a list of numbers, or a flat table of numbers.

They are told apart by their kind, ordered by their numbers or by their places on the ladder, and never change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, PlainSerializer, Tag
from pydantic_core import PydanticCustomError

from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.language.values import (
    FULL,
    METRIC_PATTERN,
    AnyNumber,
    Asks,
    MetricName,
    Number,
    number_in,
    spell_key,
)

NUMBER, NAME, LIST, TABLE = "number", "name", "list", "table"
PLURALS = {NUMBER: "numbers", NAME: "names", LIST: "lists of numbers", TABLE: "tables of numbers"}


class NumberList(tuple[Number, ...]):
    """Numbers in a row, spelled as in a file."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self))}]"


class NumberTable(FrozenDict[str, Number]):
    """Numbers by name, spelled as in a file."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # a dict that can't change has one
        return hash(frozenset(self.items()))

    def __str__(self) -> str:
        return f"{{ {', '.join(f'{spell_key(name)} = {number}' for name, number in self.items())} }}"

    def __reduce__(self) -> tuple[Any, ...]:
        return NumberTable, (dict(self),)


Rung = Number | str | NumberList | NumberTable


def _kind_written(written: Any) -> str:
    """Which member of the union a value is, so that only faults of that kind are reported."""
    return LIST if isinstance(written, list | tuple) else TABLE if isinstance(written, Mapping) else "single"


def _single(value: Any) -> Any:
    if not isinstance(value, str):
        return number_in(value)
    if re.fullmatch(METRIC_PATTERN.strip("^$"), value):
        return value
    if re.match(r"[+-]?\.?[0-9]", value):
        raise PydanticCustomError("wrong-type", "expected a number")
    raise PydanticCustomError("bad-name", "expected a name")


_ASKS = Asks('a number, "full", a name, or a list or a table of numbers')
Written = Annotated[
    Annotated[Number | str, BeforeValidator(_single), Tag("single"), _ASKS]
    | Annotated[
        list[AnyNumber],
        BeforeValidator(list),
        Field(min_length=1, max_length=256),
        AfterValidator(NumberList),
        Tag(LIST),
    ]
    | Annotated[
        dict[MetricName, AnyNumber], Field(min_length=1, max_length=256), AfterValidator(NumberTable), Tag(TABLE)
    ],
    Discriminator(_kind_written),
    PlainSerializer(lambda value: as_data(value)),
    _ASKS,
]
if TYPE_CHECKING:
    AnyRung = Any  # in Python, lists and dicts may be written, and whoever reads a value knows its kind
else:
    AnyRung = Written


def kind_of_value(value: Rung) -> str:
    """The kind of a value; `full` is a number."""
    if isinstance(value, str):
        return NUMBER if value == FULL else NAME
    return LIST if isinstance(value, tuple) else TABLE if isinstance(value, Mapping) else NUMBER


def value_of(given: Any) -> Any:
    """A value that was read from JSON or given by a program, as the one that a curriculum holds; others unchanged."""
    if isinstance(given, Mapping):
        return NumberTable(given)
    return NumberList(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else given


def as_data(value: Rung) -> Any:
    """A value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def hardness(value: Rung) -> float:
    """Where a number stands among numbers; `full` is above them all until it is bound."""
    return float("inf") if value == FULL else float(value)  # type: ignore[arg-type]  # asked of numbers alone
