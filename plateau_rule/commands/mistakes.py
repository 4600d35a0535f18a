"""What a command says of a user's mistake: what is wrong, and what to do. Loaded only when there is one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.extras import EXTRAS, how_to_install

KINDS = {int: "a whole number", float: "a number", bool: "nothing, for it is a flag"}


def remedy(error: Exception, commands: Iterable[str]) -> str | None:
    """Say to the user what is wrong and what to do; None if the mistake is not the user's but ours.

    Args:
        error: what a command ended with.
        commands: the names of all of them.
    """
    match error:
        case PlateauError():
            return str(error)
        case UnknownCommandError():
            return unknown_command((error.unused_tokens or [""])[0], commands)
        case CycloptsError():
            command = " ".join(["plateau", *(error.command_chain or ())])
            return f"{command}: {usage(error)} See: {command} --help"
        case ImportError():
            missing = next((name for name in missing_modules(error) if name in EXTRAS), None)
            return missing and f"This needs {missing}, which is not installed. {how_to_install(missing)}"
        case OSError(filename=str() | os.PathLike()):
            return f"{error.filename}: {error.strerror}"
    return None


def unknown_command(word: str, commands: Iterable[str]) -> str:
    """Say which word is no command, and which are; cyclopts' own sentence would load every command for it."""
    if word == "help":
        return "To see all commands: plateau --help"
    if word.endswith(".toml") or Path(word).exists():
        return f'"{visible(word)}" is no command, and a command comes first: plateau check {visible(word)}'
    return f'Unknown command "{word}".{_near(word, commands)} Commands: {", ".join(commands)}.'


def unknown_option(command: str, words: Iterable[str]) -> str | None:
    """Say which of the words after a command is an option that it does not know; None where there is none."""
    from plateau_rule.commands.app import app

    names = [name for one in app[command].assemble_argument_collection() for name in one.names]
    for word in words:
        option = word.partition("=")[0]
        if word.startswith("-") and word != "-" and option not in names:
            return f"unknown option {visible(option)}.{_near(option, names)}"
    return None


def usage(error: CycloptsError) -> str:
    """Say what is wrong with the words after a command."""
    match error:
        case UnknownOptionError():
            word = (error.token.keyword or error.token.value).partition("=")[0]
            return f"unknown option {word}.{_near(word, (n for one in error.argument_collection for n in one.names))}"
        case UnusedCliTokensError():
            # Where - may be a file, an unknown option was taken for one.
            told = unknown_option((error.command_chain or ("",))[-1], (error.root_input_tokens or [""])[1:])
            return told or f'"{(error.unused_tokens or [""])[0]}" is one word too many.'
        case RepeatArgumentError():
            return f"{error.token.keyword} is given twice; expected once."
        case MissingArgumentError(argument=argument) if argument is not None:
            if argument.field_info.is_keyword and (error.keyword or argument.tokens):
                return f"{error.keyword or argument.tokens[-1].keyword} needs a value."
            place = argument.field_info.is_positional
            return f"{argument.name.lstrip('-').upper() if place else argument.name} is missing."
        case CoercionError(token=token) if token is not None:
            name = token.keyword or (error.argument.name.lstrip("-").upper() if error.argument else "value")
            return f'{name} "{token.value}"; expected {_expected(token.value, error.target_type)}'
        case ValidationError(argument=argument) if argument is not None and argument.tokens:
            token = argument.tokens[-1]
            limit = error.exception_message.replace("Must be >= ", "expected at least ")
            limit = limit.replace("Must be <= ", "expected at most ")
            return f"{token.keyword or argument.name} {token.value}; {limit}"
    return f"{error}"


def _expected(value: str, kind: object) -> str:
    if get_origin(kind) is Literal:
        words = [str(word) for word in get_args(kind)]
        return f"{' or '.join(filter(None, [', '.join(words[:-1]), words[-1]]))}.{_near(value, words)}"
    return f"{KINDS.get(kind, 'another value') if isinstance(kind, type) else 'another value'}."


def _near(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def missing_modules(error: BaseException | None) -> Iterator[str]:
    """Name the top-level modules whose absence led to `error`."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            yield error.name.partition(".")[0]
        error = error.__cause__ or error.__context__
