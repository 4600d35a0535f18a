"""What every reader turns its format into: blocks of rows, seen column by column, and the numbers in them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Row = dict[str, object]
Columns = Mapping[str, Sequence[object]]

MOST_COLUMNS = 1000  # that are looked at; no log of a training has more
MOST_CELLS = 100_000  # in a block
MOST_NESTED = 4  # dictionaries in dictionaries, that are looked into
NUMBER, ABSENT, NOT_A_NUMBER = 0, 1, 2
_WRAPPED = re.compile(r"(?:tensor|array|np\.float\d+)\(\[?([-+.\w]+)")  # a print of a tensor instead of its value


@dataclass(slots=True)
class RowBlock:
    """Some rows: `count` of them, as `columns` (None or "" where a row lacks one), the first from line `line`.

    `dropped` counts what was passed over before rows came of it, by reason.
    """

    count: int
    columns: Columns
    line: int = 0  # 0 where lines mean nothing
    dropped: Counter[str] = field(default_factory=Counter)

    def column(self, name: str) -> Sequence[object]:
        """A column, of None if these rows do not have it."""
        return self.columns.get(name) or [None] * self.count


class Reader(ABC):
    """A format, opened: one subclass each.

    format: what it is called in a report. averages: the trainer logs means over its logging interval, and 0 for a mean
    of NaN (Hugging Face's does). exported: a chart exported from W&B, with one column a run. running: the values are
    means since the epoch began, read at its end (Keras). lines: text without columns. samples: what counts within an
    epoch is samples. counts_calls: the step is the number of a call of the tracker. warnings: what the user should
    know about the file.
    """

    format = ""
    averages = False
    exported = False
    running = False
    lines = False
    samples = False
    counts_calls = False

    def __init__(self) -> None:
        self.warnings: list[str] = []

    @abstractmethod
    def blocks(self) -> Iterator[RowBlock]:
        """The rows in file order; memory does not grow with the file."""

    def names(self) -> Mapping[str, int]:
        """The columns and how many numbers they hold, where that is known before reading; else nothing."""
        return {}

    def names_beside(self) -> Mapping[str, int]:
        """What was passed over unread because nothing there is called a loss: names, and how many numbers each."""
        return {}

    def close(self) -> None:  # noqa: B027  # most have opened nothing
        """Give back what was opened beside the source."""


class Chain(Reader):
    """Files that belong to one run, one after the other.

    Args:
        readers: each with what to put before the names of its columns; files without rows are welcome.
    """

    def __init__(self, readers: Sequence[tuple[str, Reader]]) -> None:
        super().__init__()
        self.readers = readers
        for _, reader in readers[:1]:
            self.format, self.averages, self.running = reader.format, reader.averages, reader.running
            self.lines = reader.lines

    def blocks(self) -> Iterator[RowBlock]:
        """The rows of all files."""
        for prefix, reader in self.readers:
            for block in reader.blocks():
                if prefix:
                    named = {name if name == "step" else prefix + name: block.columns[name] for name in block.columns}
                    yield RowBlock(block.count, named, 0, block.dropped)
                else:
                    yield RowBlock(block.count, block.columns, 0, block.dropped)  # a line of which file, nobody knows
            self.warnings += reader.warnings

    def names(self) -> Mapping[str, int]:
        """The columns of all files, if each of them knows its own."""
        known = [{prefix + name: count for name, count in reader.names().items()} for prefix, reader in self.readers]
        return {name: count for names in known for name, count in names.items()} if all(known) else {}


class Records(Mapping[str, Sequence[object]]):
    """Rows kept as dictionaries, seen as columns; a field of a nested dictionary is spelt `outer.inner`."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __getitem__(self, name: str) -> list[object]:
        try:
            return list(map(itemgetter(name), self.rows))  # twice as fast as asking row by row
        except KeyError:
            pass
        values = [row.get(name) for row in self.rows]
        if "." in name and not any(value is not None for value in values):
            return [_inside(row, name) for row in self.rows]
        return values

    def __iter__(self) -> Iterator[str]:
        first = self.rows[0] if self.rows else {}
        names = [*first, *sorted(set().union(*self.rows).difference(first))]
        for name in names[:MOST_COLUMNS]:
            value = next((value for row in self.rows if (value := row.get(name)) is not None), None)
            yield from _spelt(name, value)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _spelt(name: str, value: object, depth: int = MOST_NESTED) -> Iterator[str]:
    """The names of the fields of a value: its own, or those of what is nested in it."""
    if type(value) is not dict or not depth:
        yield name
        return
    for inner, nested in value.items():
        yield from _spelt(f"{name}.{inner}", nested, depth - 1)


def _inside(row: Row, name: str) -> object:
    """The value of a nested field; names may hold dots themselves."""
    outer, dot, inner = name.partition(".")
    while dot:
        nest = row.get(outer)
        if type(nest) is dict:
            return nest[inner] if inner in nest else _inside(nest, inner)
        more, dot, inner = inner.partition(".")
        outer = f"{outer}.{more}"
    return None


def numbers(values: Sequence[object]) -> tuple[Floats, NDArray[np.uint8]]:
    """The values as floats, NaN where there is none, and which are a NUMBER, ABSENT or NOT_A_NUMBER.

    Numbers may be spelt as text ("2.5", "nan", "1e-3"); booleans and lists are not numbers.
    """
    kinds = set(map(type, values))
    try:
        if kinds <= {float, int}:
            return np.array(values, dtype=np.float64), np.zeros(len(values), dtype=np.uint8)
        if kinds == {str}:
            return np.array(list(map(float, values)), dtype=np.float64), np.zeros(len(values), dtype=np.uint8)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        pass
    if kinds == {type(None)}:
        return np.full(len(values), np.nan), np.full(len(values), ABSENT, dtype=np.uint8)
    pairs = [_number(value) for value in values]
    found = np.array([number for number, _ in pairs], dtype=np.float64)
    return found, np.array([kind for _, kind in pairs], dtype=np.uint8)


def _number(value: object) -> tuple[float, int]:
    if value is None or value == "":
        return np.nan, ABSENT
    if isinstance(value, str):
        value = wrapped[1] if (wrapped := _WRAPPED.match(value)) else value.strip()
        if not value:
            return np.nan, ABSENT
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return np.nan, NOT_A_NUMBER
    try:
        return float(value), NUMBER
    except (ValueError, OverflowError):
        return np.nan, NOT_A_NUMBER


def merged(pairs: Iterable[tuple[int, str, object]]) -> Iterator[Row]:
    """Rows out of single values (step, name, value): neighbours of one step become one row."""
    row: Row = {}
    for step, name, value in pairs:
        if row and (row["step"] != step or name in row):
            yield row
            row = {}
        row.setdefault("step", step)
        row[name] = value
    if row:
        yield row


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Some rows at a time, fewer if they are wide, so that a block takes no more memory than another."""
    batch: list[Row] = []
    cells = 0
    for row in rows:
        batch.append(row)
        cells += len(row)
        if len(batch) >= size or cells > MOST_CELLS:
            yield batch
            batch, cells = [], 0
    if batch:
        yield batch
