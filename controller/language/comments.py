"""The comments of a TOML text, and what each belongs to."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from plateau_rule.controller.errors import Key
from plateau_rule.controller.language.scanning import Token, headers, tokens

Path = tuple[Key, ...]


@dataclass
class Remarks:
    """Comments by the path of the key, header or item of a list that they belong to; an empty one is a blank line.

    Attributes:
        top: above everything.
        before: on lines of their own, above it.
        after: behind it, on its last line.
        end: after all.
    """

    top: list[str] = field(default_factory=list)
    before: dict[Path, list[str]] = field(default_factory=dict)
    after: dict[Path, list[str]] = field(default_factory=dict)
    end: list[str] = field(default_factory=list)

    def inside_list(self, path: Path) -> bool:
        """Whether a comment belongs to an item of the list at a path."""
        return any(len(p) == len(path) + 1 and p[:-1] == path and isinstance(p[-1], int)
                   for p in (*self.before, *self.after))  # fmt: skip

    def inside_table(self, path: Path) -> bool:
        """Whether a comment belongs to the header of the table at a path, or to something in it."""
        return any(len(p) > len(path) and p[: len(path)] == path for p in (*self.before, *self.after))

    def move(self, path: Path, to: Path) -> None:
        """Put what belongs to one header above another one."""
        lines = [*self.before.pop(path, []), *self.after.pop(path, [])]
        if lines:
            self.before[to] = [*lines, *self.before.get(to, [])]

    def settled(self, slots: list[Path]) -> Remarks:
        """The same comments, at places where comments can stand: each at its own, or near it where it is none.

        Args:
            slots: the paths of keys, headers and items of lists, in the order in which they are written.
        """
        known = set(slots)
        found = Remarks(list(self.top), {}, {}, list(self.end))
        for path, lines in self.before.items():
            found._put(_nearest(path, known, slots), lines)
        for path, lines in self.after.items():
            if path in known:
                found.after[path] = lines
            else:
                found._put(_nearest(path, known, slots), lines)
        return found

    def _put(self, path: Path | None, lines: list[str]) -> None:
        target = self.end if path is None else self.before.setdefault(path, [])
        target += lines


def _nearest(path: Path, known: set[Path], slots: list[Path]) -> Path | None:
    """The path itself, or what it is in, or the first thing in it."""
    around = (path[:length] for length in range(len(path), 0, -1))
    inside = (slot for slot in slots if slot[: len(path)] == path)
    return next((p for p in around if p in known), None) or next(inside, None)


def remarks_in(text: str) -> Remarks:
    """Collect the comments of a text that is valid TOML."""
    remarks = Remarks()
    waiting: list[str] = []  # comments and blank lines above the next key, header or item
    first = True
    for statement in _statements(text):
        above = [*waiting, *statement.above]
        waiting = []
        while above and not above[0]:
            above.pop(0)
        if statement.path is None:
            remarks.end += above
            continue
        if first and above:  # up to the last blank line, what stands above everything is about the file
            split = max((i + 1 for i, line in enumerate(above) if not line), default=len(above))
            remarks.top, above = above[:split], above[split:]
        first = False
        if any(above):
            remarks.before.setdefault(statement.path, []).extend(above)
        for path, lines in statement.inside.items():
            remarks.before.setdefault(path, []).extend(lines)
        for path, lines in statement.after.items():
            remarks.after[path] = lines[:1]  # two behind one item would run into one
            if lines[1:]:
                remarks.before.setdefault(path, []).extend(lines[1:])
    while remarks.end and not remarks.end[-1]:
        remarks.end.pop()
    return remarks


@dataclass
class _Statement:
    """A header, or a key with its value, and the comments around and in it; the last one of a text has no path."""

    path: Path | None = None
    above: list[str] = field(default_factory=list)
    inside: dict[Path, list[str]] = field(default_factory=dict)
    after: dict[Path, list[str]] = field(default_factory=dict)


def _statements(text: str) -> Iterator[_Statement]:
    """Cut a text into statements."""
    table: Path = ()
    opened = {header.line: header.path for header in headers(text)}
    statement, written = _Statement(), list[Token]()  # what was written of the statement so far
    depth, blank, tail = 0, True, False  # open brackets; nothing on this line yet; a statement ended on this line
    list_items = _Items()
    for token in tokens(text):
        if token.kind == "comment":
            remark = token.text.rstrip()
            if tail:
                statement.after.setdefault(statement.path or (), []).append(remark)
            elif depth == 0 and not written:
                statement.above.append(remark)
            else:
                list_items.add(statement, remark, on_own_line=blank)
            blank = False
            continue
        if token.kind == "newline":
            if tail:
                yield statement
                statement, written, tail, list_items = _Statement(), [], False, _Items()
            elif blank and not written and statement.above[-1:] != [""]:
                statement.above.append("")
            blank = True
            continue
        if not token.text.strip(" \t"):
            continue
        blank = False
        if token.kind == "mark" and token.text in "[{":
            depth += 1
        elif token.kind == "mark" and token.text in "]}":
            depth -= 1
        if not written and token.line in opened:
            table = statement.path = opened[token.line]
        written.append(token)
        list_items.see(token, depth)
        if statement.path is None and token.kind == "mark" and token.text == "=" and depth == 0:
            statement.path = list_items.path = (*table, *_key(written))
        tail = depth == 0 and statement.path is not None and (tail or token.text != "=")
    yield statement
    if statement.path is not None:
        yield _Statement()


def _key(written: list[Token]) -> Path:
    node: Any = tomllib.loads("".join(token.text for token in written) + " 0")
    path: Path = ()
    while isinstance(node, dict):
        ((key, node),) = node.items()
        path = (*path, key)
    return path


class _Items:
    """Which item of a statement's list is being written."""

    def __init__(self) -> None:
        self.path: Path = ()
        self._is_list = False
        self._index = 0
        self._seen = False  # something of the item was written

    def see(self, token: Token, depth: int) -> None:
        """Go on by one piece of the value."""
        mark = token.text if token.kind == "mark" else ""
        if not self.path:
            return
        if mark == "[" and depth == 1 and not self._is_list:
            self._is_list = True
        elif mark == "," and depth == 1 and self._is_list:
            self._index, self._seen = self._index + 1, False
        elif depth >= 1 or mark in ("]", "}"):
            self._seen = True

    def add(self, statement: _Statement, remark: str, on_own_line: bool) -> None:
        """Give a comment inside the value to the item that it stands above or behind."""
        if not self._is_list:
            statement.above.append(remark)
        elif on_own_line or self._index + self._seen == 0:
            index = self._index + self._seen
            statement.inside.setdefault((*self.path, index), []).append(remark)
        else:
            statement.after.setdefault((*self.path, self._index + self._seen - 1), []).append(remark)
