"""Rows in which several series stand under one name: a metric a row, or the rows of several processes or runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from plateau_rule.sim.logs.rows import RowBlock
from plateau_rule.sim.logs.series import CLOCKS, RATES, TRAIN, is_eval, is_loss, normal, words
from plateau_rule.sim.logs.splits import told_apart

METRIC_COLUMNS = ("metric", "metric_name", "key", "name", "tag", "variable")
WRITER_COLUMNS = (
    "run",
    "run_id",
    "run_name",
    "rank",
    "local_rank",
    "global_rank",
    "gpu",
    "worker",
    "process",
    "seed",
    "fold",
    "trial",
)
MOST_NAMES = 200  # of metrics, or writers, that are told apart


def separate(blocks: Iterator[RowBlock]) -> Iterator[RowBlock]:
    """Rows with a column for each series: what one name held of several metrics, writers or splits is told apart."""
    return told_apart(_by_writer(_by_metric(blocks)))


def _by_metric(blocks: Iterator[RowBlock]) -> Iterator[RowBlock]:
    """Rows `step, metric, value` get a column for each metric."""
    named: tuple[str, str] | None = None
    for at, block in enumerate(blocks):
        if at == 0:
            named = _metric_and_value(block)
        if named is None:
            yield block
            continue
        metrics, values = block.column(named[0]), block.column(named[1])
        columns = {name: block.column(name) for name in block.columns if name not in named}
        for metric in list(dict.fromkeys(map(str, metrics)))[:MOST_NAMES]:
            columns[metric] = [value if spelt == metric else None for spelt, value in zip(metrics, values, strict=True)]
        yield RowBlock(block.count, columns, block.line, block.dropped)


def _metric_and_value(block: RowBlock) -> tuple[str, str] | None:
    """The columns that hold the name and the value of a metric, if there are such; one of the metrics is a loss."""
    known = {normal(name): name for name in block.columns}
    if "value" not in known or any(is_loss(name) for name in known):
        return None
    for column in METRIC_COLUMNS:
        spelt = {value for value in block.column(known[column]) if isinstance(value, str)} if column in known else set()
        if len(spelt) > 1 and any(map(is_loss, spelt)):
            return known[column], known["value"]
    return None


def _by_writer(blocks: Iterator[RowBlock]) -> Iterator[RowBlock]:
    """Rows that several processes or runs wrote in turns get a column for each: "loss (rank 0)", "loss (rank 1)"."""
    column: str | None = None
    for at, block in enumerate(blocks):
        if at == 0:
            column = _writer_column(block)
        if column is None:
            yield block
            continue
        marks = block.column(column)
        columns: dict[str, Sequence[object]] = {}
        for name in block.columns:
            values = block.column(name)
            if normal(name) in CLOCKS or normal(name) in RATES or normal(name.rpartition("/")[2]) in CLOCKS:
                columns[name] = values
                continue
            if name == column:
                continue
            for mark in list(dict.fromkeys(marks))[:MOST_NAMES]:
                columns[f"{name} ({column} {mark})"] = [
                    value if each == mark else None for each, value in zip(marks, values, strict=True)
                ]
        yield RowBlock(block.count, columns, block.line, block.dropped)


def _writer_column(block: RowBlock) -> str | None:
    """The column that names the writer, if the rows of several alternate and tell other losses at the same place."""
    known = {normal(name): name for name in block.columns}
    clocks = [block.column(name) for name in block.columns if normal(name) in CLOCKS]
    if not clocks:
        return None
    for column in WRITER_COLUMNS:
        if column not in known:
            continue
        marks = block.column(known[column])
        writers = {mark for mark in marks if mark is not None}
        if not 1 < len(writers) <= MOST_NAMES or sum(a != b for a, b in pairwise(marks)) < len(writers):
            continue
        for name in block.columns:
            if is_loss(name) and (words(name) & TRAIN or not is_eval(name)):
                places: defaultdict[tuple[object, ...], set[object]] = defaultdict(set)
                for clock, value in zip(zip(*clocks, strict=True), block.column(name), strict=True):
                    if value is not None:
                        places[clock].add(value)
                if 2 * sum(len(values) > 1 for values in places.values()) >= max(1, len(places)):
                    return known[column]
    return None
