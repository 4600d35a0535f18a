"""From bytes to a Curriculum: limits first, then TOML, then the vocabulary; every fault with its place."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from controller.errors import CurriculumError, Fault, Key, Place
from controller.language import Curriculum
from controller.places import Places
from controller.sense import nearest

LARGEST_FILE_BYTES = 64 * 1024
LONGEST_LINE_CHARACTERS = 1000
DEEPEST_NESTING = 32
_TAGS = {"table", "name"}


def load(source: str | Path) -> Curriculum:
    """Read a curriculum file.

    source: a path, or the bare name of a shipped curriculum such as "plateau".
    Raises CurriculumError with every fault and its place.
    """
    path = find(source)
    try:
        if not path.is_file():
            raise CurriculumError([Fault("not-a-file", (), f"{path} is not a regular file")])
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise CurriculumError([Fault("unreadable", (), f"{path} cannot be read: {error.strerror or error}")]) from None
    return loads(content, str(source) if path.name == str(source) else str(path))


def shipped() -> dict[str, Path]:
    """The shipped curricula: bare name → file."""
    folder = Path(str(files("curricula")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(source: str | Path) -> Path:
    """The file that `source` means: a path, or the bare name of a shipped curriculum."""
    path = Path(source)
    bare = isinstance(source, str) and path.name == source and path.suffix != ".toml"
    if bare and source in shipped():
        return shipped()[source]
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if exists:
        return path
    hint = (
        nearest(str(source), shipped())
        if bare
        else "Give a path to a .toml file, or the bare name of a shipped curriculum."
    )
    raise CurriculumError([Fault("no-such-file", (), f"there is no curriculum {str(source)!r}", "", hint)])


def loads(content: bytes | str, file: str = "<text>") -> Curriculum:
    """Read a curriculum from its text.

    content: TOML, at most 64 KiB; file: the name that errors show.
    Raises CurriculumError with every fault and its place.
    """
    text = _within_limits(content, file)
    written = _toml(text, file)
    try:
        return Curriculum.model_validate(written)
    except ValidationError as error:
        faults = [_fault(detail, written) for detail in error.errors(include_url=False)]
    except CurriculumError as error:
        faults = list(error.faults)
    places = Places(text, file)
    placed = [replace(fault, place=places.of(fault.path, fault.at_key)) for fault in faults]
    raise CurriculumError(
        sorted(placed, key=lambda fault: (fault.place.line, fault.place.column) if fault.place else (0, 0))
    )


def _within_limits(content: bytes | str, file: str) -> str:
    size = len(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    if size > LARGEST_FILE_BYTES:
        raise CurriculumError(
            [Fault("file-too-large", (), f"{file} is larger than 64 KiB", "a curriculum of at most 65,536 bytes")]
        )
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        text.encode("utf-8")
    except UnicodeError as error:
        raise CurriculumError([Fault("not-utf8", (), f"{file} is not UTF-8 text: {error.reason}")]) from None  # type: ignore[attr-defined]
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LONGEST_LINE_CHARACTERS:
            place = Place(file, number, 1, 1, line[:60] + "…")
            raise CurriculumError(
                [Fault("line-too-long", (), f"a line of {len(line)} characters", "at most 1,000", place=place)]
            )
        bare = re.sub(r"\"(\\.|[^\"\\])*\"|'[^']*'|#.*", "", line)
        for column, character in enumerate(bare, 1):
            depth = max(0, depth + (character in "[{") - (character in "]}"))
            if depth > DEEPEST_NESTING:
                place = Place(file, number, column, column, line)
                raise CurriculumError(
                    [Fault("nested-too-deep", (), f"nested more than {DEEPEST_NESTING} deep", "less", place=place)]
                )
    return text


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        spot = re.search(r"\(at line (\d+), column (\d+)\)", message)
        lines = text.splitlines() or [""]
        line, column = (int(spot[1]), int(spot[2])) if spot else (len(lines), len(lines[-1]) + 1)
        shown = lines[line - 1] if line <= len(lines) else ""
        found = re.sub(r" \(at .*\)$", "", message)
        raise CurriculumError([Fault("not-toml", (), found, place=Place(file, line, column, column, shown))]) from None
    except (RecursionError, ValueError) as error:
        raise CurriculumError([Fault("not-toml", (), f"{file} cannot be parsed: {type(error).__name__}")]) from None


def _fault(detail: Any, written: dict[str, Any]) -> Fault:
    """Turn one of pydantic's error details into a Fault with the path as it is written in the file."""
    path = tuple(
        key
        for key in detail["loc"]
        if not (isinstance(key, str) and key in _TAGS and not _written_at(written, key, detail))
    )
    kind, found = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        words = words_at(path[:-1])
        return Fault("unknown-key", path, f'unknown key "{path[-1]}"', "", nearest(str(path[-1]), words), at_key=True)
    if kind == "missing":
        return Fault("missing-key", path, f'"{path[-1]}" is missing', "this key", at_key=True)
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return Fault(kind if "-" in kind else "bad-value", path, f"found {_shown(found)}", message)


def _written_at(written: Any, key: str, detail: Any) -> bool:
    """Whether a word of a path is a key of the file and not the tag of a union."""
    node = written
    for step in detail["loc"]:
        if step == key and isinstance(node, dict) and key in node:
            return True
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            continue
    return False


def words_at(path: tuple[Key, ...]) -> list[str]:
    """The keys that the table at a path may have."""
    kinds: list[Any] = [Curriculum]
    for key in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, key)]
    models = [model for kind in kinds for model in _models(kind)]
    return sorted({field.alias or name for model in models for name, field in model.model_fields.items()})


def _inside(kind: Any, key: Key) -> list[Any]:
    inner = []
    for part in _parts(kind):
        if isinstance(part, type) and issubclass(part, BaseModel):
            inner += [field.annotation for name, field in part.model_fields.items() if key in (name, field.alias)]
        elif (isinstance(key, int) and getattr(part, "__origin__", None) is list) or getattr(
            part, "__origin__", None
        ) is dict:
            inner.append(get_args(part)[-1])
    return inner


def _models(kind: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(kind) if isinstance(part, type) and issubclass(part, BaseModel)]


def _parts(kind: Any) -> list[Any]:
    """A type, or the members of a union, without their annotations."""
    if hasattr(kind, "__metadata__"):
        return _parts(kind.__origin__)
    arguments = get_args(kind)
    if arguments and getattr(kind, "__origin__", None) not in (list, dict):
        return [part for argument in arguments for part in _parts(argument)]
    return [kind]


def _shown(found: Any) -> str:
    text = f'"{found}"' if isinstance(found, str) else "a table" if isinstance(found, dict) else repr(found)
    return text if len(text) <= 60 else text[:57] + "…"
