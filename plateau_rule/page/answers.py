"""What the page asks, answered as data for JSON; nothing here knows of a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log1p
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.edit.numbers import Path
from plateau_rule.controller.errors import PlateauError, visible
from plateau_rule.controller.language.reading import loads
from plateau_rule.page.as_data import (
    checked,
    decision_as_data,
    drawn_machine,
    key_of,
    level,
    metrics_of,
    plain,
    plan_as_data,
    stays,
    ways_as_data,
)
from plateau_rule.page.errors import PageError
from plateau_rule.page.means import means_around
from plateau_rule.page.run import Run
from plateau_rule.sim.whatif.log import PASSED, LossLog
from plateau_rule.sim.whatif.session import PlayedLog

if TYPE_CHECKING:
    from plateau_rule.sim.noise import Noise

SMOOTH_SHARE = 80  # the mean that is drawn is that of so small a part of the run, whatever part of it is shown
MOST_DECISIONS = 2000
MOST_NOISE = 0.5
NOISE_EVERY = 7  # of a run that grows, the noise is estimated anew after each seventh more
BATCH = 1 << 14  # losses at a time
Settings = Sequence[tuple[str, float]]


class Answers:
    """The answers about one run.

    Args:
        run: what is known of it.
        others: runs whose losses are drawn beside it.
    """

    def __init__(self, run: Run, others: Sequence[Run] = ()) -> None:
        self.run, self.others = run, others
        self._check: dict[str, Any] | None = None
        self._noise: tuple[tuple[int, int], Noise] | None = None
        self._estimates = Lock()

    def meta(self) -> dict[str, Any]:
        """Where the run is, what it did, and what may be turned."""
        with self.run.lock:
            run, session = self.run, self.run.session
            machine, plan, decisions = session.machine, session.plan, session.decisions
            return {
                "name": machine.curriculum.name,
                "origin": visible(run.opened.origin),
                "file": run.opened.file,
                "text": session.text,
                "notes": [*run.opened.notes, *machine.notes],
                "gen": run.gen,
                "cut": run.cut,
                "live": run.goes_on,
                "follows": run.follows,
                "quiet": run.quiet,
                "opening": False,
                "reading": run.reading,
                "ended": session.ended,
                "points": len(session) if session.log.points is None else len(session.log.points),
                "steps": plan.step,
                "first": run.opened.first,
                "total": machine.total_steps,
                "per": machine.steps_per_epoch,
                "plan": plan_as_data(plan),
                **drawn_machine(machine),
                "stays": stays(machine, decisions),
                "decisions": [decision_as_data(one) for one in decisions[:MOST_DECISIONS]],
                "knobs": [self._knob(name, treads) for name, treads in session.knobs().items()],
                "rate": [[step, rate] for step, rate in session.rates()],
                "edit": None if run.opened.edit is None else run.opened.edit.name,
                "simulated": run.noise,
                "metrics": metrics_of(session),
                "others": [visible(other.opened.origin) for other in self.others],
                "tunables": [{**one._asdict(), "path": key_of(one.path)} for one in session.tunables()],
            }

    def _knob(self, name: str, treads: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        """A knob's values over time, each with its height in the lane, from 0 to 1."""
        machine = self.run.session.machine
        values = [value for _, value in treads]
        levels = sorted({level(machine, name, value, values) for value in values})
        height = {one: place / max(1, len(levels) - 1) for place, one in enumerate(levels)}
        knob = machine.curriculum.knob[name]
        return {
            "name": name,
            "unit": knob.unit or "",
            "treads": [[step, plain(value), height[level(machine, name, value, values)]] for step, value in treads],
        }

    def curve(self, start: int, stop: int, width: int, other: int = 0) -> bytes:
        """The losses in columns: steps as float64, then lowest, highest and mean as float32; little-endian.

        Args:
            start: the first step.
            stop: the first step that is not shown any more.
            width: the most columns.
            other: 0 for the run itself, else the number of one that is drawn beside it.
        """
        if other > len(self.others):
            raise PageError(f"run: {other}; expected at most {len(self.others)}")
        run = self.others[other - 1] if other else self.run
        with run.lock:
            columns = run.session.curve(start, stop, max(1, width))
            mean = columns.mean
            if len(columns.first):
                middle = (columns.first + np.append(columns.first[1:], min(stop, len(run.session)))) // 2
                mean = np.where(np.isfinite(columns.mean), self._smoothed(run, middle), columns.mean)
        parts = (columns.first.astype("<f8"), *(one.astype("<f4") for one in (columns.low, columns.high, mean)))
        return b"".join(part.tobytes() for part in parts)

    def _smoothed(self, run: Run, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The running mean at some steps; it is as wide whatever part of the run is shown, so no zoom changes it."""
        log = run.session.log
        edges = np.array([0, *(one.step for one in run.session.decisions), len(log)])
        losses, total = log.losses, run.session.machine.total_steps or len(log)
        if log.points is not None:
            losses, total = losses[log.points], len(log.points)
            places = np.minimum(np.searchsorted(log.points, places), max(0, total - 1))
            edges = np.searchsorted(log.points, edges)
        return means_around(losses, places, edges, max(1, min(total // SMOOTH_SHARE, len(losses) // 40)))

    def track(self, start: int, stop: int, width: int) -> dict[str, Any] | None:
        """The value of the first detector over time."""
        with self.run.lock:
            return self.run.track.lane()

    def why(self, step: int) -> dict[str, Any]:
        """How near each transition was to being taken when a step was about to be taken."""
        with self.run.lock:
            session = self.run.session
            moment = session.why(min(step, len(session)))
            taken = moment.taken
            over = moment.step >= session.plan.step and not self.run.goes_on
            return {
                "step": moment.step,
                "state": taken.from_state if taken else moment.state,
                "entered": moment.entered,
                "loss": moment.loss,
                "next_look": moment.next_look,
                "certain": session.certain() if self.run.goes_on and moment.step >= session.plan.step else None,
                "decision": decision_as_data(taken) if taken else None,
                "ways": ways_as_data(taken.readings if taken else moment.ways),
                "history": [
                    {**decision_as_data(one), "ways": ways_as_data(one.readings)} for one in session.decisions[-12:]
                ]
                if over
                else None,
            }

    def whatif(self, settings: Settings) -> dict[str, Any]:
        """What the curriculum would have decided on the same losses with other numbers."""
        with self.run.lock:
            session = self.run.session
            edits = [(self._path(path), value) for path, value in settings]
            try:
                played = session.whatif(edits)
            except PlateauError as error:
                return {"error": str(error)}
            return self._tried(played) | {"text": played.text, "error": None}

    def _tried(self, played: PlayedLog) -> dict[str, Any]:
        """What was decided, beside what the file decided."""
        file = [(one.step, one.to_state) for one in self.run.session.decisions]
        tried = [(one.step, one.to_state) for one in played.decisions]
        same = next((at for at, (a, b) in enumerate(zip(file, tried, strict=False)) if a != b), None)
        if same is None and len(file) != len(tried):
            same = min(len(file), len(tried))
        parts = None if same is None else min(one[same][0] for one in (file, tried) if len(one) > same)
        known = {*file}
        return {
            "decisions": [
                {**decision_as_data(one), "moved": (one.step, one.to_state) not in known}
                for one in played.decisions[:MOST_DECISIONS]
            ],
            "stays": stays(played.machine, played.decisions),
            "parts": parts,
            "ended": played.ended,
        }

    def grid(self, path: str, values: Sequence[float], settings: Settings) -> dict[str, Any]:
        """A row for each value of one number: the states that the run would have been in."""
        rows = []
        for value in values:
            with self.run.lock:  # row by row, so that what is asked meanwhile need not wait for all of them
                session = self.run.session
                edits = [(self._path(one), other) for one, other in settings]
                for row in session.grid(self._path(path), [value], edits):
                    found = [] if row.played is None else stays(row.played.machine, row.played.decisions)
                    rows.append({"value": row.value, "stays": found, "error": row.error})
        return {"rows": rows}

    def tried_beside(self, path: str, value: float) -> dict[str, Any]:
        """What one other value would have done, with the line of the file that it changes instead of all of it."""
        answer = self.whatif([(path, value)])
        text = answer.pop("text", None)
        if text is not None:
            own = self.run.session.text.split("\n")
            answer["lines"] = [
                [place, now] for place, (now, old) in enumerate(zip(text.split("\n"), own, strict=False)) if now != old
            ]
        return answer | {"value": value}

    def noise(self, settings: Settings) -> dict[str, Any]:
        """What the noise of these losses does to the plateau guards: how often they raise too early, and how late."""
        from plateau_rule.sim.lint import lint

        try:
            with self.run.lock:
                session, gen, log = self.run.session, self.run.gen, self.run.session.log
                text = session.edited([(self._path(path), value) for path, value in settings])
            found = lint(loads(text, session.file), self._noise_of_log(gen, log))
        except PlateauError as error:
            return {"lines": [], "why": str(error)}
        lines = [
            {"guard": one.guard, "text": one.sentence, "remedy": one.remedy, "warns": one.warning} for one in found
        ]
        return {"lines": lines, "why": None}

    def _noise_of_log(self, gen: int, log: LossLog) -> Noise:
        """Estimated once for each log; other questions are answered meanwhile."""
        from plateau_rule.sim.noise import noise_of

        key = (gen, int(NOISE_EVERY * log1p(len(log))))
        with self._estimates:
            if self._noise is None or self._noise[0] != key:
                self._noise = key, noise_of(batches(log), self.run.session.machine.steps_per_epoch)
            return self._noise[1]

    def save(self, settings: Settings) -> dict[str, Any]:
        """Save what is tried into the curriculum's file."""
        with self.run.lock:
            self.run.save([(self._path(path), value) for path, value in settings])
            self._check = self._noise = None
        return {"saved": str(self.run.opened.edit)}

    def simulate(self, noise: float) -> dict[str, Any]:
        """Other simulated losses, for a curriculum that was opened without any."""
        if self.run.opened.simulated is None:
            raise PageError("simulate: these losses were logged")
        with self.run.lock:
            self.run.simulate(min(MOST_NOISE, max(0.0, noise)))
        return {"noise": self.run.noise}

    def _path(self, key: str) -> Path:
        for one in self.run.session.tunables():
            if key_of(one.path) == key:
                return one.path
        raise PageError(f"{key[:100]}: no number of this curriculum that can be turned")

    def check(self) -> dict[str, Any]:
        """What `plateau check` says of the curriculum; worked out once."""
        if self._check is None:
            from plateau_rule.controller.verifier.verify import verify

            self._check = {"lines": checked(verify(self.run.session.machine))}
        return self._check


def batches(log: LossLog) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The losses that were logged, with their steps, some at a time."""
    for start in range(0, len(log), BATCH):
        steps = np.arange(start, min(len(log), start + BATCH))
        if log.kinds is not None:
            steps = steps[log.kinds[steps] != PASSED]
        yield steps, log.losses[steps]
