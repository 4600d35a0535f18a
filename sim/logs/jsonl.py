"""JSON, one object a line: this project's metrics.jsonl, and whatever other trainers write in that way."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import orjson

from plateau_rule.sim.logs.rows import Reader, Records, Row, RowBlock
from plateau_rule.sim.logs.source import Source

# Python's json writes NaN and Infinity as bare words, which no other reader of JSON takes.
_BARE = re.compile(rb"([:\[,]\s*)(NaN|-?Infinity)(?=\s*[,}\]])")
# LLaMA-Factory writes what Hugging Face's Trainer logs.
_LLAMA_FACTORY = {"current_steps", "total_steps", "percentage"}


class JsonLines(Reader):
    """Lines of JSON objects; other lines are counted and passed over."""

    format = "JSON lines"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        first = next(iter(_rows(source.head.split(b"\n"), Counter())), {})
        if first.keys() >= {"step", "state", "lr", "loss"}:
            self.format = "metrics.jsonl of a run of ours"
        elif first.keys() >= _LLAMA_FACTORY:
            self.format = "LLaMA-Factory's trainer_log.jsonl"
            self.averages = True

    def blocks(self) -> Iterator[RowBlock]:
        """The objects of each block of lines, parsed as one array where that works: twice as fast as line by line."""
        line = 1
        for data in self.source.lines():
            rows, dropped, lines = parse(data)
            yield RowBlock(len(rows), Records(rows), line, dropped)
            line += lines


def is_json_lines(head: bytes) -> bool:
    """Whether at least half of the first lines that are not blank are JSON objects."""
    lines = [line for line in head.split(b"\n")[:50] if line.strip()]
    if len(lines) > 1 and len(head) >= 1 << 16:
        lines = lines[:-1] or lines  # the last one may be cut off
    braces = sum(line.lstrip()[:1] == b"{" for line in lines)
    if not braces or braces * 2 < len(lines):
        return False
    return 2 * sum(1 for _ in _rows(lines, Counter())) >= braces


def parse(data: bytes) -> tuple[list[Row], Counter[str], int]:
    """The objects in some whole lines, what was passed over, and how many lines there were.

    The line breaks become the commas of one array. If the number of its elements is not that of the lines, or one is no
    object, something is amiss, and the lines are read one by one.
    """
    dropped: Counter[str] = Counter()
    text = data.strip()
    if b"NaN" in text or b"Infinity" in text:
        text = _BARE.sub(rb'\1"\2"', text)
    try:
        rows = orjson.loads(b"[" + text.replace(b"\n", b",") + b"]")
        lines = data.count(b"\n")
        if len(rows) == lines + (not data.endswith(b"\n")) and set(map(type, rows)) == {dict}:
            return rows, dropped, lines
    except orjson.JSONDecodeError:
        pass
    return list(_rows(data.split(b"\n"), dropped)), dropped, data.count(b"\n")


def _rows(lines: list[bytes], dropped: Counter[str]) -> Iterator[Row]:
    for line in lines:
        if not (line := line.strip()):
            continue
        row: object
        try:
            row = orjson.loads(_BARE.sub(rb'\1"\2"', line))
        except orjson.JSONDecodeError:
            try:
                row = json.loads(line)  # takes a bare NaN anywhere, and very large integers
            except (ValueError, RecursionError):
                dropped["line is not JSON"] += 1
                continue
        if isinstance(row, dict):
            yield row
        else:
            dropped["line is JSON, but no object"] += 1
