"""What values a curriculum's keys may have, and what every table is made of."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from textwrap import dedent
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from plateau_rule.controller.language.amounts import PATTERN, parse_amount

FULL: Final = "full"
LARGEST = 10**15  # of any number in a file: exact as a float, and no sum or product of a run overflows
LONGEST_TEXT = 300  # characters of a text for people


@dataclass(frozen=True)
class Asks:
    """What a value should be, in words, where its type does not say it."""

    phrase: str


def _amount(text: str) -> str:
    try:
        parse_amount(text)
    except ValueError as error:
        raise PydanticCustomError("bad-amount", "{reason}", {"reason": str(error)}) from None
    return text


def _amount_or_window(text: str) -> str:
    return text if text == "window" else _amount(text)


def number_in(value: Any) -> Any:
    """A finite number as it is; anything else is refused."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("wrong-type", "expected a number")
    if not -LARGEST <= value <= LARGEST:
        finite = isinstance(value, int) or value - value == 0
        raise PydanticCustomError("out-of-range" if finite else "not-finite", "expected -1e15 to 1e15")
    return value


def _whole(value: Any) -> Any:
    """3e11, which TOML takes for a float, as the whole number that it is."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST else value


def _factor(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(NAME_PATTERN, value):
            raise PydanticCustomError("bad-name", "expected a name")
        return value
    number = number_in(value)
    if number <= 0:
        raise PydanticCustomError("out-of-range", "expected a number above 0")
    return _whole(number)


def _number_or_list(written: Any) -> str:
    return "list" if isinstance(written, list) else "number"


def _number_or_full(value: Any) -> Any:
    if isinstance(value, str) and value != FULL:
        raise PydanticCustomError("unknown-word", 'expected a number or "full"')
    return value if value == FULL else number_in(value)


def _text(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("bad-text", "expected one line of characters that can be seen")
    return text


NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
STATE_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_./-]{1,64})?$"
METRIC_PATTERN = r"^[A-Za-z][A-Za-z0-9_./-]{0,63}$"
SOURCE_PATTERN = r"^(\*|[A-Za-z][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_./-]{1,64})?)$"
PER_PATTERN = PATTERN.replace("^(rest|", "^(window|")

Amount = Annotated[
    str,
    AfterValidator(_amount),
    Field(json_schema_extra={"pattern": PATTERN}),
    Asks('an amount of time such as "500 steps", "3 epochs", "2e9 tokens", "0.3 run" or "rest"'),
]
Duration = Annotated[  # where `rest` has no meaning; `rest_faults` says why
    str,
    AfterValidator(_amount),
    Field(json_schema_extra={"pattern": PATTERN.replace("^(rest|", "^(")}),
    Asks('an amount of time such as "500 steps", "3 epochs", "2e9 tokens" or "0.3 run"'),
]
AmountOrWindow = Annotated[
    str,
    AfterValidator(_amount_or_window),
    Field(json_schema_extra={"pattern": PER_PATTERN}),
    Asks('"window", or an amount of time such as "1000 steps"'),
]
Name = Annotated[
    str, Field(pattern=NAME_PATTERN), Asks("a name of letters a-z, digits, - and _, a letter first, at most 64")
]
StateName = Annotated[
    str,
    Field(pattern=STATE_PATTERN),
    Asks("a name of letters a-z, digits, - and _, a letter first, at most 64"),
]
MetricName = Annotated[
    str, Field(pattern=METRIC_PATTERN), Asks("a name of letters a-z, digits, and _ - . /, a letter first, at most 64")
]
Source = Annotated[str, Field(pattern=SOURCE_PATTERN), Asks('the name of a state, a list of names, or "*"')]
Text = Annotated[
    str, Field(max_length=LONGEST_TEXT), AfterValidator(_text), Asks(f"one line of at most {LONGEST_TEXT} characters")
]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_TEXT),
    AfterValidator(_text),
    Asks(f"a reason, in one line of 1 to {LONGEST_TEXT} characters"),
]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Whole = Annotated[int, Field(ge=1, le=LARGEST), BeforeValidator(_whole), Asks("a whole number of at least 1")]
Window = Annotated[int, Field(ge=1, le=10**6)]
Number = int | float
AnyNumber = Annotated[Number, BeforeValidator(number_in), Asks("a number")]
NumberOrFull = Annotated[Number | Literal["full"], BeforeValidator(_number_or_full), Asks('a number or "full"')]
Factor = Annotated[int | float | str, BeforeValidator(_factor), Asks("a number above 0, or the name of a knob")]
Product = Annotated[
    list[Factor],
    Field(min_length=1, max_length=8),
    Asks('a list of numbers and knobs, such as [8, "batch_size", "seq_len"]'),
]
CountOrProduct = Annotated[
    Annotated[Whole, Tag("number")] | Annotated[Product, Tag("list")],
    Discriminator(_number_or_list),
    Asks('a whole number of at least 1, or a list of whole numbers and knobs such as [8, "batch_size", "seq_len"]'),
]
Shape = Literal["cosine", "linear", "constant", "wsd"]
Since = Literal["state", "run"]
Decay = Annotated[float, Field(gt=0, le=1)]


def spell_key(key: str) -> str:
    """Spell a key as TOML does: in quotation marks where it holds more than letters, digits, - and _."""
    return key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'


class Table(BaseModel):
    """Base of all tables: nothing unknown, nothing coerced, nothing changed afterwards.

    Made in Python, a table takes the keys of the file; `from` and `not` are written `from_` and `not_` there.
    Raises CurriculumError where something is wrong.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        populate_by_name=True,
    )

    def __init__(self, **keys: Any) -> None:
        try:
            super().__init__(**keys)
        except ValidationError as error:
            from plateau_rule.controller.errors import CurriculumError
            from plateau_rule.controller.language.vocabulary import faults_in

            raise CurriculumError(faults_in(error, type(self), keys)) from None

    # pydantic calls an __init__ of ours for every table of a file, unless it is marked as one that changes nothing.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


@cache
def descriptions(table: type[Table]) -> Mapping[str, str]:
    """What each key of a table means, by its Python name: as the field says, else the text below it in the source.

    The source is read when it is asked for: pydantic would parse that of all tables at every start.
    """
    found = {name: field.description for name, field in table.model_fields.items() if field.description}
    if found:
        return MappingProxyType(found)
    for part in reversed(table.__mro__[: table.__mro__.index(Table)]):
        try:
            (written,) = ast.parse(dedent(inspect.getsource(part))).body
        except (OSError, TypeError, SyntaxError):  # a class of a user's that was typed into a prompt has no source
            continue
        for key, text in pairwise(written.body):  # type: ignore[attr-defined]
            match key, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = inspect.cleandoc(words)
    return MappingProxyType(found)


class OneKey(Table):
    """A table of which exactly one key is set."""

    @model_validator(mode="after")
    def _one_key(self) -> OneKey:
        if len(self.model_fields_set) != 1:
            found = ", ".join(sorted(type(self).spelled(name) for name in self.model_fields_set)) or "none"
            raise PydanticCustomError("one-key", "{found}", {"found": found})
        return self

    @classmethod
    def spelled(cls, name: str) -> str:
        """A field's name as the file spells it."""
        return cls.model_fields[name].alias or name

    @property
    def word(self) -> str:
        """The one key that is set, as the file spells it."""
        (name,) = self.model_fields_set
        return self.spelled(name)

    @property
    def value(self) -> Any:
        """What that key holds."""
        (name,) = self.model_fields_set
        return getattr(self, name)
