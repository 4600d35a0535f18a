"""The end of a run's metrics.jsonl as it grows; and where it was cut back, when the run was resumed earlier."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.logs.jsonl import parse
from plateau_rule.sim.run_files import METRICS
from plateau_rule.sim.whatif.log import DROPPED, LOGGED, Kinds

Floats = NDArray[np.float64]
READ_BYTES = 1 << 20  # taken in at one look, so that a page of a long run fills while it is read
KNOWN_BYTES = 256  # before the place that was read up to; where they differ, the file is another one
PLAIN = {"step", "epoch", "loss", "lr", "state", "knobs", "chunk_loss", "grad_norm"}  # keys that are no metric
NO_METRIC = PLAIN | {"skipped"}
# A step's row as the run folder spells it, whole: nearly all of a log is such rows, and two of their numbers are asked
# for. Whatever is spelled in another way is read as any JSON.
# Nothing is given back once it is taken (++), which makes it a third faster.
NUMBER = rb"[-+.\deE]++"
OURS = re.compile(
    rb'^\{"step": (\d++), "epoch": \d++, "state": "[^"\\\n]*+", "knobs": \{[^{}\\\n]*+\}, "lr": %b, "loss": (%b)'
    rb'(?:, "(?:chunk_loss|grad_norm)": %b)*+\}\n' % (NUMBER, NUMBER, NUMBER),
    re.MULTILINE,
)


@dataclass
class Rows:
    """What was logged from one step on, step by step.

    Attributes:
        first: the step of the first row; rows before it stay, what came after it was cut off.
        losses: one for each step; NaN where the row's is no number.
        metrics: what evaluations brought, by step; also of steps before the first, where an evaluation came later.
        skipped: the steps whose optimizer step was dropped.
        passed: how each step was logged, where some were not; None where all were.
    """

    first: int
    losses: Floats = field(default_factory=lambda: np.empty(0))
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)
    passed: Kinds | None = None

    @property
    def end(self) -> int:
        """The step after the last row."""
        return self.first + len(self.losses)

    @property
    def kinds(self) -> Kinds | None:
        """How each step was logged; None where all were, and none was dropped."""
        if self.passed is None and not self.skipped:
            return None
        kinds = np.full(len(self.losses), LOGGED, np.int8) if self.passed is None else self.passed.copy()
        kinds[[step - self.first for step in self.skipped if self.first <= step < self.end]] = DROPPED
        return kinds


class Tail:
    """Reads what has been written since the last look.

    Args:
        folder: of the run; its log need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self._offset, self._inode, self._known = 0, -1, b""
        self.share = 1.0  # of the log that was read
        self._again = False  # whether a log that is known in part is read from its beginning again

    def read(self, known: Floats) -> Rows | None:
        """The rows that are new; from an earlier step than the last where the log was cut back.

        Args:
            known: the losses so far, as they were given.

        Returns:
            None if nothing is new.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if self._is_another(file, status):
                    self._offset, self._known, self._again = 0, b"", True
                self._inode = status.st_ino
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except FileNotFoundError:
            self._offset, self._inode, self._known = 0, -1, b""
            return Rows(0) if len(known) else None
        whole = data[: data.rfind(b"\n") + 1]
        begins = not self._offset
        if not whole and not begins:
            return None
        self._offset += len(whole)
        self._known = (self._known + whole[-KNOWN_BYTES:])[-KNOWN_BYTES:]
        self.share = min(1.0, self._offset / max(1, status.st_size))
        rows = _rows_of(whole, 0 if begins and self._again else len(known))
        return self._differing(rows, known, begins) if self._again else _some(rows, len(known))

    def _is_another(self, file: BinaryIO, status: os.stat_result) -> bool:
        if not self._offset:
            return False
        if status.st_ino != self._inode or status.st_size < self._offset:
            return True
        file.seek(self._offset - len(self._known))
        return file.read(len(self._known)) != self._known

    def _differing(self, rows: Rows, known: Floats, begins: bool) -> Rows | None:
        """Of a log that is read from its beginning again, what is not known yet."""
        if not begins:  # the first block showed nothing new, and this one follows it
            self._again = False
            return _some(rows, len(known))
        shared = min(len(known), len(rows.losses))
        old, new = known[:shared], rows.losses[:shared]
        same = (old == new) | (np.isnan(old) & np.isnan(new))
        first = shared if same.all() else int(np.argmin(same))
        self._again = False
        return _some(_from(rows, first), len(known))


def _some(rows: Rows, known: int) -> Rows | None:
    """The rows, if there is anything new in them."""
    return rows if len(rows.losses) or rows.first < known or rows.metrics else None


def _from(rows: Rows, first: int) -> Rows:
    metrics = {step: brought for step, brought in rows.metrics.items() if step >= first}
    return Rows(first, rows.losses[first - rows.first :], metrics, {step for step in rows.skipped if step >= first})


def _rows_of(data: bytes, count: int) -> Rows:
    """Whole lines as rows; a row whose step stands there already takes the place of it and of what came after it."""
    ours = _spelled_by_us(data, count)
    if ours is not None:
        return ours
    collects = gc.isenabled()
    gc.disable()  # a million rows come and go, none of them in a cycle: looking for cycles would take a third
    try:
        found, _, _ = parse(data) if data else ([], None, 0)
        losses = _plain(found, count)
    finally:
        if collects:
            gc.enable()
    if losses is not None:
        return Rows(count, losses)
    rows, values = Rows(count), list[float]()
    for row in found:
        step = row.get("step")
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            continue
        if "loss" in row:
            if step < rows.first:
                rows, values = Rows(step), []
            elif step < rows.first + len(values):
                del values[step - rows.first :]
                rows.metrics = {at: brought for at, brought in rows.metrics.items() if at < step}
                rows.skipped = {at for at in rows.skipped if at < step}
            values += [nan] * (step - rows.first - len(values))  # rows that were lost: ours has one for each step
            values.append(_number(row["loss"]))
            if row.get("skipped") is True:
                rows.skipped.add(step)
        if brought := _metrics_in(row):
            rows.metrics.setdefault(step, {}).update(brought)
    rows.losses = np.array(values, dtype=np.float64)
    return rows


def _spelled_by_us(data: bytes, count: int) -> Rows | None:
    """Rows of steps that follow on each other, and of evaluations between them, as our runs spell them; else None."""
    found = OURS.findall(data)
    metrics: dict[int, dict[str, float]] = {}
    if not found:
        return None
    if len(found) != data.count(b"\n"):
        others, _, _ = parse(OURS.sub(b"", data))
        if len(found) + len(others) != data.count(b"\n") or any("loss" in row for row in others):
            return None
        for row in others:
            step, brought = row.get("step"), _metrics_in(row)
            if not isinstance(step, int) or isinstance(step, bool) or step < 0:
                return None
            if brought:
                metrics.setdefault(step, {}).update(brought)
    try:
        steps = np.fromstring(b" ".join([step for step, _ in found]), dtype=np.int64, sep=" ")
        if not np.array_equal(steps, np.arange(count, count + len(found))):
            return None
        return Rows(count, np.array([float(loss) for _, loss in found]), metrics)
    except ValueError:  # signs and digits that are no number
        return None


def _metrics_in(row: Mapping[str, Any]) -> dict[str, float]:
    brought = {name: _number(value) for name, value in row.items() if name not in NO_METRIC}
    return {name: value for name, value in brought.items() if value == value}


def _plain(rows: Sequence[Mapping[str, Any]], count: int) -> Floats | None:
    """The losses of rows that hold nothing else and follow on each other, as nearly always; else None."""
    shapes = set(map(tuple, rows))
    if not rows or not all({"step", "loss"} <= {*shape} <= PLAIN for shape in shapes):
        return None
    if [row["step"] for row in rows] != [*range(count, count + len(rows))]:
        return None
    try:
        return np.array([row["loss"] for row in rows], dtype=np.float64)
    except (TypeError, ValueError):  # a word for what is no number
        return None


def _number(value: object) -> float:
    try:
        return nan if isinstance(value, bool) or not isinstance(value, (int, float, str)) else float(value)
    except ValueError:
        return nan
