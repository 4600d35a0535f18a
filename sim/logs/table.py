"""Separated values with a header: Lightning's metrics.csv, Keras' CSVLogger, exports of W&B, any other."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice, takewhile

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.rows import MOST_CELLS, MOST_COLUMNS, NOT_A_NUMBER, NUMBER, Reader, RowBlock, numbers
from plateau_rule.sim.logs.series import is_loss, normal, words
from plateau_rule.sim.logs.source import Source

BATCH_ROWS = 4096
_RUNS_TABLE = {"name", "state", "created"}
_RAGGED = "row has not as many fields as the header"
_COMMA = re.compile(r"^\s*\"?(-?\d+),(\d+(?:[eE][-+]?\d+)?)\"?\s*$")  # a decimal comma
_DELIMITERS = (",", "\t", ";", "|", " ")


class TableReader(Reader):
    """A CSV by its header. A row with more or fewer fields than that is passed over."""

    format = "CSV"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        lines = _lines(source.head)
        self.delimiter = delimiter(source.head) or ","
        self.commas = self.delimiter != "," and _has_decimal_commas(source.head, self.delimiter)
        if self.commas:
            self.warnings.append(f"{source.name}: commas stand for decimal points there")
        self.header = next((row for row in self._reader(iter(_without_comments(lines))) if row), [])
        if len(self.header) > MOST_COLUMNS:
            raise LogError(source.name, f"a table of {len(self.header):,} columns", f"at most {MOST_COLUMNS:,}")
        self.headless = _all_numbers(self.header)
        if self.headless:
            self.header = [str(number) for number in range(1, len(self.header) + 1)]
        known = {normal(name) for name in self.header}
        if known >= _RUNS_TABLE and not known & {"step", "_step"}:
            raise LogError(
                source.name,
                "this is W&B's table of runs: one row a run, with its last values, and no curve",
                remedy="Export a chart of the loss, or the history of one run",
            )
        self.step_first = normal(self.header[0]) == "step" if self.header else False
        if any(name.endswith("__MIN") for name in self.header):
            self.exported = True
        elif self.step_first and len(self.header) > 1 and not any(is_loss(name) for name in self.header):
            self.exported = all(not words(name) & {"value", "epoch", "accuracy", "acc"} for name in self.header)
        self._recognise(known)

    def _recognise(self, known: set[str]) -> None:
        if self.exported:
            self.format = "chart exported from W&B"
            self.warnings.append(
                f"{self.source.name}: Step in an export of W&B counts its log calls, which need not be optimizer steps"
            )
        elif {"_step", "_timestamp"} <= known:
            self.format = "W&B history"
        elif known >= {"epoch", "loss"} and not known & {"step", "global_step", "iter", "iteration"}:
            self.format, self.running = "CSV of epochs, as Keras' CSVLogger writes it", True
        elif known >= {"epoch", "step"} and any(name.endswith(("_step", "_epoch")) for name in known):
            self.format = "Lightning metrics.csv"

    def _reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True)

    def blocks(self) -> Iterator[RowBlock]:
        """The rows, in batches; line numbers are right as long as no cell holds a line break."""
        dropped: Counter[str] = Counter()
        rows = self._rows(dropped)
        if not self.headless:
            next((row for row in rows if row), None)
        line = 1 if self.headless else 2
        names = _distinct([name.strip() for name in self.header])
        while batch := list(islice(rows, min(BATCH_ROWS, 1 + MOST_CELLS // len(names)))):
            good = batch if set(map(len, batch)) == {len(names)} else self._whole(batch, len(names), dropped)
            columns = dict(zip(names, zip(*good, strict=True), strict=True)) if good else {}
            yield RowBlock(len(good), columns, line if len(batch) == len(good) else 0, dropped.copy())
            dropped.clear()
            line += len(batch)
        yield RowBlock(0, {}, 0, dropped)

    def _whole(self, rows: list[list[str]], fields: int, dropped: Counter[str]) -> list[list[str]]:
        """The rows with as many fields as the header; a separator at the end of a row makes no field."""
        good = []
        for row in rows:
            if len(row) == fields or (len(row) > fields and not any(row[fields:])):
                good.append(row[:fields])
            elif row:
                dropped[_RAGGED] += 1
        return good

    def _rows(self, dropped: Counter[str]) -> Iterator[list[str]]:
        widest = 2 * len(self.header) + 10  # what has more fields than that is not even kept for a moment
        reader = self._reader(chain.from_iterable(map(_lines, self.source.lines())))
        while True:
            try:
                for row in reader:
                    if row and row[0].startswith("#") and len(row) != len(self.header):
                        dropped["line that is a comment"] += 1
                    elif len(row) <= widest:
                        yield _with_points(row) if self.commas else row
                    else:
                        dropped[_RAGGED] += 1
                return
            except csv.Error:
                dropped["row is not CSV (a quote that is never closed, or a field above 128 KiB)"] += 1


def _lines(data: bytes) -> list[str]:
    return list(io.StringIO(data.decode("utf-8", "replace"), newline=""))


def _without_comments(lines: list[str]) -> list[str]:
    """The lines from the header on; a header may itself begin with "#"."""
    comments = list(takewhile(lambda line: line.startswith("#"), lines))
    return lines[len(comments) :] if len(comments) > 1 or (comments and len(lines) > 1 and _apart(lines)) else lines


def _apart(lines: list[str]) -> bool:
    """Whether the first line has other separators than the second: it is a remark, not a header."""
    return [lines[0].count(mark) for mark in ",;\t"] != [lines[1].count(mark) for mark in ",;\t"]


def delimiter(head: bytes) -> str | None:
    """What separates the fields, or None if this is no table.

    A table has a header of at least two names, rows with as many fields, and numbers in a good part of them.
    """
    lines = _without_comments([line for line in _lines(head)[:200] if line.strip()])
    if len(head) >= 1 << 16 and len(lines) < 200:
        lines = lines[:-1]
    for mark in _DELIMITERS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=mark, skipinitialspace=True) if row]
        except csv.Error:
            continue
        if mark != ",":
            rows = list(map(_with_points, rows))
        if len(rows) > 1 and _is_table(rows, mark):
            return mark
    return None


def is_heading(text: bytes) -> bool:
    """Whether a text is one line of two names or more, no number, and a loss among them: what a CSV begins with."""
    lines = _lines(text.strip())
    names = next(csv.reader(lines), [])
    return len(lines) == 1 and len(names) > 1 and any(map(is_loss, names)) and not any(map(str.isdigit, lines[0]))


def _has_decimal_commas(head: bytes, mark: str) -> bool:
    """Whether fields such as "2,345" stand there, and none with a point."""
    cells = {cell.strip() for line in _lines(head)[:200] for cell in line.split(mark)}
    pointed = any(re.fullmatch(r"-?\d+\.\d+", cell) for cell in cells)
    return not pointed and any(_COMMA.fullmatch(cell) for cell in cells)


def _with_points(row: list[str]) -> list[str]:
    """The fields of a row, decimal commas replaced by points."""
    return [_COMMA.sub(r"\1.\2", cell) if "," in cell else cell for cell in row]


def _is_table(rows: list[list[str]], mark: str) -> bool:
    header, body = rows[0], rows[1:]
    if len(header) < 2:
        return False
    if any(
        kind == NUMBER for kind in numbers(header)[1]
    ):  # numbers are no names; a table without a header has no others
        return all(len(row) == len(header) and _all_numbers(row) for row in rows[:20])
    same = [row for row in body if len(row) == len(header) or (len(row) > len(header) and not any(row[len(header) :]))]
    if not same or 2 * len(same) < len(body):
        return False
    if mark == "|" and len(header) == 4 and not header[0] and not header[3]:
        names = numbers([row[1] for row in same])[1]
        if (names == NUMBER).sum() <= (names == NOT_A_NUMBER).sum():
            return False  # a name and its value in each line
    if mark == " " and not any(is_loss(name) for name in header):
        return False
    numeric = [numbers(column)[1] for column in zip(*(row[: len(header)] for row in same), strict=True)]
    return any((kinds == NUMBER).sum() > (kinds == NOT_A_NUMBER).sum() for kinds in numeric)


def _all_numbers(cells: list[str]) -> bool:
    return bool(cells) and bool((numbers(cells)[1] == NUMBER).all())


def _distinct(header: list[str]) -> list[str]:
    """The names of the columns, with a number where there is none, or the same one twice."""
    names: dict[str, None] = {}
    for number, spelt in enumerate(header, 1):
        name = spelt
        while not name or name in names:
            name = f"{name} ({number})".strip()
        names[name] = None
    return list(names)
