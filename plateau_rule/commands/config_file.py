"""`--config FILE`: a TOML file says what the options of a command would; what stands on the command line wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from cyclopts import Token
from cyclopts.argument import Argument, ArgumentCollection

from plateau_rule.commands.options import UsageError
from plateau_rule.controller.errors import CurriculumError, Fault, visible
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import toml_of
from plateau_rule.controller.language.scanning import LARGEST_FILE_BYTES, within_limits

COUNTS = ("save-every",)  # texts that may also be whole numbers
CONFIG = "config"


class ConfigError(CurriculumError):
    """A file of options that cannot be used."""


def take_options(arguments: ArgumentCollection) -> None:
    """Give each option that was not given the value that the file of `--config` has for it.

    Args:
        arguments: of the command, with the words that were given.

    Raises:
        ConfigError: with every fault of the file and its place.
        UsageError: the file cannot be read.
    """
    options = {one.names[0].lstrip("-").lower(): one for one in arguments if one.parse and one.names[0] != "*"}
    given = options.pop(CONFIG).tokens
    if not given:
        return
    name = given[-1].value
    text = within_limits(_content(Path(name)), name)
    written, places = toml_of(text, name), Places(text, name)
    faults = list(_faults(written, options))
    if faults:
        raise ConfigError([replace(fault, place=places.of(fault.path, fault.at_key)) for fault in faults])
    for key, value in written.items():
        option = options[key.replace("_", "-")]
        if not option.tokens:
            for each in value if isinstance(value, list) else [value]:
                option.append(_token(option, each, f"{places.of((key,))}: {key}", name))


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            told = "is not a regular file" if path.exists() else "does not exist"
            raise UsageError(f"--config {visible(str(path))}: the file {told}. Name a TOML file of options")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--config {visible(str(path))}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None


def _faults(written: dict[str, Any], options: dict[str, Argument]) -> Iterator[Fault]:
    """What is wrong with each key."""
    taken: dict[str, str] = {}
    for key, value in written.items():
        name, shown = key.replace("_", "-"), visible(key[:64])
        if isinstance(value, dict) or _is_tables(value):
            hint = "Write NAME = VALUE for each option, outside of any table"
            yield Fault("wrong-type", (key,), f'a table "{shown}"', "options and their values", hint, at_key=True)
        elif name not in options:
            found = f'unknown key "{shown}"'
            yield Fault("unknown-key", (key,), found, at_key=True, word=name, words=tuple(options))
        elif name in taken:
            found = f'"{shown}" is the same option as "{taken[name]}"'
            yield Fault("duplicate-key", (key,), found, "one of the two", at_key=True)
        elif not any(_fits(value, kind) for kind in _kinds(name, options[name].hint)):
            yield _wrong_type(key, value, _kinds(name, options[name].hint))
        taken[name] = key


def _wrong_type(key: str, value: object, kinds: list[Any]) -> Fault:
    expected = " or ".join(map(_in_words, kinds)) + (", without null characters" if "\0" in str(value) else "")
    choices = tuple(one for kind in kinds for one in _choices(kind))
    word = value if isinstance(value, str) and choices else ""
    return Fault("unknown-word" if word else "wrong-type", (key,), _shown(value), expected, word=word, words=choices)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _kinds(name: str, hint: Any) -> list[Any]:
    """The types of which an option's value may be."""
    if get_origin(hint) is tuple:  # an option that may be repeated
        return [str, list]
    literal = get_origin(hint) is Literal
    kinds = [hint] if literal or not get_args(hint) else [one for one in get_args(hint) if one is not NoneType]
    return [*kinds, int] if name in COUNTS else kinds


def _choices(kind: Any) -> tuple[str, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _fits(value: object, kind: Any) -> bool:
    if choices := _choices(kind):
        return value in choices
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if "\0" in str(value):  # no command line can hold one, nor can the name of a file
        return False
    if isinstance(value, list):
        return kind is list and all(isinstance(one, str) for one in value)
    return type(value) is (str if kind is Path else kind)


def _in_words(kind: Any) -> str:
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        Path: "a path, as text",
        str: "text",
        list: "a list of texts",
    }
    return " or ".join(f'"{choice}"' for choice in _choices(kind)) or words.get(kind, "another value")


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{visible(value[:64])}"'
        case list():
            return "a list"
    return visible(str(value)[:64])


def _token(option: Argument, value: Any, place: str, source: str) -> Token:
    """What the command line would have given; `place` stands for the option in what is said of it."""
    if isinstance(value, bool):
        return Token(keyword=place, implicit_value=value, source=source)
    return Token(keyword=place, value=str(value), source=source)
