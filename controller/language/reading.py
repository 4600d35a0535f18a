"""From bytes to a Curriculum: limits first, then TOML, then the vocabulary; every fault with its place."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from importlib.resources import files
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from plateau_rule.controller.arguments import kind_of
from plateau_rule.controller.errors import ArgumentError, CurriculumError, Fault, Place, closest, nearest, visible
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.scanning import LARGEST_FILE_BYTES, within_limits

MOST_BESIDE = 200  # files of a folder that are looked at for a name that was misspelt


def load(source: str | PathLike[str]) -> Curriculum:
    """Read a curriculum file.

    Args:
        source: a path, or the bare name of a shipped curriculum such as "plateau".

    Raises:
        CurriculumError: with every fault and its place.
    """
    return loads(*contents(source))


def contents(source: str | PathLike[str]) -> tuple[bytes, str]:
    """The bytes of a curriculum file, and the name that errors show.

    Of a file that is too large, only the beginning is read.

    Args:
        source: a path, or the bare name of a shipped curriculum.
    """
    path = find(source)
    try:
        if path.is_dir():
            found = f"{visible(str(path))} is a folder"
            raise CurriculumError([Fault("not-a-file", (), found, "the file of a curriculum")])
        if not path.is_file():
            raise CurriculumError([Fault("not-a-file", (), f"{visible(str(path))} is not a regular file")])
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1), str(path)
    except OSError as error:
        found = f"{visible(str(path))} cannot be read: {error.strerror or error}"
        raise CurriculumError([Fault("unreadable", (), found)]) from None


def shipped() -> dict[str, Path]:
    """The shipped curricula: bare name → file."""
    folder = Path(str(files("plateau_rule.curricula")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(source: str | PathLike[str]) -> Path:
    """The file that `source` means: a path, or the bare name of a shipped curriculum."""
    if not isinstance(source, str | PathLike):
        raise ArgumentError(
            f"load: {kind_of(source)}; expected a path, or the name of a shipped curriculum. loads reads a text"
        )
    path = Path(source)
    bare = isinstance(source, str) and path.name == source and path.suffix != ".toml"
    if bare and source in shipped():
        return shipped()[str(source)]
    try:
        exists = path.exists() and source != ""  # to pathlib, no name is the present folder
    except (OSError, ValueError):
        exists = False
    if exists:
        return path
    name = visible(str(source))
    name = name if len(name) <= 200 else f"{name[:200]}…"
    known = nearest(name.removesuffix(".toml"), shipped())
    if "\n" in str(source):
        hint = "To read a curriculum from its text, use loads."
    elif (meant := _file_like(path)) is not None and not known.startswith("Did you"):
        hint = f'Did you mean "{visible(meant)}"?'
    else:
        hint = known if bare else "Give a path to a .toml file, or the bare name of a shipped curriculum."
    if not bare and isinstance(source, str) and path.name == source and known.startswith("Did you"):
        hint += f" {known}"
    raise CurriculumError([Fault("no-such-file", (), f'there is no curriculum "{name}"', "", hint)])


def _file_like(path: Path) -> str | None:
    """The curriculum's file that was probably meant by a path, as it would be written; None where none is like it."""
    try:
        beside = [str(path.with_name(file.name)) for file in islice(path.parent.glob("*.toml"), MOST_BESIDE)]
    except (OSError, ValueError):
        return None
    return f"{path}.toml" if f"{path}.toml" in beside else closest(str(path), beside)


def loads(content: bytes | str, file: str = "<text>") -> Curriculum:
    """Read a curriculum from its text.

    Args:
        content: TOML, at most 64 KiB.
        file: the name that errors show.

    Raises:
        CurriculumError: with every fault and its place.
    """
    if not isinstance(content, str | bytes):
        hint = ". load reads a file" if isinstance(content, PathLike) else ""
        raise ArgumentError(f"loads: {kind_of(content)}; expected TOML, as str or bytes{hint}")
    text = within_limits(content, file)
    written = toml_of(text, file)
    if "scenario" in written and "state" not in written:
        from plateau_rule.controller.language.formats import scenarios

        raise CurriculumError([scenarios(text, file)])
    if not written:
        from plateau_rule.controller.language.formats import empty_file

        raise CurriculumError([empty_file(text, file)])
    try:
        # A file says `from` and `not`; `from_` and `not_` are Python's.
        curriculum = Curriculum.model_validate(written, by_alias=True, by_name=False)
    except ValidationError as error:
        from plateau_rule.controller.language.recovery import further_faults
        from plateau_rule.controller.language.vocabulary import faults_in

        faults = faults_in(error, Curriculum, written)
        faults += further_faults(written, faults) if len(faults) < CurriculumError.LIMIT else []
    except CurriculumError as error:
        raise _placed(list(error.faults), error.more, text, file) from None
    else:
        curriculum.remember_source(text, file)
        return curriculum
    raise _placed(faults, 0, text, file)


