"""Rows in, points out: finds the roles of the columns, counts what is passed over, tells runs in one file apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.mixtures import separate
from plateau_rule.sim.logs.points import POINT, Points, Spool
from plateau_rule.sim.logs.rows import ABSENT, NOT_A_NUMBER, NUMBER, Floats, Reader, RowBlock, numbers
from plateau_rule.sim.logs.runs import EpochLengths, Runs, carried_on
from plateau_rule.sim.logs.series import LENGTH, Roles, Tally, Wanted, choose, is_eval
from plateau_rule.sim.logs.spans import FilePoints, Span

HEAD_ROWS = 1000  # rows looked at before the columns get their roles
LARGEST_STEP = 2.0**53
MOST_EVALS = 64
MOST_CHANGES = 10_000
_A = {"step": "a step", "epoch": "an epoch", "row": "a row"}


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
    epoch_steps: int | None = None  # steps in an epoch, where the log counts within epochs
    epoch_zero: int | None = None  # what it calls its first epoch
    has_epoch: bool = False
    has_lr: bool = False
    parts: list[FilePoints] = field(default_factory=list)  # one for each file


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
        self.tally = Tally()
        self.spans = [Span()]
        self.counted = "step"
        self.lengths = EpochLengths()
        self.points = Spool()
        self.evals: dict[str, Spool] = {}
        self._roles: Roles | None = None
        self._runs: Runs | None = None
        self._size = np.inf  # of the last loss that was not 0
        self._state: object = None
        self._passes = 0  # over the steps of an epoch, where the log tells no epochs
        self._clock, self._epoch = np.nan, np.nan  # of the last row that had one

    def read(self) -> Roles:
        """Read the file to its end.

        Raises:
            LogError: it holds no training loss, or several that could be meant, or several runs.
        """
        blocks = self._with_roles(separate(self.reader.blocks()))
        for block in blocks:
            self._count_dropped(block)
            if block.count:
                self._take(block, self.roles)
        self._check_runs()
        self._hand_over()
        self.into.warnings += self.reader.warnings
        return self.roles

    @property
    def roles(self) -> Roles:
        """Which column is what, once the first rows have been seen."""
        if self._roles is None:  # pragma: no cover - read() sets it or raises
            raise RuntimeError("the columns have no roles yet")
        return self._roles

    @property
    def runs(self) -> Runs:
        """The clock of the file, once it is known what that counts."""
        if self._runs is None:
            self._runs = Runs(self.file, self.counted)
        return self._runs

    # What is what

    def _with_roles(self, blocks: Iterator[RowBlock]) -> Iterator[RowBlock]:
        """Look at the first rows, or more if there is no loss in them; then hand all of them out."""
        seen: list[RowBlock] = []
        rows = 0
        self.tally.know(known := self.reader.names())
        for block in blocks if not known else ():
            seen.append(block)
            rows += block.count
            self.tally.add({name: numbers(block.column(name))[1] == NUMBER for name in block.columns})
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
        self.tally.beside = self.reader.names_beside()
        self._roles = choose(self.file, self.tally, self.wanted, self.reader.exported, final, self.reader.lines)
        return self._roles is not None

    def _decide_steps(self, seen: Iterable[RowBlock]) -> None:
        """Without a column of steps: about one row an epoch counts epochs, anything else counts rows."""
        if self.roles.step is None:
            self.counted = "row"
            if self.roles.epoch is not None:
                epochs = [
                    numbers(block.column(self.roles.epoch))[0][numbers(block.column(self.roles.loss))[1] == NUMBER]
                    for block in seen
                    if block.count
                ]
                epoch = np.concatenate(epochs)
                epoch = epoch[np.isfinite(epoch)]
                # An epoch stands there twice where a run was resumed; every second one, where rows are no epochs.
                if len(epoch) and 3 * np.sum(np.diff(epoch) == 0) < len(epoch) and np.all(np.floor(epoch) == epoch):
                    self.counted = "epoch"
        self.into.counted = self.counted

    # Block by block

    def _take(self, block: RowBlock, roles: Roles) -> None:
        loss, kind = numbers(block.column(roles.loss))
        epoch = numbers(block.column(roles.epoch))[0] if roles.epoch else np.full(block.count, np.nan)
        lr = numbers(block.column(roles.lr))[0] if roles.lr else np.full(block.count, np.nan)
        step, usable = self._steps(block, kind == NUMBER)
        is_point = (kind == NUMBER) & usable
        self._drop("row without a loss", kind == ABSENT, block)
        self._drop("loss is not a number", kind == NOT_A_NUMBER, block)
        self._drop(f"loss without {_A[self.counted]} (a whole number from 0 on)", (kind == NUMBER) & ~usable, block)
        if self.zeros_are_nan:
            self._zeros_to_nan(block, loss, is_point)
        # An evaluation without a clock of its own stands where the last row with one stood.
        clock = carried_on(np.where(usable, step, np.nan), self._clock)
        placed = np.isfinite(clock)
        points = np.zeros(block.count, dtype=POINT)
        points["step"] = np.where(placed, clock, 0)
        points["loss"], points["epoch"], points["lr"] = loss, carried_on(epoch, self._epoch), lr
        self._clock, self._epoch = clock[-1], points["epoch"][-1]
        evals = self._evals(block, placed)
        rows = np.flatnonzero(is_point)
        lengths = numbers(block.column(LENGTH))[0] if LENGTH in block.columns else np.full(block.count, np.nan)
        cuts = rows[self.runs.cut(points["step"][rows].astype(np.float64), points["epoch"][rows])]
        if len(cuts) and self._passes_are_epochs(roles):
            passes = np.searchsorted(cuts, np.arange(block.count), side="right")
            points["epoch"] = self._passes + passes
            self._passes += len(cuts)
            self.runs.steps_back -= len(cuts)
            cuts = cuts[:0]
            self.runs.within = True
        elif self._passes:
            points["epoch"] = self._passes
        edges = [0, *cuts.tolist(), block.count]
        for start, stop in pairwise(edges):
            if start > 0:
                self.spans.append(Span())
            part = slice(start, stop)
            kept = points[part][is_point[part]]
            self.spans[-1].extend(kept)
            if self._is_wanted(len(self.spans) - 1):
                self.points.add(kept)
                epochs = np.nan_to_num(kept["epoch"]) if self._passes_are_epochs(roles) else kept["epoch"]
                self.lengths.take(kept["step"].astype(np.float64), epochs, lengths[part][is_point[part]])
                for name, values, has in evals:
                    if has[part].any():
                        values["step"], values["epoch"] = points["step"], points["epoch"]
                        self.evals.setdefault(name, Spool()).add(values[part][has[part]])
                self._note_changes(block, points, np.flatnonzero(is_point[part]) + start)

    def _passes_are_epochs(self, roles: Roles) -> bool:
        """Whether steps that begin anew are those of the next epoch: the log has none, and the person says how long."""
        return roles.epoch is None and self.counted == "step" and self.wanted.steps_per_epoch is not None

    def _steps(self, block: RowBlock, has_loss: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
        """The step of each row, and whether it is one."""
        if self.counted == "row":
            # A row between two losses, an evaluation for instance, stands at the one before it.
            step = (-1.0 if np.isnan(self._clock) else self._clock) + np.cumsum(has_loss)
            return np.maximum(step, 0.0), np.ones(block.count, dtype=bool)
        name = self.roles.step if self.counted == "step" else self.roles.epoch
        step, kind = numbers(block.column(name or ""))
        usable = (kind == NUMBER) & (step >= 0) & (step < LARGEST_STEP) & (np.floor(step) == step)
        return step, usable

    def _is_wanted(self, run: int) -> bool:
        """Whether this run is the one to keep: the first of a file, until another is asked for."""
        if self.wanted.run is None or self.roles.run is not None:
            return run == 0
        return str(run + 1) == self.wanted.run

    def _evals(self, block: RowBlock, placed: NDArray[np.bool_]) -> list[tuple[str, Points, NDArray[np.bool_]]]:
        """The columns of evaluations in this block, each with the rows that have a number in it."""
        found = []
        for name in block.columns:
            known = name in self.evals or name in self.into.evals or len(self.evals) < MOST_EVALS
            if known and name != self.roles.loss and (is_eval(name) or name.rpartition("/")[2] in self.wanted.metrics):
                value, kind = numbers(block.column(name))
                has = placed & (kind == NUMBER)
                if has.any():
                    points = np.zeros(block.count, dtype=POINT)
                    points["loss"] = value
                    found.append((name, points, has))
        return found

    def _hand_over(self) -> None:
        """Give the points of this file to the log, with steps that count from the run's beginning."""
        into, change = self.into, None
        into.steps_back += self.runs.steps_back
        if self.runs.within:
            change = self._counted_on()
        start = into.points.count
        for points in self.points.parts():
            points = points if change is None else change(points)
            into.span.extend(points)
            into.has_epoch |= bool(np.isfinite(points["epoch"]).any())
            into.has_lr |= bool(np.isfinite(points["lr"]).any())
            into.points.add(points)
        into.parts.append(FilePoints(self.file, self.counted, start, into.points.count))
        for name, spool in self.evals.items():
            for points in spool.parts():
                into.evals.setdefault(name, Spool()).add(points if change is None else change(points))

    def _counted_on(self) -> Callable[[Points], Points]:
        """How steps that begin anew in each epoch become steps of the run."""
        length, stated = self.lengths.length()
        given = self.wanted.steps_per_epoch
        per_epoch = given or length
        # Where an epoch holds fewer steps than the log counts, it counts something else: samples, or micro-batches.
        scale = per_epoch / length if per_epoch < (length if stated else self.lengths.seen) else 1.0
        if self.into.epoch_zero is None:
            self.into.epoch_zero = self.lengths.zero()
        zero = self.into.epoch_zero
        self.into.epoch_steps = per_epoch
        if scale != 1.0:
            self.into.warnings.append(
                f"{self.file}: an epoch counts to {length:,} there; counted as {per_epoch:,} steps, as was asked"
            )
        elif self.reader.samples and given is None:
            self.into.warnings.append(
                f"{self.file}: lines of this form count samples as a rule, not steps; --steps-per-epoch, the steps in "
                "an epoch, makes steps of them"
            )
        elif not stated and given is None:
            self.into.warnings.append(
                f"{self.file}: the steps begin anew in each epoch; they were counted on. The log does not say how long "
                f"an epoch is: {length:,} steps were assumed (--steps-per-epoch replaces it)"
            )

        def change(points: Points) -> Points:
            points = points.copy()
            epochs = np.maximum(np.nan_to_num(np.floor(points["epoch"])) - zero, 0).astype(np.int64)
            steps = np.floor(points["step"] * scale).astype(np.int64) if scale != 1.0 else points["step"]
            points["step"] = epochs * per_epoch + steps
            return points

        return change

    def _note_changes(self, block: RowBlock, points: Points, rows: NDArray[np.intp]) -> None:
        """In a log of ours: the rows where the state changes, with the knobs there."""
        knobs = [name for name in self.tally.counts if name.startswith("knobs.") or name == "cutoff"]
        if "state" not in self.tally.counts or not knobs:
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

    def _zeros_to_nan(self, block: RowBlock, loss: Floats, is_point: NDArray[np.bool_]) -> None:
        """Hugging Face's Trainer logs 0.0 for an interval in which every loss was NaN or infinite.

        An interval with a finite gradient that is not 0 had a finite loss, and a loss that was all but 0 before may
        round to 0: such zeros stay.
        """
        grad = numbers(block.column("grad_norm"))[0] if "grad_norm" in self.tally.counts else np.full(len(loss), np.nan)
        for row in np.flatnonzero(is_point).tolist() if (loss[is_point] == 0).any() else ():
            if loss[row] != 0:
                self._size = abs(loss[row])
            elif not (np.isfinite(grad[row]) and grad[row] > 0) and self._size > 0.01:
                loss[row] = np.nan
                self.into.zeros += 1
        if is_point.any() and np.isfinite(last := loss[is_point][-1]) and last != 0:
            self._size = abs(float(last))

    # What is passed over

    def _drop(self, reason: str, which: NDArray[np.bool_], block: RowBlock) -> None:
        if count := int(which.sum()):
            self.into.dropped[reason] += count
            if block.line:
                self.into.places.setdefault(reason, f"{self.file}:{block.line + int(np.argmax(which))}")

    def _count_dropped(self, block: RowBlock) -> None:
        for reason, count in block.dropped.items():
            self.into.dropped[reason] += count
            if block.line:
                self.into.places.setdefault(reason, f"{self.file}:{block.line}")

    def _check_runs(self) -> None:
        """Refuse to mix runs that one file holds one after the other."""
        run = None if self.roles.run is not None else self.wanted.run
        if run is not None and run not in map(str, range(1, len(self.spans) + 1)):
            raise LogError(
                self.file,
                f"no run {run!r}; there is:",
                remedy="Choose one with --run and its number",
                choices=self._listed(),
            )
        if run is None and len(self.spans) > 1:
            anew = "steps" if self.counted == "step" and not self.runs.within else "epochs"
            raise LogError(
                self.file,
                f"{len(self.spans)} runs one after the other (the {anew} begin anew):",
                remedy="Choose one with --run and its number" + self._or_epochs(),
                choices=self._listed(),
            )

    def _or_epochs(self) -> str:
        """What to do if the passes over the same steps are no runs."""
        if self.roles.epoch is not None or not self.lengths.stated:
            return ""
        length, _ = self.lengths.length()
        return f"; or, if these are epochs of one run, --steps-per-epoch {length}"

    def _listed(self) -> list[str]:
        """A line for each run, to choose from."""
        in_epochs = self.counted == "row" or self.runs.within
        return [f"run {number}: {span.told(in_epochs)}" for number, span in enumerate(self.spans, 1)]
