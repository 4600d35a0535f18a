"""The end of a run's metrics.jsonl as it grows; and where it was cut back, when the run was resumed earlier."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from plateau_rule.sim.run_folder import METRICS

READ_BYTES = 1 << 24  # taken in at one look, so that a page of a long run fills while it is read
KNOWN_BYTES = 256  # before the place that was read up to; where they differ, the file is another one
NO_METRIC = {"step", "epoch", "loss", "lr", "state", "knobs", "skipped", "chunk_loss", "grad_norm"}


@dataclass
class Rows:
    """What was logged from one step on, step by step.

    Attributes:
        first: the step of the first row; rows before it stay, what came after it was cut off.
        losses: one for each step; NaN where the row's is not finite.
        metrics: what evaluations brought, by step.
        skipped: the steps whose optimizer step was dropped.
    """

    first: int
    losses: list[float] = field(default_factory=list)
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)

    @property
    def end(self) -> int:
        """The step after the last row."""
        return self.first + len(self.losses)


class Tail:
    """Reads what has been written since the last look.

    Args:
        folder: of the run; its log need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self._losses = np.empty(0)
        self._count = 0
        self._offset, self._inode, self._known = 0, -1, b""

    def read(self) -> Rows | None:
        """The rows that are new; from an earlier step than the last where the log was cut back. None if nothing is."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if self._is_another(file, status):
                    self._offset, self._known = 0, b""
                self._inode = status.st_ino
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except FileNotFoundError:
            return self._all_gone()
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and self._offset:
            return None
        anew, begun = not self._offset, self._count
        self._offset += len(whole)
        self._known = (self._known + whole)[-KNOWN_BYTES:]
        rows = _rows_of(whole, 0 if anew else begun)
        return self._take(rows, anew)

    @property
    def has_more(self) -> bool:
        """Whether the last look left something."""
        try:
            return self.path.stat().st_size > self._offset + KNOWN_BYTES * 16
        except OSError:
            return False

    def _is_another(self, file: Any, status: os.stat_result) -> bool:
        if not self._offset:
            return False
        if status.st_ino != self._inode or status.st_size < self._offset:
            return True
        file.seek(self._offset - len(self._known))
        return bool(file.read(len(self._known)) != self._known)

    def _all_gone(self) -> Rows | None:
        self._offset, self._inode, self._known = 0, -1, b""
        if not self._count:
            return None
        self._count = 0
        return Rows(0)

    def _take(self, rows: Rows, anew: bool) -> Rows | None:
        """Keep the losses; of a log that was read from its beginning again, give only what differs."""
        if anew and self._count:
            known, new = self._losses[: self._count], np.array(rows.losses, dtype=float)
            shared = min(len(known), len(new))
            same = (known[:shared] == new[:shared]) | (np.isnan(known[:shared]) & np.isnan(new[:shared]))
            first = shared if same.all() else int(np.argmin(same))
            rows = _from(rows, first)
        if not rows.losses and rows.first >= self._count and not rows.metrics:
            return None
        self._keep(rows)
        return rows

    def _keep(self, rows: Rows) -> None:
        if rows.end > len(self._losses):
            grown = np.empty(max(1024, 2 * rows.end))
            grown[: self._count] = self._losses[: self._count]
            self._losses = grown
        self._losses[rows.first : rows.end] = rows.losses
        self._count = rows.end


def _from(rows: Rows, first: int) -> Rows:
    metrics = {step: brought for step, brought in rows.metrics.items() if step >= first}
    return Rows(first, rows.losses[first - rows.first :], metrics, {step for step in rows.skipped if step >= first})


def _rows_of(data: bytes, count: int) -> Rows:
    """Whole lines as rows; a row whose step stands there already takes the place of it and of what came after it."""
    rows = Rows(count)
    for line in data.split(b"\n"):
        row = _row(line)
        step = None if row is None else row.get("step")
        if row is None or not isinstance(step, int) or isinstance(step, bool) or step < 0:
            continue
        if "loss" in row:
            if step < rows.end:
                rows = _cut(rows, step)
            elif step > rows.end:  # rows were lost between them; a run of ours writes every step
                rows.losses += [nan] * (step - rows.end)
            rows.losses.append(_number(row["loss"]))
            if row.get("skipped") is True:
                rows.skipped.add(step)
        brought = {name: _number(value) for name, value in row.items() if name not in NO_METRIC}
        brought = {name: value for name, value in brought.items() if value == value}
        if brought:
            rows.metrics.setdefault(step, {}).update(brought)
    return rows


def _cut(rows: Rows, step: int) -> Rows:
    if step < rows.first:
        return Rows(step)
    kept = {at: brought for at, brought in rows.metrics.items() if at < step}
    return Rows(rows.first, rows.losses[: step - rows.first], kept, {at for at in rows.skipped if at < step})


def _row(line: bytes) -> Mapping[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _number(value: object) -> float:
    try:
        return nan if isinstance(value, bool) or not isinstance(value, (int, float, str)) else float(value)
    except ValueError:
        return nan
