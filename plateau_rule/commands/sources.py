"""Which curricula a command is to read: files, names of shipped ones, folders, patterns, the standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plateau_rule.commands.options import UsageError
from plateau_rule.controller.errors import CurriculumError, Fault, visible
from plateau_rule.controller.language.reading import contents, shipped

STDIN = "-"
# The name of a file, or `-`. So that - may be one, cyclopts lets any option pass for one: see `refuse_options`.
Source = Annotated[str, Parameter(allow_leading_hyphen=True)]
SCENARIOS = ".test.toml"  # files for `plateau test`
VENV = "pyvenv.cfg"  # lies at the top of a virtual environment
OTHERS = {"pyproject.toml", "Cargo.toml", "ruff.toml", "uv.toml", "book.toml", "netlify.toml"}  # of well-known tools


def refuse_options(command: str, words: Sequence[str]) -> None:
    """Refuse a misspelt option among the files of a command, as cyclopts does where - may be no file.

    Args:
        command: Its name.
        words: What it took for files.

    Raises:
        UsageError: Naming the option, and the one that was probably meant.
    """
    if any(word.startswith("-") and word != STDIN for word in words):
        from plateau_rule.commands.mistakes import unknown_option

        if told := unknown_option(command, words):
            raise UsageError(f"plateau {command}: {told} See: plateau {command} --help")


def curricula(words: Sequence[str]) -> list[str]:
    """The files that words name, each once, in order.

    Args:
        words: Paths, names of shipped curricula, patterns with `*`, folders, or `-`.

    Raises:
        CurriculumError: Where a pattern or a folder holds no curriculum.
    """
    return list(dict.fromkeys(name for word in words for name in _named(word)))


def is_curriculum(word: str) -> bool:
    """Whether a word among runs and logs names a curriculum: a file in TOML, or a shipped one that no file hides."""
    return word.endswith(".toml") or (word in shipped() and not Path(word).exists())


def one_file(words: Sequence[str]) -> bool:
    """Whether the words name a single file by itself."""
    return len(words) == 1 and list(_named(words[0])) == [words[0]]


def _named(word: str) -> Iterator[str]:
    path = Path(word)
    if word == STDIN or word in shipped():
        yield word
    elif path.is_dir():
        yield from _some(sorted(map(str, _files(path))), word)
    elif glob.has_magic(word) and not path.exists():
        yield from _some(sorted(glob.glob(word, recursive=True)), word)  # noqa: PTH207  # pathlib takes no absolute ones
    else:
        yield word


def _files(folder: Path, scenarios: bool = False) -> Iterator[Path]:
    """The curricula in a folder and below, or the scenarios; not in hidden folders, nor in virtual environments."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not (Path(place, name, VENV)).exists()]
        for name in names:
            wanted = name.endswith(".toml") and name.endswith(SCENARIOS) is scenarios and name not in OTHERS
            if wanted and not name.startswith(".") and (file := Path(place, name)).is_file():
                yield file


def scenarios_in(word: Path) -> list[Path]:
    """The scenario files that a word names: itself, or those in a folder and below it.

    Raises:
        UsageError: A folder holds none, a file is empty, or the word names a shipped curriculum.
    """
    if word.is_file() and word.stat().st_size == 0:
        raise UsageError(f"{word} is an empty file; expected scenarios: curriculum = FILE, and [[scenario]]")
    if str(word) in shipped() and not word.exists():
        expected = f"expected the file of scenarios, such as mine{SCENARIOS}. To check it: plateau check {word}"
        raise UsageError(f"{word} is a shipped curriculum; {expected}")
    if not word.is_dir():
        return [word]
    found = sorted(_files(word, scenarios=True))
    if not found:
        raise UsageError(f"no scenarios in {visible(str(word))}; expected files that end in {SCENARIOS}")
    return found


def _some(files: list[str], word: str) -> list[str]:
    if not files:
        found = f"no curriculum in {visible(word)}"
        raise CurriculumError([Fault("no-such-file", (), found, "files that end in .toml")])
    return files


def content_of(name: str) -> tuple[bytes, str]:
    """The bytes of one of them, and the name that errors show."""
    return (sys.stdin.buffer.read(), "<stdin>") if name == STDIN else contents(name)
