"""Where each key and value of a TOML text stands; the only file that knows the library which tells (toml-rs)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import toml_rs

from controller.errors import Key, Place


class Places:
    """Finds the line and columns of a path of keys in a text that is known to be valid TOML."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._lines = text.splitlines() or [""]
        try:
            self._nodes: Any = toml_rs.load_with_metadata(text).meta["nodes"]
        except ValueError:  # TOML that one parser takes and the other doesn't: the error still names the file
            self._nodes = {}

    def of(self, path: tuple[Key, ...], at_key: bool = False) -> Place:
        """The place of a key's value, or of the key itself; of the nearest thing around it where it is not written."""
        node: Any = self._nodes
        found: Mapping[str, Any] | None = None
        for depth, key in enumerate(path):
            inner = node.get("value", node) if isinstance(node, Mapping) and "value_line" in node else node
            inner = inner["value"] if isinstance(inner, Mapping) and "key_line" in inner and "value" in inner else inner
            try:
                node = inner[key]
            except (KeyError, IndexError, TypeError):
                at_key = at_key or depth < len(path)
                break
            if isinstance(node, Mapping) and ("value_line" in node or "key_line" in node):
                found = node
        if found is None:
            return self._header(path)
        prefix = "key" if (at_key and "key_line" in found) or "value_line" not in found else "value"
        line = int(found[f"{prefix}_line"] if isinstance(found[f"{prefix}_line"], int) else found[f"{prefix}_line"][0])
        columns = found[f"{prefix}_col"]
        first, last = (columns, columns) if isinstance(columns, int) else (columns[0], columns[-1])
        return self._place(line, first, last)

    def at(self, line: int, column: int) -> Place:
        """The place of one character, both numbers from 1."""
        return self._place(line, column, column)

    def _header(self, path: tuple[Key, ...]) -> Place:
        """Tables that come from a `[a.b]` header have no node of their own: look for the header's line."""
        names = [key for key in path if isinstance(key, str)]
        for length in range(len(names), 0, -1):
            header = ".".join(names[:length])
            for number, line in enumerate(self._lines, 1):
                bare = line.strip().strip("[]").strip()
                if line.lstrip().startswith("[") and (bare == header or bare.startswith(header + ".")):
                    start = line.index("[") + 1
                    return self._place(number, start, len(line.rstrip()))
        return self._place(1, 1, 1)

    def _place(self, line: int, first: int, last: int) -> Place:
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return Place(self._file, line, max(1, first), max(first, min(last, len(text))), text)
