"""`--words FILE`, before or behind any command, and `[tool.plateau]` in pyproject.toml: guards of the user's own."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

OPTION = "--words"
PROJECT = "pyproject.toml"


def _mistake(sentence: str) -> Exception:
    """Return the error; its class alone would load what `plateau --help` can do without."""
    from plateau_rule.commands.options import UsageError

    return UsageError(sentence)


def take_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what was typed into the command's own words and the files that `--words` names.

    Raises:
        UsageError: nothing stands behind the last `--words`.
    """
    rest: list[str] = []
    files: list[str] = []
    todo = iter(arguments)
    for word in todo:
        if word == "--":
            return [*rest, word, *todo], files
        option, equals, value = word.partition("=")
        if option != OPTION:
            rest.append(word)
            continue
        file = value if equals else next(todo, "")
        if not file or (file.startswith("-") and not equals):
            raise _mistake(f"{OPTION}: name the Python file that registers your guards, as in {OPTION} my_words.py")
        files.append(file)
    return rest, files


def words_of_project(folder: Path) -> list[Path]:
    """Return the files that the nearest pyproject.toml names, in a folder or above it: `[tool.plateau] words = […]`.

    Raises:
        UsageError: it says something else there.
    """
    found = next((place / PROJECT for place in (folder, *folder.parents) if (place / PROJECT).is_file()), None)
    if found is None:
        return []
    try:
        text = found.read_text(encoding="utf-8")
        if "plateau" not in text:  # most do not: they need not be parsed at every start
            return []
        table = tomllib.loads(text).get("tool", {}).get("plateau", {})
    except (OSError, ValueError):  # whoever owns the file hears of it from the tools that it is for
        return []
    if not isinstance(table, dict) or (strange := sorted(table.keys() - {"words"})):
        key = "" if not isinstance(table, dict) else f"the key {strange[0]}; "
        raise _mistake(f'{found}: [tool.plateau]: found {key}expected words = ["my_words.py"]')
    words = table.get("words", [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _mistake(f'{found}: [tool.plateau] words: expected a list of paths, such as ["my_words.py"]')
    return [found.parent / word for word in words]


def load_named(files: Sequence[str], folder: Path) -> None:
    """Import the files that the project names, and those of the command line.

    Raises:
        OwnWordError: one of them cannot be used.
    """
    named: list[str | Path] = [*words_of_project(folder), *files]
    if named:
        from plateau_rule.controller.language.own_words import load_words

        load_words(named)
