"""Where each key and value of a TOML text stands; the only file that knows the library which tells (toml-rs)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from plateau_rule.controller.errors import Key, Place
from plateau_rule.controller.language.scanning import headers
from plateau_rule.controller.language.staying import import_to_stay

toml_rs = import_to_stay("toml_rs")  # 0.4.3 frees with that thread what every later call reads

# What toml-rs says of a text that is no TOML: a headline, the line itself, carets, and what is wrong with it.
_REPORT = re.compile(r"TOML parse error at line (\d+), column (\d+)\n[^\n]*\n[^\n]*\n *\| *(\^*)\n(.*)", re.DOTALL)


class SyntaxFault(NamedTuple):
    """Why a text is no TOML, and where; lines and columns count from 1."""

    line: int
    column: int
    end_column: int
    message: str


def syntax_fault(text: str) -> SyntaxFault | None:
    """What toml-rs finds wrong with a text, or None where it takes it or does not say where."""
    try:
        toml_rs.load_with_metadata(text, toml_version="1.0.0")
    except ValueError as error:
        if report := _REPORT.match(str(error)):
            line, column, carets, message = report.groups()
            return SyntaxFault(int(line), int(column), int(column) + max(1, len(carets)) - 1, message.splitlines()[-1])
    return None


class Places:
    """Finds the line and columns of a path of keys in a text that is known to be valid TOML."""

    def __init__(self, text: str, file: str) -> None:
        self._file, self._text = file, text
        self._lines = text.split("\n")
        self._headers: dict[tuple[Key, ...], tuple[int, int, int]] | None = None
        try:
            self._nodes: Any = toml_rs.load_with_metadata(text, toml_version="1.0.0").meta["nodes"]
        except ValueError:  # TOML that one parser takes and the other doesn't: the error still names a line
            self._nodes = {}

    def of(self, path: tuple[Key, ...], at_key: bool = False) -> Place:
        """The place of a key's value, or of the key itself; of the nearest thing around it where it is not written."""
        node: Any = self._nodes
        around: Mapping[str, Any] | None = None  # the innermost thing around it that has a place
        for depth, key in enumerate(path):
            try:
                node = _inside(node)[key]
            except (KeyError, IndexError, TypeError):
                return self._nearest(path[:depth], around)
            around = node if _has_place(node) else around
        if _has_place(node):
            return self._written(node, at_key)
        header = self._header(path)
        return header or self._header_below(path) or self._first_within(node) or self._nearest(path, around)

    def raw(self, path: tuple[Key, ...]) -> str | None:
        """A value exactly as it is written, or None where there is none at the path."""
        node: Any = self._nodes
        try:
            for key in path:
                node = _inside(node)[key]
            return str(node["value_raw"]) if _has_place(node) else None
        except (KeyError, IndexError, TypeError):
            return None

    def _nearest(self, path: tuple[Key, ...], around: Mapping[str, Any] | None) -> Place:
        for length in range(len(path), 0, -1):
            if (header := self._header(path[:length])) is not None:
                return header
            if around is not None:
                break
        if around is not None:
            return self._written(around, at_key=True)
        return self._place(1, 1, 1)

    def _written(self, node: Mapping[str, Any], at_key: bool) -> Place:
        prefix = "key" if (at_key and "key_line" in node) or "value_line" not in node else "value"
        lines, columns = node[f"{prefix}_line"], node[f"{prefix}_col"]
        first, last = (columns, columns) if isinstance(columns, int) else columns
        line, last_line = (lines, lines) if isinstance(lines, int) else lines
        text = self._lines[line - 1]
        start = _characters(text, first)
        return self._place(line, start, _characters(text, last) if last_line == line else len(text.rstrip()))

    def _header(self, path: tuple[Key, ...]) -> Place | None:
        """Tables that come from a `[a.b]` header have no node of their own."""
        if self._headers is None:
            self._headers = {header.path: header[1:] for header in headers(self._text)} if self._nodes else {}
        return self._place(*self._headers[path]) if path in self._headers else None

    def _header_below(self, path: tuple[Key, ...]) -> Place | None:
        """The first header of a table inside: of `knobs`, [knobs.cutoff]."""
        below = next((one for one in self._headers or {} if path and one[: len(path)] == path), None)
        return None if below is None else self._header(below)

    def _first_within(self, node: Any) -> Place | None:
        """Tables that come from dotted keys or from headers below them: the first thing that is written in them."""
        todo = [node]
        while todo:
            inner = todo.pop()
            if _has_place(inner):
                return self._written(inner, at_key=True)
            todo += list(inner.values())[::-1] if isinstance(inner, Mapping) else []
        return None

    def _place(self, line: int, first: int, last: int) -> Place:
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return Place(self._file, line, max(1, first), max(1, first, min(last, len(text))), text)


def _has_place(node: Any) -> bool:
    return isinstance(node, Mapping) and isinstance(node.get("value_line", node.get("key_line")), int | tuple)


def _inside(node: Any) -> Any:
    return node["value"] if _has_place(node) and "value" in node else node


def _characters(line: str, column: int) -> int:
    """toml-rs counts a line's bytes, people count its characters."""
    if line.isascii():
        return column
    return len(line.encode()[: column - 1].decode("utf-8", "ignore")) + 1
