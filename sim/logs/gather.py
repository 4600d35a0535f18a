"""Rows in, points out: finds the roles of the columns, counts what is passed over, tells runs in one file apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.points import POINT, Points, Spool
from plateau_rule.sim.logs.rows import ABSENT, MOST_COLUMNS, NOT_A_NUMBER, NUMBER, Block, Floats, Reader, numbers
from plateau_rule.sim.logs.series import Roles, Wanted, choose, is_eval

HEAD_ROWS = 1000  # rows looked at before the columns get their roles
LARGEST_STEP = 2.0**53
MOST_RUNS = 10_000
MOST_EVALS = 64
MOST_CHANGES = 10_000


@dataclass(slots=True)
class Span:
    """The ends of a stretch of points, in the order in which they stand in the log.

    points: how many there are; the first and last of them, None if there are none.
    """

    points: int = 0
    first_step: int | None = None
    first_loss: float | None = None
    last_step: int | None = None
    last_loss: float | None = None

    def extend(self, points: Points) -> None:
        """Take in what follows."""
        if not len(points):
            return
        if not self.points:
            self.first_step, self.first_loss = int(points["step"][0]), float(points["loss"][0])
        self.points += len(points)
        self.last_step, self.last_loss = int(points["step"][-1]), float(points["loss"][-1])

    def __str__(self) -> str:
        steps = f"steps {self.first_step} to {self.last_step}"
        return f"{self.points:,} points, {steps}, loss {self.first_loss} to {self.last_loss}"


@dataclass(frozen=True, slots=True)
class Change:
    """Where a run of ours entered a state: the first step that was trained in it."""

    step: int
    state: str
    knobs: dict[str, object]


@dataclass
class Gathered:
    """All that came out of the files of one log, before it is sorted."""

    points: Spool = field(default_factory=Spool)
    evals: dict[str, Spool] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)  # steps that an AMP scaler dropped, in a log of ours
    span: Span = field(default_factory=Span)
    dropped: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)  # where the first of each reason was seen
    warnings: list[str] = field(default_factory=list)
    steps_back: int = 0
    zeros: int = 0  # exact zeros that were read as NaN
    counted: str = "step"  # what steps are: "step", "epoch", or "row" where the log has no steps
    has_epoch: bool = False
    has_lr: bool = False


@dataclass(slots=True)
class _Segment:
    """Rows of one block, from `start` up to `stop`, that belong to one run."""

    start: int
    stop: int
    offset: int  # to add to their steps
    run: int


class Gather:
    """Takes the blocks of one file and adds what they hold to a log.

    Args:
        into: what all files of the log add to.
        file: the file's name.
        reader: the file's format.
        wanted: what the user asked for.
        keep_zeros: whether an exact zero in a Hugging Face log stays a zero.
    """

    def __init__(self, into: Gathered, file: str, reader: Reader, wanted: Wanted, keep_zeros: bool) -> None:
        self.into, self.file, self.reader, self.wanted = into, file, reader, wanted
        self.zeros_are_nan = reader.averages and not keep_zeros
        self.counts: Counter[str] = Counter()
        self.runs = [Span()]
        self.counted = "step"
        self.restarts = 0  # of the step within epochs
        self._roles: Roles | None = None
        self._size = np.inf  # of the last loss that was not 0
        self._state: object = None
        # The run that is being read: its first step, the distance of its first two, its points, its highest step, and
        # how often its steps went back.
        self._first, self._spacing, self._points, self._top, self._backs = 0.0, 0.0, 0, -1.0, 0
        self._step, self._epoch, self._offset = -1.0, np.nan, 0

    def read(self) -> Roles:
        """Read the file to its end.

        Raises:
            LogError: it holds no training loss, or several that could be meant, or several runs.
        """
        blocks = self._with_roles(self.reader.blocks())
        for block in blocks:
            self._count_dropped(block)
            if block.count:
                self._take(block, self.roles)
        self._check_runs()
        self.into.warnings += self.reader.warnings
        return self.roles

    @property
    def roles(self) -> Roles:
        """Which column is what, once the first rows have been seen."""
        if self._roles is None:  # pragma: no cover - read() sets it or raises
            raise RuntimeError("the columns have no roles yet")
        return self._roles

    # What is what

    def _with_roles(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Look at the first rows, or more if there is no loss in them; then hand all of them out."""
        seen: list[Block] = []
        rows = 0
        self.counts.update(known := self.reader.names())
        for block in blocks if not known else ():
            seen.append(block)
            rows += block.count
            for name in block.columns:
                if name in self.counts or len(self.counts) < MOST_COLUMNS:
                    self.counts[name] += int((numbers(block.column(name))[1] == NUMBER).sum())
            if rows >= HEAD_ROWS and self._choose(final=False):
                break
            while len(seen) > 1 and rows > 8 * HEAD_ROWS:  # so that memory stays flat
                early = seen.pop(0)
                rows -= early.count
                early.dropped["before the first loss"] += early.count
                self._count_dropped(early)
        if self._roles is None:
            self._choose(final=True)
        self._decide_steps(seen)
        yield from seen
        yield from blocks

    def _choose(self, final: bool) -> bool:
        self._roles = choose(self.file, self.counts, self.wanted, self.reader.exported, final)
        return self._roles is not None

    def _decide_steps(self, seen: Iterable[Block]) -> None:
        """Without a column of steps: one row an epoch counts epochs, anything else counts rows."""
        if self.roles.step is None:
            self.counted = "row"
            if self.roles.epoch is not None:
                epochs = [
                    numbers(block.column(self.roles.epoch))[0][numbers(block.column(self.roles.loss))[1] == NUMBER]
                    for block in seen
                    if block.count
                ]
                epoch = np.concatenate(epochs)
                if np.all(np.diff(epoch) > 0) and np.all(np.floor(epoch) == epoch):
                    self.counted = "epoch"
        self.into.counted = self.counted

    # Block by block

    def _take(self, block: Block, roles: Roles) -> None:
        loss, kind = numbers(block.column(roles.loss))
        epoch = numbers(block.column(roles.epoch))[0] if roles.epoch else np.full(block.count, np.nan)
        lr = numbers(block.column(roles.lr))[0] if roles.lr else np.full(block.count, np.nan)
        step, usable = self._steps(block, kind == NUMBER)
        is_point = (kind == NUMBER) & usable
        self._drop("row without a loss", kind == ABSENT, block)
        self._drop("loss is not a number", kind == NOT_A_NUMBER, block)
        self._drop(f"loss without a {self.counted} (a whole number from 0 on)", (kind == NUMBER) & ~usable, block)
        if self.zeros_are_nan:
            self._zeros_to_nan(block, loss, is_point)
        points = np.zeros(block.count, dtype=POINT)
        points["step"] = np.where(usable, step, 0)
        points["loss"], points["epoch"], points["lr"] = loss, epoch, lr
        segments = self._segments(points, np.flatnonzero(is_point), block.count)
        evals = self._evals(block, points["step"], usable)
        for segment in segments:
            points["step"][segment.start : segment.stop] += segment.offset
            rows = slice(segment.start, segment.stop)
            self._keep(points[rows][is_point[rows]], segment.run)
            if self._is_wanted(segment.run):
                self._keep_evals(evals, points["step"], rows)
                self._note_changes(block, points, np.flatnonzero(is_point[rows]) + segment.start)

    def _steps(self, block: Block, has_loss: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
        """The step of each row, and whether it is one."""
        if self.counted == "row":
            # A row between two losses, an evaluation for instance, stands at the one before it.
            step = self._step + np.cumsum(has_loss)
            return np.maximum(step, 0.0), np.ones(block.count, dtype=bool)
        name = self.roles.step if self.counted == "step" else self.roles.epoch
        step, kind = numbers(block.column(name or ""))
        usable = (kind == NUMBER) & (step >= 0) & (step < LARGEST_STEP) & (np.floor(step) == step)
        return step, usable

    def _segments(self, points: Points, rows: NDArray[np.intp], count: int) -> list[_Segment]:
        """Cut the rows where a new run begins, or where steps that count within epochs begin anew."""
        if not len(rows):
            return [_Segment(0, count, self._offset, len(self.runs) - 1)]
        steps, epochs = points["step"][rows].astype(np.float64), points["epoch"][rows]
        back = np.flatnonzero(np.diff(steps, prepend=self._step) < 0)
        self.into.steps_back += len(back)
        if self._points >= 1000 and not self._in_order():
            self._backs += len(back)
            self._follow(steps, epochs)
            return [_Segment(0, count, self._offset, len(self.runs) - 1)]
        segments, begin = [], 0
        edges = [*back.tolist(), len(rows)]
        if edges[0] > 0:
            self._follow(steps[: edges[0]], epochs[: edges[0]])
        for at, until in pairwise(edges):
            if self._begins_anew(steps[at], epochs[at]):
                segments.append(_Segment(begin, int(rows[at]), self._offset, len(self.runs) - 1))
                begin = int(rows[at])
                self._begin(epochs[at])
            else:
                self._backs += 1
            self._follow(steps[at:until], epochs[at:until])
        segments.append(_Segment(begin, count, self._offset, len(self.runs) - 1))
        return segments

    def _follow(self, steps: Floats, epochs: Floats) -> None:
        """Remember where the present run stands."""
        if not self._points:
            self._first = float(steps[0])
        if not self._spacing:
            self._spacing = max(
                0.0, float(np.max(steps)) - self._first if len(steps) < 2 else float(steps[1] - steps[0])
            )
        self._points += len(steps)
        self._top = max(self._top, float(np.max(steps)))
        self._step, self._epoch = float(steps[-1]), float(epochs[-1])

    def _begins_anew(self, step: float, epoch: float) -> bool:
        """Whether a step that is lower than the one before is the first of something new.

        A resumed run goes back to somewhere in its middle, and writers that share a file drift a few points apart,
        again and again: both only repeat steps. A new run goes back to where the last one began.
        """
        if step > self._first + self._spacing:
            return False
        if epoch > self._epoch:
            return self._points >= 2
        return self._in_order() and self._points >= 10 and self._top - step >= 8 * self._spacing

    def _in_order(self) -> bool:
        """Whether the steps of the present run go back so rarely that going back means something."""
        return 10 * self._backs <= self._points

    def _begin(self, epoch: float) -> None:
        """Begin a run; or, if the epoch has risen, count the steps of this one on."""
        if epoch > self._epoch:
            self._offset += int(self._top - self._first + max(1.0, self._spacing))
            self.restarts += 1
            self.into.steps_back -= 1
        else:
            self._offset = 0
            self.runs.append(Span())
            if len(self.runs) > MOST_RUNS:
                raise LogError(self.file, f"more than {MOST_RUNS:,} runs one after the other", remedy="Split the file")
        self._first, self._spacing, self._points, self._top, self._backs = 0.0, 0.0, 0, -1.0, 0

    def _is_wanted(self, run: int) -> bool:
        """Whether this run is the one to keep: the first of a file, until another is asked for."""
        if self.wanted.run is None or self.roles.run is not None:
            return run == 0
        return str(run + 1) == self.wanted.run

    def _keep(self, points: Points, run: int) -> None:
        self.runs[run].extend(points)
        if len(points) and self._is_wanted(run):
            self.into.points.add(points)
            self.into.span.extend(points)
            self.into.has_epoch |= bool(np.isfinite(points["epoch"]).any())
            self.into.has_lr |= bool(np.isfinite(points["lr"]).any())

    def _evals(
        self, block: Block, steps: NDArray[np.int64], usable: NDArray[np.bool_]
    ) -> list[tuple[str, Points, NDArray[np.bool_]]]:
        """The columns of evaluations in this block, each with the rows that have a number in it."""
        found = []
        for name in block.columns:
            known = name in self.into.evals or len(self.into.evals) < MOST_EVALS
            if known and name != self.roles.loss and is_eval(name):
                value, kind = numbers(block.column(name))
                has = usable & (kind == NUMBER)
                if has.any():
                    points = np.zeros(block.count, dtype=POINT)
                    points["loss"] = value
                    found.append((name, points, has))
        return found

    def _keep_evals(
        self, evals: list[tuple[str, Points, NDArray[np.bool_]]], steps: NDArray[np.int64], rows: slice
    ) -> None:
        for name, points, has in evals:
            if has[rows].any():
                points["step"] = steps
                self.into.evals.setdefault(name, Spool()).add(points[rows][has[rows]])

    def _note_changes(self, block: Block, points: Points, rows: NDArray[np.intp]) -> None:
        """In a log of ours: the rows where the state changes, with the knobs there."""
        knobs = [name for name in self.counts if name.startswith("knobs.") or name == "cutoff"]
        if "state" not in self.counts or not knobs:
            return
        skips = block.column("skipped")
        self.into.skipped += [int(points["step"][row]) for row in rows.tolist() if skips[row] is True]
        states = block.column("state")
        if states[0] == self._state and states.count(self._state) == len(states):
            return
        for row in rows.tolist():
            if states[row] != self._state and len(self.into.changes) < MOST_CHANGES:
                self._state = states[row]
                values = {name.removeprefix("knobs."): block.column(name)[row] for name in knobs}
                self.into.changes.append(Change(int(points["step"][row]), str(self._state), values))

    def _zeros_to_nan(self, block: Block, loss: Floats, is_point: NDArray[np.bool_]) -> None:
        """Hugging Face's Trainer logs 0.0 for an interval in which every loss was NaN or infinite.

        An interval with a finite gradient that is not 0 had a finite loss, and a loss that was all but 0 before may
        round to 0: such zeros stay.
        """
        grad = numbers(block.column("grad_norm"))[0] if "grad_norm" in self.counts else np.full(len(loss), np.nan)
        for row in np.flatnonzero(is_point).tolist() if (loss[is_point] == 0).any() else ():
            if loss[row] != 0:
                self._size = abs(loss[row])
            elif not (np.isfinite(grad[row]) and grad[row] > 0) and self._size > 0.01:
                loss[row] = np.nan
                self.into.zeros += 1
        if is_point.any() and np.isfinite(last := loss[is_point][-1]) and last != 0:
            self._size = abs(float(last))

    # What is passed over

    def _drop(self, reason: str, which: NDArray[np.bool_], block: Block) -> None:
        if count := int(which.sum()):
            self.into.dropped[reason] += count
            if block.line:
                self.into.places.setdefault(reason, f"{self.file}:{block.line + int(np.argmax(which))}")

    def _count_dropped(self, block: Block) -> None:
        for reason, count in block.dropped.items():
            self.into.dropped[reason] += count
            if block.line:
                self.into.places.setdefault(reason, f"{self.file}:{block.line}")

    def _check_runs(self) -> None:
        """Refuse to mix runs that one file holds one after the other."""
        run = None if self.roles.run is not None else self.wanted.run
        if run is not None and run not in map(str, range(1, len(self.runs) + 1)):
            raise LogError(
                self.file,
                f"no run {run!r}; there is:",
                remedy="Choose one with --run and its number",
                choices=[f"run {number}: {span}" for number, span in enumerate(self.runs, 1)],
            )
        if run is None and len(self.runs) > 1:
            raise LogError(
                self.file,
                f"{len(self.runs)} runs one after the other (the steps begin anew):",
                remedy="Choose one with --run and its number",
                choices=[f"run {number}: {span}" for number, span in enumerate(self.runs, 1)],
            )
        if self.restarts:
            self.into.warnings.append(f"{self.file}: the steps begin anew in each epoch; they were counted on")