def _placed(faults: list[Fault], more: int, text: str, file: str) -> CurriculumError:
    """The error with every fault's place, in the order of the file."""
    from plateau_rule.controller.language.places import Places

    places = Places(text, file)
    found = [replace(fault, place=places.of(fault.path, fault.at_key)) for fault in faults]
    return CurriculumError(
        sorted(found, key=lambda fault: (fault.place.line, fault.place.column) if fault.place else (0, 0)), more
    )


def toml_of(text: str, file: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        CurriculumError: it is no TOML; with the place.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        from plateau_rule.controller.language.formats import other_format
        from plateau_rule.controller.language.places import syntax_fault
        from plateau_rule.controller.language.syntax import syntax_mistake

        if (named := other_format(text, file) or syntax_mistake(text, file)) is not None:
            raise CurriculumError([named]) from None
        fault = syntax_fault(text)
        lines = text.split("\n")
        if fault is None:
            raise CurriculumError([_refused(str(error), text, file)]) from None
        shown = lines[fault.line - 1] if fault.line <= len(lines) else ""
        column = min(fault.column, len(shown) + 1)
        place = Place(file, fault.line, column, max(column, fault.end_column), shown)
        raise CurriculumError([_syntax(fault.message, place)]) from None


def _refused(message: str, text: str, file: str) -> Fault:
    """What only tomllib refuses, or only tomllib can place: the leap second, the year 0."""
    found, _, spot = message.partition(" (at ")
    lines = text.split("\n")
    line, column = [int(number) for number in re.findall(r"\d+", spot)] or (len(lines), 1)
    place = Place(file, line, column, column, lines[line - 1])
    return Fault("not-toml", (), visible(found), "TOML 1.0", place=place)


def _syntax(message: str, place: Place) -> Fault:
    """What is wrong with a text that is no TOML, in words; the parser's own where they are clear."""
    rest = place.text[place.column - 1 :].split("#")[0].strip()
    if message == "duplicate key":
        key = re.match(r"([A-Za-z0-9_-]+)|\"([^\"]*)\"|'([^']*)'", rest)
        named = f' "{visible("".join(filter(None, key.groups())))}"' if key else ""
        many = re.match(r"\[ *(state|transition)\b", place.text.lstrip())
        hint = f"Write [[{many[1]}]], with double brackets, for each of them." if many else ""
        found = f"the key{named} a second time"
        return Fault("duplicate-key", (), found, "each key of a table once", hint, place)
    word = re.match(r"[A-Za-z_*][\w.*-]*", rest)
    if message.startswith(("string values must be quoted", "invalid boolean", "invalid float")) and word:
        place = replace(place, end_column=place.column + len(word.group()) - 1)
        hint = f'Texts stand in quotation marks: "{visible(word.group())}".'
        return Fault("not-toml", (), f"found {visible(word.group())}", "a value", hint, place)
    if message.startswith("string values must be quoted"):
        value = visible(place.text[place.column - 1 : place.end_column])
        found = f"found {value}" if rest else 'nothing after "="'
        return Fault("not-toml", (), found, "a number, true, false, or a text in quotation marks", place=place)
    if message.startswith("unexpected key or value") and rest.startswith(","):
        hint = "Lists have brackets: [ … ]."
        return Fault("not-toml", (), "a comma after the value", "the end of the line", hint, place)
    found, _, expected = message.removesuffix(", expected nothing").partition(", expected ")
    return Fault("not-toml", (), visible(found), visible(expected.replace("`", '"')), place=place)
