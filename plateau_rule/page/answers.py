"""What the page asks, answered as data for JSON; nothing here knows of a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.clamping import as_bound
from plateau_rule.controller.drawing import arrows, facts
from plateau_rule.controller.edit.numbers import Path
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.plan import Decision
from plateau_rule.controller.readings import Way
from plateau_rule.controller.verifier.findings import Report
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.page.opening import PageError
from plateau_rule.page.run import Run
from plateau_rule.sim.whatif.session import PlayedLog

SMOOTH_SHARE = 80  # the mean that is drawn is that of so small a part of the run, whatever part of it is shown
MOST_DECISIONS = 2000
Settings = Sequence[tuple[str, float]]


class Answers:
    """The answers about one run.

    Args:
        run: what is known of it.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._check: dict[str, Any] | None = None

    def meta(self) -> dict[str, Any]:
        """Where the run is, what it did, and what may be turned."""
        with self.run.lock:
            run, session = self.run, self.run.session
            machine, plan, decisions = session.machine, session.plan, session.decisions
            return {
                "name": machine.curriculum.name,
                "origin": run.opened.origin,
                "file": run.opened.file,
                "text": session.text,
                "notes": [*run.opened.notes, *machine.notes],
                "gen": run.gen,
                "cut": run.cut,
                "live": run.goes_on,
                "quiet": run.quiet,
                "ended": session.ended,
                "points": len(session) if session.log.points is None else len(session.log.points),
                "steps": plan.step,
                "first": run.opened.first,
                "total": machine.total_steps,
                "per": machine.steps_per_epoch,
                "plan": {
                    "step": plan.step,
                    "epoch": plan.epoch,
                    "state": plan.state,
                    "knobs": as_json(plan.knobs),
                    "lr": plan.lr,
                    "stop": plan.stop,
                },
                **drawn_machine(machine),
                "stays": stays(machine, decisions),
                "decisions": [decision_as_data(one) for one in decisions[:MOST_DECISIONS]],
                "knobs": [self._knob(name, treads) for name, treads in session.knobs().items()],
                "rate": [[step, rate] for step, rate in session.rates()],
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

    def curve(self, start: int, stop: int, width: int) -> bytes:
        """The losses in columns: steps as float64, then lowest, highest and mean as float32; little-endian."""
        with self.run.lock:
            columns = self.run.session.curve(start, stop, max(1, width))
            mean = columns.mean
            if len(columns.first):
                middle = (columns.first + np.append(columns.first[1:], min(stop, len(self.run.session)))) // 2
                mean = np.where(np.isfinite(columns.mean), self._smoothed(middle), columns.mean)
        parts = (columns.first.astype("<f8"), *(one.astype("<f4") for one in (columns.low, columns.high, mean)))
        return b"".join(part.tobytes() for part in parts)

    def _smoothed(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The running mean at some steps; it is as wide whatever part of the run is shown, so no zoom changes it."""
        log = self.run.session.log
        edges = np.array([0, *(one.step for one in self.run.session.decisions), len(log)])
        losses, total = log.losses, self.run.session.machine.total_steps or len(log)
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
                text, played = session.edited(edits), session.whatif(edits)
            except PlateauError as error:
                return {"error": str(error)}
            return self._tried(played) | {"text": text, "error": None}

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
        with self.run.lock:
            session = self.run.session
            edits = [(self._path(one), value) for one, value in settings]
            rows = [
                {
                    "value": row.value,
                    "stays": [] if row.played is None else stays(row.played.machine, row.played.decisions),
                    "error": row.error,
                }
                for row in session.grid(self._path(path), values, edits)
            ]
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

    def _path(self, key: str) -> Path:
        for one in self.run.session.tunables():
            if key_of(one.path) == key:
                return one.path
        raise PageError(f"{key[:100]}: no number of this curriculum that can be turned")

    def check(self) -> dict[str, Any]:
        """What `plateau check` says of the curriculum; worked out once."""
        if self._check is None:
            self._check = {"lines": lines_of(verify(self.run.session.machine))}
        return self._check


# As data


def key_of(path: Path) -> str:
    """A path in a file, as one word."""
    return json.dumps(list(path), separators=(",", ":"))


def plain(value: Any) -> Any:
    """A knob's value as JSON has it: a number, or text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else str(value)
    return value if isfinite(value) else str(value)


def as_json(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs as JSON has them."""
    return {name: plain(value) for name, value in knobs.items()}


def level(machine: Machine, name: str, value: Any, values: Sequence[Any]) -> float:
    """By what a knob's values are put in order: how hard they are; else their size; else when they came."""
    if machine.signs.get(name):
        return machine.hardness(name, value)
    if isinstance(value, (int, float)):
        return float(value)
    return float(values.index(value))


def decision_as_data(decision: Decision) -> dict[str, Any]:
    """A transition that was taken."""
    return {
        "step": decision.step,
        "epoch": decision.epoch,
        "from": decision.from_state,
        "to": decision.to_state,
        "transition": decision.transition,
        "raises": list(decision.raises),
        "knobs": as_json(decision.knobs),
        "lr": decision.lr,
        "lr_before": decision.lr_before,
    }


def ways_as_data(ways: Iterable[Way]) -> list[dict[str, Any]]:
    """Transitions as they stood."""
    return [way.as_dict() for way in ways]


def stays(machine: Machine, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """The states, one after the other, each with its first step and the first one after it."""
    edges = [(0, machine.states[0].name), *((one.step, one.to_state) for one in decisions)]
    ends = [*(step for step, _ in edges[1:]), None]
    return [{"state": state, "from": step, "to": end} for (step, state), end in zip(edges, ends, strict=True)]


def drawn_machine(machine: Machine) -> dict[str, Any]:
    """States with what holds in them, and the ways between them."""
    curriculum = as_bound(machine)
    shades = hardness_of(machine)
    ways = arrows(curriculum)
    left = {way.source for way in ways}
    return {
        "states": [
            {
                "name": state.name,
                "says": ", ".join(f"{name} {plain(value)}" for name, value in state.knobs.items()),
                "lines": facts(curriculum, curriculum.state[place]),
                "hardness": shades[place],
                "final": place not in left or state.final or state.stop is not None,
            }
            for place, state in enumerate(machine.states)
        ],
        "arrows": [
            {
                "from": way.source,
                "to": way.target,
                "title": way.title,
                "named": bool(way.name),
                "says": way.guards.removeprefix("when an epoch closes: "),
                "actions": way.actions,
                "regress": way.regress,
            }
            for way in ways
        ],
    }


def hardness_of(machine: Machine) -> list[float]:
    """How hard each state is among the others, from 0 to 1; by its place where no knob has an order."""
    ordered = [name for name, sign in machine.signs.items() if sign]

    def hard(state: BoundState) -> tuple[float, ...]:
        return tuple(machine.hardness(name, state.knobs[name]) for name in ordered)

    sizes: Sequence[Any] = [hard(state) for state in machine.states]
    if len(set(sizes)) == 1:
        sizes = [state.index for state in machine.states]
    ranks = {size: place for place, size in enumerate(sorted(set(sizes)))}
    return [ranks[size] / max(1, len(ranks) - 1) for size in sizes]


def lines_of(report: Report) -> list[dict[str, Any]]:
    """A report as short lines: what is broken, what is open, and how much is proved."""
    kinds = {"error": "broken", "undecided": "open", "warning": "open", "note": "note"}
    found = [
        {"kind": kinds[finding.severity], "text": finding.sentence, "code": finding.code}
        for finding in report.findings
        if finding.severity in kinds
    ]
    proved = sum(verdict.answer == "proved" for verdict in report.verdicts)
    said = {"kind": "proved", "text": f"{proved} propert{'y' if proved == 1 else 'ies'} proved", "code": None}
    broken = [one for one in found if one["kind"] == "broken"]
    return [*broken, said, *(one for one in found if one["kind"] != "broken")]


def means_around(
    losses: NDArray[np.float64], places: NDArray[np.int64], edges: NDArray[np.int64], wide: int
) -> NDArray[np.float64]:
    """The mean of the losses around some places, of the same stay: a window that never reaches across a transition.

    Beside a transition it is narrower, so that a steep fall stays one; but never a single loss, which would be a spike.

    Args:
        losses: [step].
        places: [column], steps.
        edges: the first step of each stay, and the end of the last.
        wide: the most losses of a window.
    """
    bounds = np.unique(edges)
    stay = np.clip(np.searchsorted(bounds, places, side="right") - 1, 0, max(0, len(bounds) - 2))
    start, stop = bounds[stay], bounds[np.minimum(stay + 1, len(bounds) - 1)]
    size = np.clip(2 * np.minimum(places - start, stop - 1 - places) + 1, max(3, wide // 3), max(3, wide))
    size = np.minimum(size, stop - start)
    low = np.clip(places - size // 2, start, stop - size)
    with np.errstate(all="ignore"):
        pairs = np.stack((low, low + size), axis=1).ravel()
        inside = np.minimum(pairs, len(losses) - 1)
        sums = np.add.reduceat(losses, inside)[::2]
        # reduceat takes no end behind the last loss; of a window of that loss alone it gives the loss itself.
        sums += np.where((pairs[1::2] > inside[1::2]) & (inside[1::2] > inside[::2]), losses[-1], 0.0)
        found: NDArray[np.float64] = sums / size
        for place in np.flatnonzero(~np.isfinite(found)).tolist():
            window = losses[low[place] : low[place] + size[place]]
            found[place] = window[np.isfinite(window)].mean() if np.isfinite(window).any() else np.nan
    return found
