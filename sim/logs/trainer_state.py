"""One JSON document that holds a list of rows: Hugging Face's trainer_state.json, or a plain array of objects."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.rows import Reader, Records, Row, RowBlock
from plateau_rule.sim.logs.source import LINE_BYTES, Source

_HISTORY = re.compile(r'"log_history"\s*:\s*\[')
_GAP = re.compile(r"[\s,]*")
BATCH_ROWS = 2000
BATCH_CHARACTERS = 1 << 20


class TrainerState(Reader):
    """The rows of `log_history`, one object at a time, so that a large file takes no more memory than a small one."""

    format = "Hugging Face trainer_state.json"
    averages = True

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.passed = 0  # characters in the rows at hand
        if not is_trainer_state(source.head):
            self.format, self.averages = "JSON array", False

    def blocks(self) -> Iterator[RowBlock]:
        """The rows in file order."""
        rows: list[Row] = []
        dropped: Counter[str] = Counter()
        for found in self._objects():
            if isinstance(found, dict):
                if self.averages and "train_runtime" in found:
                    found.pop("train_loss", None)  # the mean over the whole run, once more at its end
                rows.append(found)
            else:
                dropped[found if isinstance(found, str) else "element of the array is no object"] += 1
            if len(rows) >= BATCH_ROWS or self.passed >= BATCH_CHARACTERS:
                self.passed = 0
                yield RowBlock(len(rows), Records(rows), 0, dropped)
                rows, dropped = [], Counter()
        yield RowBlock(len(rows), Records(rows), 0, dropped)

    def _objects(self) -> Iterator[object]:
        """The elements of the array, or a reason where one cannot be read; ends with the array, or the file."""
        decoder = json.JSONDecoder()
        text, at = self._start()
        while True:
            gap = _GAP.match(text, at)
            at = gap.end() if gap else at
            if at < len(text) and text[at] == "]":
                return
            try:
                found, end = decoder.raw_decode(text, at)
                self.passed += end - at
                at = end
                yield found if isinstance(found, dict) else None
                continue
            except RecursionError:
                yield "object is nested too deeply"
                return
            except ValueError:
                pass
            if len(text) - at > LINE_BYTES:
                yield "not JSON from here on"
                return
            more = self.source.read()
            if not more:
                if at < len(text):
                    yield "object is cut off by the end of the file"
                    self.warnings.append(f"{self.source.name}: the file is cut off")
                return
            text, at = text[at:] + more.decode("utf-8", "replace"), 0

    def _start(self) -> tuple[str, int]:
        """The first text and the place in it where the array begins."""
        text = self.source.read().decode("utf-8", "replace")
        opening = _HISTORY.search(text) if self.averages else re.match(r"\s*\[", text)
        if opening is None:  # pragma: no cover - both are looked for before this reader is chosen
            raise LogError(self.source.name, "no array of rows")
        return text, opening.end()


def is_trainer_state(head: bytes) -> bool:
    """Whether this begins a JSON document with a `log_history`."""
    return head.lstrip()[:1] == b"{" and _HISTORY.search(head.decode("utf-8", "replace")) is not None


def is_json_array(head: bytes) -> bool:
    """Whether this begins an array of JSON objects."""
    return re.match(rb"\s*\[\s*\{\s*\"", head) is not None
