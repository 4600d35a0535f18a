"""The arguments of a trainer, whatever form they have: JSON, YAML, a command line, a shell script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from plateau_rule.controller.errors import PlateauError, closest, visible
from plateau_rule.sim.schedules.shell import UnsetError, Variables, flags_in

LARGEST_BYTES = 1 << 18  # of a file of arguments; a script with more is no list of arguments
_SHOWN = 60  # characters of a value
_NOTHING = ("", "none", "null")
_SEVERAL = {"rampup_batch_size": 3, "step_batch_size_schedule": 1000}  # flags with more than one value
_SWITCHES = {"decrease_batch_size_if_needed"}  # flags that need none


class ScheduleError(PlateauError):
    """Arguments that cannot become a curriculum: what is wrong, and what to do.

    Args:
        file: as the user named it.
        found: what is there.
        remedy: what to do.
    """

    def __init__(self, file: str, found: str, remedy: str) -> None:
        super().__init__(f"{visible(file)}: {found}. {remedy}")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: how it is written, and what it says."""

    written: str
    value: Any


class Arguments:
    """The arguments of one trainer, by their names with `_`.

    Args:
        file: as the user named it.
        given: what is given, without what is None.
    """

    def __init__(self, file: str, given: Mapping[str, Argument]) -> None:
        self.file = file
        self.given = dict(given)

    def error(self, found: str, remedy: str) -> ScheduleError:
        """The error to be raised about them."""
        return ScheduleError(self.file, found, remedy)

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def written(self, name: str, default: str = "") -> str:
        """How an argument is written; where it is not given, that it is the default."""
        return self.given[name].written if name in self.given else default

    def number(self, name: str, default: float | None = None, least: float = 0.0) -> float | None:
        """A number.

        Args:
            name: of the argument.
            default: what stands for it where it is not given.
            least: the least number that it may be.
        """
        if name not in self.given:
            return default
        value = self.given[name].value
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        try:
            number = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not isfinite(number) or number < least or number > 1e15:
            expected = "a number" if least == float("-inf") else f"a number from {least:g} to 1e15"
            raise self.error(f"{shown(self.written(name))} is not {expected}", "Write that number")
        return number

    def whole(self, name: str, default: int | None = None, least: int = 0) -> int | None:
        """A whole number."""
        number = self.number(name, default, least)
        if number is not None and not float(number).is_integer():
            raise self.error(f"{shown(self.written(name))} is not a whole number", "Write that number")
        return None if number is None else int(number)

    def word(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of several words."""
        if name not in self.given:
            return default
        value = self.given[name].value
        value = str(value[0] if isinstance(value, list) and value else value)
        value = value.rpartition(".")[2].lower() if value.startswith("SchedulerType.") else value
        if value not in choices:
            near = closest(value, choices)
            hint = f'Did you mean "{near}"?' if near else f"Known are {', '.join(choices)}"
            raise self.error(f"{shown(self.written(name))} is no value that this argument has", hint)
        return value


def shown(text: str) -> str:
    """A text as an error or a comment shows it: on one line, and not too long."""
    plain = visible(" ".join(text.split()))
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"


def read_arguments(content: bytes, file: str, known: Iterable[str]) -> Arguments:
    """Read the arguments of a trainer, in whatever form they are.

    Args:
        content: the file; of a larger one than LARGEST_BYTES, so much and a byte more.
        file: as the user named it.
        known: names of arguments, with `_`, by which a form is recognised.

    Raises:
        ScheduleError: it is no such file.
    """
    text = _text(content, file)
    if text.lstrip().startswith(("{", "[")):
        return Arguments(file, _of_mapping(_json(text, file), file, known))
    known = frozenset(known)
    flags = list(flags_in(text))
    if known & {_plain(name) for name, _ in flags}:
        given = _of_flags(flags, Variables(text), file, known)
        if known & given.keys():
            return Arguments(file, given)
    elif any(name in known for name in re.findall(r"(?m)^[ \t]*[\"']?(\w+)[\"']?[ \t]*:", text)):
        return Arguments(file, _of_mapping(_yaml(text, file), file, known))
    raise ScheduleError(
        file, "no argument here says what the rate or the batch of a run is",
        "Give the arguments of Megatron-LM (--lr, --rampup-batch-size, …) or of Transformers (learning_rate, "
        "lr_scheduler_type, …): a shell script, a file of arguments, JSON or YAML",
    )  # fmt: skip


def _text(content: bytes, file: str) -> str:
    if len(content) > LARGEST_BYTES:
        raise ScheduleError(file, f"larger than {LARGEST_BYTES // 1024} KiB", "Give the arguments alone")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ScheduleError(file, "this is no text", "Of a training_args.bin, write down args.to_json_string()")
    if not text.strip():
        raise ScheduleError(file, "the file is empty", "Give the arguments of a trainer")
    return text


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def _of_flags(
    flags: Iterable[tuple[str, list[str]]], variables: Variables, file: str, known: frozenset[str]
) -> dict[str, Argument]:
    """Flags by their names; one that is written twice must say the same, for nothing tells which is meant."""
    found = dict[str, Argument]()
    for name, words in flags:
        plain = _plain(name)
        values = words[: _SEVERAL.get(plain, 1)]  # what stands behind them is no value of this flag
        if plain in known:
            try:
                values = [variables.replace_in(word) for word in values]
            except UnsetError as error:
                what = f"--{name} depends on {visible(str(error))}"
                raise ScheduleError(file, shown_whole(what), "Write the value itself") from None
        if plain in _SWITCHES:
            values = values if values and values[0].lower() in ("true", "false") else ["true"]
        if not values and plain in known:
            raise ScheduleError(file, f"--{name} has no value", "Write one behind it")
        argument = Argument(f"--{name} {' '.join(values)}".rstrip(), values)
        if plain in known and (old := found.get(plain)) is not None and old.value != values:
            raise ScheduleError(
                file, f"{shown(old.written)} and {shown(argument.written)} stand beside each other",
                "Leave one of them out",
            )  # fmt: skip
        if not values or values[0].lower() not in _NOTHING:
            found[plain] = argument
    return found


def shown_whole(text: str) -> str:
    """The same on one line, whatever is in it."""
    return visible(" ".join(text.split()))[:300]


def _json(text: str, file: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ScheduleError(file, f"this JSON is broken{where}", "Write it down anew, or give a command line") from None


def _yaml(text: str, file: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise ScheduleError(file, f"this YAML is broken{where}", "Write it down anew, or give a command line") from None


def _of_mapping(written: object, file: str, known: Iterable[str]) -> dict[str, Argument]:
    """What a table says; a table within it is looked into where the outer one has none of the names."""
    known = frozenset(known)
    if not isinstance(written, dict):
        raise ScheduleError(file, "this holds no table of arguments", "Write NAME: VALUE for each argument")
    tables = [written, *(part for part in written.values() if isinstance(part, dict))]
    tables = tables[:1] if known & {_plain(str(name)) for name in written} else tables
    found = dict[str, Argument]()
    for name, value in (pair for table in tables for pair in _pairs(table)):
        argument = Argument(f"{name}: {_spelt(value)}", value)
        if name in known and name in found and found[name].value != value:
            raise ScheduleError(
                file, f"{shown(found[name].written)} and {shown(argument.written)} stand beside each other",
                "Leave one of them out",
            )  # fmt: skip
        found[name] = argument
    if not known & found.keys():
        raise ScheduleError(
            file, "no argument here says what the rate or the batch of a run is",
            "Give those of Megatron-LM (lr, rampup_batch_size, …) or of Transformers (learning_rate, …)",
        )  # fmt: skip
    return found


def _pairs(table: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if value is not None and not (isinstance(value, str) and value.lower() in _NOTHING):
            yield _plain(str(name)), value


def _spelt(value: object) -> str:
    try:
        return json.dumps(value) if isinstance(value, dict | list) else str(value)
    except (TypeError, ValueError, RecursionError):
        return "…"
