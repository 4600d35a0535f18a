"""One run as the page holds it: what was read, kept up to date, and what its curriculum made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copymode
from threading import Lock
from time import monotonic, time
from typing import Any

import numpy as np

from plateau_rule.controller.language.writing import formatted
from plateau_rule.page.errors import PageError
from plateau_rule.page.growing import GrowingLog, news_of
from plateau_rule.page.opening import Opened
from plateau_rule.page.tail import Rows
from plateau_rule.page.track import GuardTrack
from plateau_rule.sim.curves import power
from plateau_rule.sim.whatif.log import LOGGED
from plateau_rule.sim.whatif.session import Edit, Session

BUSY_S = 0.2  # for one look; what is left then is for the next one
FIRST_S = 0.05  # for the first one, before there is a page at all
SEED, NOISE = 1, 0.03  # of simulated losses
QUIET_S = 60.0  # without a new loss, after which a run no longer counts as one that goes on


class Turns:
    """A lock that whoever waits for it gets before its last holder can take it again: long work lets others in."""

    def __init__(self) -> None:
        self._door, self._room = Lock(), Lock()

    def __enter__(self) -> None:
        with self._door:
            self._room.acquire()

    def __exit__(self, *raised: object) -> None:
        self._room.release()


class Run:
    """A run that grows, or is whole; questions and news may come from several threads, one after the other.

    Args:
        opened: what to show.
        whole: whether to read all of a followed log at once; where not, looks bring the rest.

    Attributes:
        session: answers what the curriculum did, and would have done.
        track: its guard over time.
        gen: changes whenever something that was shown is no longer so.
        noise: of simulated losses; None where they were logged.
        cut: the step that the run was cut back to last; None where it never was.
        reading: whether there is more in its log that was not read yet.
        lock: to be held while anything is asked or changed.
    """

    def __init__(self, opened: Opened, whole: bool = True) -> None:
        self.opened = opened
        self.lock = Turns()
        self.session = _session(opened)
        self.track = GuardTrack(self.session)
        self.gen, self.cut = 0, None
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._take(opened.rows)
        self.noise: float | None = None
        if opened.simulated is not None:
            self.simulate(NOISE)
        self.reading = False
        while self.poll(BUSY_S if whole else FIRST_S) is not None and whole:
            pass
        self.gen, self.cut = 0, None

    gen: int
    cut: int | None

    def save(self, edits: Sequence[Edit]) -> None:
        """Write the curriculum with other numbers into its file, laid out as `plateau fmt` does, and go on under it.

        Raises:
            PageError: nothing may be saved, or the file was changed by somebody else.
            CurriculumError: with these numbers it is no curriculum.
        """
        path, session = self.opened.edit, self.session
        if path is None:
            raise PageError("save: this page writes nothing; plateau page --edit FILE lets it")
        text = formatted(session.edited(edits), str(path))
        anew = _session(replace(self.opened, text=text))
        try:
            _replace(path, session.text, text)
        except OSError as error:
            raise PageError(f"{path}: was not saved: {error.strerror}") from None
        log = session.log
        anew.extend(log.losses, log.evaluations, log.kinds)
        self.session, self.track, self.gen = anew, GuardTrack(anew), self.gen + 1

    def simulate(self, noise: float) -> None:
        """Take simulated losses instead of those before.

        Args:
            noise: standard deviation of a loss, as a share of it.
        """
        steps = self.opened.simulated or 0
        drawn = 1 + noise * np.random.default_rng(SEED).standard_normal(steps)
        curve = power(np.arange(steps, dtype=np.float64), 4.0, 1.0, 0.7, max(1.0, steps / 50))
        self.noise, self.gen = noise, self.gen + 1
        self._cut(0)
        self.session.extend(curve * drawn)

    @property
    def follows(self) -> bool:
        """Whether it is looked for more losses."""
        return self.opened.tail is not None or self.opened.growing is not None

    @property
    def goes_on(self) -> bool:
        """Whether more losses may come."""
        growing, total = self.opened.growing, self.session.machine.total_steps
        full = total is not None and len(self.session) >= total
        old = growing is not None and not (growing.grew or growing.fresh)
        return self.follows and self.session.ended is None and not full and not old

    @property
    def quiet(self) -> bool:
        """Whether nothing has come for a while."""
        if self.opened.growing is not None:
            return not self.opened.growing.fresh
        tail = self.opened.tail
        try:
            return tail is not None and time() - tail.path.stat().st_mtime > QUIET_S
        except OSError:
            return True

    def poll(self, busy_s: float = BUSY_S) -> dict[str, Any] | None:
        """Take in what was logged since the last look.

        Args:
            busy_s: seconds after which the rest of a long log is left to the next look.

        Returns:
            What to tell the pages; None where nothing is new.
        """
        if self.opened.growing is not None:
            return self._read_again(self.opened.growing)
        if self.opened.tail is None:
            return None
        with self.lock:
            until, gen, some = monotonic() + busy_s, self.gen, self.reading
            self.reading = False
            while (rows := self.opened.tail.read(self.session.log.losses)) is not None:
                some = True
                if not len(self.session):
                    self.session.reserve(int(1.05 * len(rows.losses) / self.opened.tail.share))
                self._take(rows)
                if monotonic() > until:
                    self.reading = True
                    break
            if not some:
                return None
            event: dict[str, Any] = {"n": len(self.session), "gen": self.gen, "more": self.reading}
            return event | ({"cut": self.cut} if self.gen > gen else {})

    def _read_again(self, growing: GrowingLog) -> dict[str, Any] | None:
        anew = growing.changed()
        if anew is None:
            return None
        with self.lock:
            gen, rows = self.gen, anew.rows
            bound_otherwise = not self._binds_as(anew)
            self.opened = replace(anew, growing=growing, edit=self.opened.edit, rows=Rows(0))
            if bound_otherwise:
                self.session = _session(self.opened)
                self.track, self._metrics, self.gen = GuardTrack(self.session), {}, self.gen + 1
            new = news_of(rows, self.session.log, self._metrics)
            if new is not None:
                self._take(new)
            elif gen == self.gen:
                return None
            cut = {"cut": self.cut} if self.gen > gen and not bound_otherwise else {}
            return {"n": len(self.session), "gen": self.gen, "more": False, **cut}

    def _binds_as(self, anew: Opened) -> bool:
        """Whether a log that was read again says the same of the run."""
        old = self.opened
        same = (old.binding, old.first, _restated(old)) == (anew.binding, anew.first, _restated(anew))
        return same and anew.text == self.session.text

    def _take(self, rows: Rows) -> None:
        """Let the session observe rows; what an evaluation brings after its step was seen, is seen with it."""
        if rows.first < len(self.session):
            self.gen, self.cut = self.gen + 1, rows.first
            self._metrics = {step: brought for step, brought in self._metrics.items() if step < rows.first}
            self._cut(rows.first)
        self._metrics |= rows.metrics
        late = min((step for step in rows.metrics if step < rows.first), default=rows.first)
        losses, kinds = rows.losses, rows.kinds
        if late < rows.first:
            log = self.session.log
            losses = np.concatenate((log.losses[late : rows.first], losses))
            if kinds is not None or log.kinds is not None:
                own = np.full(len(rows.losses), LOGGED, np.int8) if kinds is None else kinds
                known = np.full(len(log), LOGGED, np.int8) if log.kinds is None else log.kinds
                kinds = np.concatenate((known[late : rows.first], own))
            self._cut(late)
        brought = {step: values for step, values in self._metrics.items() if step >= late}
        self.session.extend(losses, brought, kinds)

    def _cut(self, step: int) -> None:
        self.session.cut(step)
        self.track.cut(step)


def _replace(path: Path, old: str, new: str) -> None:
    """Write a file in one step, where it still says what it said; a link to it stays one, and so do its permissions."""
    if path.read_bytes().decode("utf-8-sig", errors="replace") != old:
        raise PageError(f"{path}: was changed since this page was opened, and stays as it is. Open the page again")
    there = path.resolve()
    beside = there.with_name(f".{there.name}.unfinished")
    try:
        beside.write_text(new, encoding="utf-8", newline="")
        copymode(there, beside)
        beside.replace(there)
    finally:
        beside.unlink(missing_ok=True)


def _session(opened: Opened) -> Session:
    return Session(opened.text, opened.binding, file=opened.file, restate=opened.restate, evaluates=True)


def _restated(opened: Opened) -> Any:
    """For what a curriculum is restated before it is bound; None where it is not."""
    restate = opened.restate
    return None if restate is None else (restate.keywords["setting"].binding, restate.keywords["spacing"])
