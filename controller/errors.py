"""Everything that can go wrong by a user's hand, each with a sentence that says what to do."""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

WIDEST_LINE = 160  # of a longer line, only what is around the caret is shown


class PlateauError(Exception):
    """Base of every error of this project that is fit to be shown to a user as it is."""

    def fields(self) -> dict[str, Any]:
        """The same as JSON-able data, for `--json`."""
        return {"error": type(self).__name__, "message": str(self)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands; lines and columns (characters) count from 1, `end_column` is inclusive."""

    file: str
    line: int
    column: int
    end_column: int
    text: str

    def __str__(self) -> str:
        return f"{visible(self.file)}:{self.line}:{self.column}"

    def shown(self) -> str:
        """The line with a caret under the place, in three lines."""
        text, first, last = self.text, self.column - 1, max(self.column, self.end_column)
        if len(text) > WIDEST_LINE:
            start = max(0, min(first - WIDEST_LINE // 3, len(text) - WIDEST_LINE))
            end = min(len(text), start + WIDEST_LINE)
            text = ("…" if start else "") + text[start:end] + ("…" if end < len(self.text) else "")
            first, last = (n - start + (start > 0) for n in (first, min(last, end)))
        before, under = text[:first], text[first:last]
        margin = "".join("\t" if character == "\t" else " " * _width(character) for character in before)
        margin += " " * (first - len(before))  # one past the end of the line
        caret = "^" * max(1, sum(map(_width, under)))
        gutter = " " * len(str(self.line))
        return f"{gutter} |\n{self.line} | {visible(text)}\n{gutter} | {margin}{caret}"


def _width(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def visible(text: str) -> str:
    """The text with everything that a terminal might obey, or not show, replaced by a mark of the same width."""
    return "".join(c if c.isprintable() or c == "\t" or _width(c) == 0 else "\N{REPLACEMENT CHARACTER}" for c in text)


def callers_level() -> int:
    """The `stacklevel` of a warning that names the line, outside of this package, that led to it."""
    level, frame = 0, inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("plateau_rule."):
        level, frame = level + 1, frame.f_back
    return max(1, level)


Key = str | int


def closest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant, or None where none is like the one that was written."""
    lowered = {name.lower(): name for name in sorted(words)}
    close = get_close_matches(word.lower(), lowered)
    return lowered[close[0]] if close else None


def nearest(word: str, words: Iterable[str]) -> str:
    """A sentence that suggests the word that was probably meant, or lists the words that exist."""
    known = sorted(words)
    if (close := closest(word, known)) is not None:
        return f'Did you mean "{close}"?'
    listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return f"Known here: {listed}." if known else ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        code: a word that stays the same.
        path: keys and indices from 0, as a program reads them.
        found: what was found.
        expected: what was expected.
        hint: what to do.
        place: where it is in the text.
        at_key: the caret belongs under the key, not under its value.
        where: the path as people read it, filled in with names by whoever knows the file.
        word: what was written, for a suggestion.
        words: what it may be, for a suggestion.
    """

    code: str
    path: tuple[Key, ...]
    found: str
    expected: str = ""
    hint: str = ""
    place: Place | None = None
    at_key: bool = False
    where: str = ""
    word: str = ""
    words: tuple[str, ...] = ()

    @property
    def suggestion(self) -> str:
        """What to do, in a sentence, or nothing."""
        near = nearest(self.word, self.words) if self.word else ""
        return " ".join(filter(None, (self.hint, near)))

    @property
    def sentence(self) -> str:
        """What was found, what was expected, and what to do; without the place."""
        text = self.found + (f"; expected {self.expected}" if self.expected else "")
        return text + (f". {self.suggestion}" if self.suggestion else "")

    def fields(self) -> dict[str, Any]:
        """The same as JSON-able data, for `--json`; what stands in the file is null where the place is unknown."""
        place = self.place
        return {
            "code": self.code,
            "file": place and place.file,
            "line": place and place.line,
            "column": place and place.column,
            "end_column": place and place.end_column,
            "text": place and place.text,
            "path": list(self.path),
            "where": self.where or spelled(self.path),
            "found": self.found,
            "expected": self.expected,
            "suggestion": self.suggestion,
        }

    def __str__(self) -> str:
        where = self.where or spelled(self.path)
        sentence = f"{where}: {self.sentence}" if where else self.sentence
        if self.place is None:
            return f"{sentence} [{self.code}]"
        return f"{self.place}: {sentence} [{self.code}]\n{self.place.shown()}"


def spelled(path: Sequence[Key], written: object = None) -> str:
    """Spell a path of keys as people read it: `state "words", set.cutoff`, `knob.cutoff.ladder 3`; counted from 1.

    Args:
        path: keys and indices from 0.
        written: the file's contents, from which states and transitions take their names.
    """
    keys, text = list(path), ""
    if len(keys) > 1 and keys[0] in ("state", "transition") and isinstance(keys[1], int):
        name = None
        with suppress(KeyError, IndexError, TypeError):
            name = written[keys[0]][keys[1]]["name"]  # type: ignore[index]
        named = isinstance(name, str) and len(name) <= 64 and name.isprintable()
        text = f'{keys[0]} "{name}"' if named else f"[[{keys[0]}]] {keys[1] + 1}"
        keys = keys[2:]
    fresh = True  # a new part begins, after a comma where there is one before it
    for key in keys:
        if isinstance(key, int):
            text += f" {key + 1}"
            fresh = True
        else:
            short = key if len(key) <= 64 else key[:60] + "…"
            text += f"{', ' if fresh else '.'}{visible(short)}" if text else visible(short)
            fresh = False
    return text


class CurriculumError(PlateauError):
    """A curriculum that cannot be used; `faults` holds the first 20 that were found, `more` counts the others."""

    LIMIT = 20

    def __init__(self, faults: Sequence[Fault], more: int = 0) -> None:
        self.faults = tuple(faults[: self.LIMIT])
        self.more = more + len(faults) - len(self.faults)
        text = "\n".join(str(fault) for fault in self.faults)
        super().__init__(text + (f"\n… and {self.more} more" if self.more > 0 else ""))

    def fields(self) -> dict[str, Any]:
        """The same as JSON-able data, with the fields of each fault."""
        faults = [fault.fields() for fault in self.faults]
        return {"error": type(self).__name__, "faults": faults, "more": self.more}

    def __reduce__(self) -> tuple[type[CurriculumError], tuple[tuple[Fault, ...], int]]:
        return type(self), (self.faults, self.more)


class BindingError(CurriculumError):
    """A sound curriculum that does not fit this trainer or this run."""


class ArgumentError(PlateauError, TypeError):
    """A value of the wrong kind, such as a path where a Curriculum is expected."""


class StepError(PlateauError):
    """An observation that does not belong to the step that was planned."""


class NonFiniteLoss(PlateauError):
    """So many NaN or infinite losses in a row that the run is dead."""


class SnapshotError(PlateauError):
    """A saved controller state that does not fit, or is damaged."""


class RegressionError(SnapshotError):
    """A knob that would fall: by a transition that is not marked, or by a resume."""


class ObservationWarning(UserWarning):
    """Something that a run waits for never came, or came after its end."""


class BindingWarning(UserWarning):
    """A curriculum was changed by binding it: states that became equal were merged."""
