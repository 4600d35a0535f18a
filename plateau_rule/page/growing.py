"""A log of any trainer that grows: whenever it has, it is read again, as often as reading leaves time for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, time

import numpy as np

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.page.opening import Opened, open_log
from plateau_rule.page.tail import Rows
from plateau_rule.sim.logs import Log, LogError
from plateau_rule.sim.whatif.log import LOGGED, PASSED, LossLog

FRESH_S = 60.0  # since it was written last: a run that may go on
SHARE = 20  # reading takes one part of the time in so many, at most
HEAD_BYTES = 4096
FEW_LINES = 2  # of a log that has hardly begun
ENDS = b"\n}]"  # of a text that is whole: a line's, or that of a JSON document
Sign = tuple[int, int, int]


class GrowingLog:
    """Reads a log again when it was written to.

    Args:
        path: a file, or a folder of files.
        read: opens it.
        clock: seconds, from whenever.
        wall: seconds, as files have them.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[], Opened],
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        self.path, self._read, self._clock, self._wall = path, read, clock, wall
        self._sign = self._signed()
        self._next, self._torn, self._count = clock(), False, 0
        self.grew = False

    @property
    def fresh(self) -> bool:
        """Whether it was written to a moment ago."""
        return self._wall() - self._signed()[2] / 1e9 < FRESH_S

    @property
    def has_hardly_begun(self) -> bool:
        """Whether so little stands in it yet that it may be unreadable for that alone."""
        if not self.path.is_file() or self.path.stat().st_size >= HEAD_BYTES:
            return False
        return self.path.read_bytes().count(b"\n") <= FEW_LINES

    def changed(self) -> Opened | None:
        """The log as it is now; None where nothing is new, or it is too early to look again."""
        began, count = self._clock(), self._count
        if began < self._next:
            return None
        sign = self._signed()
        late = self._torn and not self.fresh  # nobody will end that line any more
        try:
            if sign == self._sign and not late:
                return None
            self._sign, self.grew = sign, True
            opened = self.whole()
        except (PlateauError, OSError):  # as it is being written; what was read before stays
            return None
        finally:
            self._next = self._clock() + SHARE * (self._clock() - began)
        if self._torn and self._count < count:  # that line was no row yet, and a whole one went for it
            self._count = count
            return None
        return opened

    def whole(self, read: Callable[[], Opened] | None = None) -> Opened:
        """The log without a last line that is still being written.

        Args:
            read: opens it, in place of what opens it later.

        Raises:
            PlateauError: it cannot be read.
        """
        self._torn = self.fresh and self._ends_in_a_line()
        opened = (read or self._read)()
        if self._torn:
            opened = replace(opened, rows=_without_last(opened.rows))
        self._count = len(opened.rows.losses)
        return opened

    def _ends_in_a_line(self) -> bool:
        if not self.path.is_file():
            return False
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - HEAD_BYTES))
            end = file.read()
        return bool(end) and b"\0" not in end and end.rstrip(b" ")[-1:] not in ENDS

    def _signed(self) -> Sign:
        """By what it is seen that something was written."""
        try:
            files = [self.path] if self.path.is_file() else [one for one in self.path.rglob("*") if one.is_file()]
            found = [one.stat() for one in files]
        except OSError:
            return 0, 0, 0
        inode = found[0].st_ino if len(found) == 1 else len(found)
        return inode, sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)


def _without_last(rows: Rows) -> Rows:
    logged = np.arange(len(rows.losses)) if rows.passed is None else np.flatnonzero(rows.passed != PASSED)
    stop = int(logged[-1]) if len(logged) else 0
    passed = None if rows.passed is None else rows.passed[:stop]
    metrics = {step: brought for step, brought in rows.metrics.items() if step < stop}
    return Rows(rows.first, rows.losses[:stop], metrics, {one for one in rows.skipped if one < stop}, passed)


def news_of(rows: Rows, log: LossLog, known: Mapping[int, Mapping[str, float]]) -> Rows | None:
    """Of a log that was read again, what is not known yet: from the first step on that is another one.

    Args:
        rows: all that stands in it now.
        log: what is known of it.
        known: what evaluations brought, by step.
    """
    shared = min(len(rows.losses), len(log))
    old, new = log.losses[:shared], rows.losses[:shared]
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    kinds = rows.kinds
    if kinds is not None or log.kinds is not None:
        before = np.full(len(log), LOGGED, np.int8) if log.kinds is None else log.kinds
        after = np.full(len(rows.losses), LOGGED, np.int8) if kinds is None else kinds
        same &= before[:shared] == after[:shared]
    first = shared if same.all() else int(np.argmin(same))
    metrics = {step: said for step, said in rows.metrics.items() if step >= first or known.get(step) != said}
    if first == len(rows.losses) == len(log) and not metrics:
        return None
    passed = None if rows.passed is None else rows.passed[first:]
    return Rows(first, rows.losses[first:], metrics, {step for step in rows.skipped if step >= first}, passed)


def follow_log(
    named: str,
    curriculum: str,
    given: Binding,
    read: Callable[[], Log],
    again: Callable[[], Log],
    warn: Callable[[str], None],
) -> Opened:
    """A log of any trainer under a curriculum, followed where it grows.

    Args:
        named: the log, as the user named it.
        curriculum: a file, or the name of a shipped one.
        given: what the curriculum is bound to, where the log does not say it.
        read: reads the log.
        again: reads it once more, from a thread.
        warn: is told why a log that has hardly begun cannot be read yet.

    Raises:
        LogError: the log cannot be read.
        CurriculumError: the curriculum cannot.
        ReplayError: the log does not fit it.
    """

    def opens(reads: Callable[[], Log]) -> Opened:
        return open_log(reads(), named, curriculum, _while_it_grows(curriculum, given))

    loads(*contents(curriculum))  # a mistake in it is told before anybody waits for a log
    growing = GrowingLog(Path(named), partial(opens, again))
    try:
        opened = growing.whole(partial(opens, read)) if growing.fresh else open_log(read(), named, curriculum, given)
    except LogError as error:
        if not (growing.fresh and growing.has_hardly_begun):
            raise
        warn(f"{error}\nThe page waits for more.")
        content, file = contents(curriculum)
        text = content.decode("utf-8-sig", errors="replace")
        opened = Opened(named, text, Path(file).name, given, notes=("the log has hardly begun",))
    return replace(opened, growing=growing)


def _while_it_grows(curriculum: str, given: Binding) -> Binding:
    """The length of the run is the curriculum's, where it has one: a log tells only how far the run has come."""
    epochs = loads(*contents(curriculum)).run.epochs
    return replace(given, epochs=epochs) if given.epochs is None and epochs is not None else given
