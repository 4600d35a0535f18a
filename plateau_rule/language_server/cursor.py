"""What stands at the cursor of a text that may be half-written: the tables and keys around it, and the word itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from plateau_rule.controller.errors import Key
from plateau_rule.controller.language.scanning import Token, tokens

_HEADER = re.compile(r"[ \t]*\[(\[?)[ \t]*([A-Za-z0-9_-]+(?:[ \t]*\.[ \t]*[A-Za-z0-9_.-]*)*)?")
_KEY = re.compile(r"[ \t]*[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*[ \t]*=")
_WORD = re.compile(r"[A-Za-z0-9_*-]+")


@dataclass(frozen=True, slots=True)
class CursorPlace:
    """A place in a text.

    Attributes:
        path: the keys and indices of the table around it, and the key itself where a value stands or is asked for.
        at_value: whether a value stands here, not a key.
        in_header: whether it is the name in a `[header]`; the path is that of the table around.
        word: the key or the word here, without quotes; empty between words.
        line: from 0.
        start: the first column of the word, from 0.
        end: the column after the word.
        quoted: whether the word stands in quotes.
    """

    path: tuple[Key, ...]
    at_value: bool
    in_header: bool
    word: str
    line: int
    start: int
    end: int
    quoted: bool


@dataclass(slots=True)
class _Frame:
    """An open table or list, and how far its present entry is written."""

    path: tuple[Key, ...]
    is_list: bool = False
    keys: list[str] = field(default_factory=list)
    at_value: bool = False

    def here(self) -> tuple[Key, ...]:
        return (*self.path, *self.keys) if not self.is_list else self.path


def cursor_at(text: str, line: int, column: int) -> CursorPlace:
    """What stands at a place.

    Args:
        text: the whole text, valid or not.
        line: from 0.
        column: of the character after the cursor, from 0.
    """
    lines = text.split("\n")
    written = lines[line] if line < len(lines) else ""
    start, end, quoted = _word(written, column)
    header = _HEADER.match(written)
    if header and _is_header(lines, line) and column <= (written.find("]") if "]" in written else len(written)):
        names = written[header.start(2) if header.group(2) else len(header.group(0)) : start]
        keys = [name.strip() for name in names.split(".")[:-1]]
        around = _indexed(keys, [*_header_names(lines[:line])])
        return CursorPlace(around, False, True, written[start:end], line, start, end, quoted)
    frame = _innermost(lines, line, start - quoted)
    return CursorPlace(frame.here(), frame.at_value, False, written[start:end], line, start, end, quoted)


def _word(written: str, column: int) -> tuple[int, int, bool]:
    """The first column of the word at a column, the one after it, and whether it is quoted."""
    for token in tokens(written):
        first = token.column - 1
        if token.kind == "string" and first < column <= first + len(token.text) - _closed(token.text):
            return first + 1, first + len(token.text) - _closed(token.text), True
    for match in _WORD.finditer(written):
        if match.start() <= column <= match.end():
            return *match.span(), False
    return column, column, False


def _closed(string: str) -> int:
    return int(len(string) > 1 and string[-1] == string[0])


def _is_header(lines: list[str], line: int) -> bool:
    """Whether a line that begins with a bracket is a header, and no part of a list that an earlier line opened."""
    if lines[line].lstrip(" \t").startswith("[["):
        return True
    before = _innermost(lines, line, 0)
    return not before.is_list and not before.at_value


def _header_names(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """The headers of some lines: whether each is one of several tables, and its keys."""
    for written in lines:
        if (match := _HEADER.match(written)) and match.group(2):
            yield bool(match.group(1)), [name.strip() for name in match.group(2).split(".")]


def _indexed(names: list[str], before: list[tuple[bool, list[str]]]) -> tuple[Key, ...]:
    """A header's path: tables that are one of several get their number."""
    path: tuple[Key, ...] = ()
    for place, name in enumerate(names):
        path = (*path, name)
        several = sum(many and keys == names[: place + 1] for many, keys in before)
        path = (*path, several - 1) if several else path
    return path


def _innermost(lines: list[str], line: int, column: int) -> _Frame:
    """The innermost table or list that is open before a column."""
    top = next((place for place in range(line, -1, -1) if _starts_table(lines[place]) and place < line), None)
    path: tuple[Key, ...] = ()
    if top is not None:
        headers = [*_header_names(lines[: top + 1])]
        path = _indexed(headers[-1][1], headers) if headers else ()
    first = 0 if top is None else top + 1
    frames = [_Frame(path)]
    text = "\n".join([*lines[first:line], (lines[line] if line < len(lines) else "")[:column]])
    rows = text.split("\n")
    for token in tokens(text):
        if token.kind == "newline":
            _end_line(frames, rows[token.line] if token.line < len(rows) else "")
        else:
            _read(frames, token)
    return frames[-1]


def _starts_table(written: str) -> bool:
    """Whether a line is a header: brackets around bare keys and nothing else but a comment."""
    return re.match(r"[ \t]*\[\[?[ \t]*[A-Za-z_][A-Za-z0-9_. -]*\]?\]?[ \t]*(#.*)?$", written) is not None


def _end_line(frames: list[_Frame], following: str) -> None:
    """A new line ends an entry of a table; a line that gives a key ends every list that was left open."""
    while len(frames) > 1 and (not frames[-1].is_list or _KEY.match(following)):
        frames.pop()
    if not frames[-1].is_list:
        frames[-1].keys, frames[-1].at_value = [], False


def _read(frames: list[_Frame], token: Token) -> None:
    """Take one piece of the text."""
    frame, mark = frames[-1], token.text
    match token.kind, mark:
        case "mark", "{" | "[" if frame.at_value or frame.is_list:
            frames.append(_Frame(frame.here(), mark == "[", at_value=mark == "["))
            if mark == "[":
                frames[-1].path = (*frames[-1].path, 0)
        case "mark", "}" | "]" if len(frames) > 1:
            frames.pop()
        case "mark", "," if frame.is_list:
            *around, number = frame.path
            frame.path = (*around, int(number) + 1)
        case "mark", ",":
            frame.keys, frame.at_value = [], False
        case "mark", "=":
            frame.at_value = True
        case ("string", _) if not (frame.at_value or frame.is_list):
            frame.keys.append(mark.strip("\"'"))
        case ("other", _) if not (frame.at_value or frame.is_list) and mark.strip():
            frame.keys.append(mark.strip())
        case _:
            pass
