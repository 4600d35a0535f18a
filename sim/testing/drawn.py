"""Curricula and losses drawn by the thousand, and two promises watched in all of their runs at once.

For lanes that count by the million; hypothesis (`sim.strategies`) draws fewer, shrinks what fails, knows more words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from plateau_rule.controller.binding import bind
from plateau_rule.controller.guards import LANGUAGE
from plateau_rule.controller.guards.any import Any_
from plateau_rule.controller.guards.diverging import DivergingWord
from plateau_rule.controller.guards.dwell import Dwell
from plateau_rule.controller.guards.nonfinite import NonFiniteInARow
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.ladders import ranks_of
from plateau_rule.controller.machine import BoundState
from plateau_rule.controller.rate import LARGEST_SCALE
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.sim.batch import Batch
from plateau_rule.sim.batch.decisions import Taken
from plateau_rule.sim.batch.history import Floats, Mask

SLACK = 1e-9  # of a share, for rounding


def curriculum(rng: np.random.Generator) -> Curriculum:
    """Draw a curriculum: usually a ladder that is climbed with restarts, now and then anything; not always sound."""
    epochs, per_epoch = int(rng.integers(3, 9)), int(rng.integers(15, 50))
    total, count = epochs * per_epoch, int(rng.integers(2, 7))
    names = [f"s{place}" for place in range(count)]
    knobs = {name: _ladder(rng) for name in ("cutoff", "seq_len")[: int(rng.integers(1, 3))]}
    orders = {name: str(rng.choice(["up", "up", "up", "down", "none", "names"])) for name in knobs}
    for name, order in orders.items():
        knobs[name] = _in_order(knobs[name], order)
    places = {name: np.sort(rng.integers(0, len(ladder), count)) for name, ladder in knobs.items()}
    states: list[dict[str, Any]] = [
        {"name": name, "set": {knob: ladder[places[knob][i]] for knob, ladder in knobs.items()}}
        for i, name in enumerate(names)
    ]
    for state in states:
        if rng.random() < 0.2:
            state["lr"] = {"peak": float(rng.choice([0.5, 2.0])), "floor": float(rng.choice([0.0, 0.3]))}
        if state is states[0] and rng.random() < 0.1:
            state["lr"] = state.get("lr", {}) | {"warmup": f"{int(rng.integers(1, 6))} steps", "warmup_from": 0.1}
    length = f"{int(rng.integers(total // 3 + 1, 2 * total))} steps"
    rate: dict[str, Any] = {"peak": 2e-4, "shape": str(rng.choice(["cosine", "linear", "constant", "wsd"]))}
    rate |= {"floor": float(rng.choice([0.0, 0.1, 0.5]))}
    rate |= (
        {"cycles": [length, "rest"]} if rng.random() < 0.15 else {"length": length if rng.random() < 0.7 else "rest"}
    )
    if rng.random() < 0.15:
        rate |= {"warmup": f"{int(rng.integers(1, 6))} steps"}
    transitions = [_up(rng, names, total) for _ in range(int(rng.integers(1, 3)))]
    if rng.random() < 0.7:
        after = f"{int(rng.integers(16, max(17, total // count)))} steps"  # a window has its time
        transitions.append({"from": "*", "to": "next", "guards": [{Dwell.name: after}], "actions": ["lr_restart"]})
    if rng.random() < 0.5:
        transitions.insert(0, _back(rng, names))
    if rng.random() < 0.15:
        _stand_for_rungs(rng, states, knobs)
    return Curriculum.model_validate(
        {
            "format": 1,
            "name": "drawn",
            "run": {"epochs": epochs, "steps_per_epoch": per_epoch},
            "lr": rate,
            "knob": {name: _knob(ladder, orders[name]) for name, ladder in knobs.items()},
            "state": states,
            "transition": transitions,
            "nonfinite": {"limit": int(rng.integers(5, 26))},
            "check": {"align": {"steps": int(rng.integers(2, 15))}},
        }
    )


def _stand_for_rungs(rng: np.random.Generator, states: list[dict[str, Any]], knobs: dict[str, list[Any]]) -> None:
    """Let a state stand for one on each rung of a knob; states before it are on the first, those behind on the last."""
    knob, at = str(rng.choice(list(knobs))), int(rng.integers(len(states)))
    for place, state in enumerate(states):
        state["set"][knob] = knobs[knob][0 if place < at else -1]
    states[at]["each"] = knob
    del states[at]["set"][knob]
    states[at]["lr"] = {key: value for key, value in states[at].get("lr", {}).items() if "warmup" not in key}


def _ladder(rng: np.random.Generator) -> list[Any]:
    ladder: list[Any] = np.unique(2 ** rng.integers(3, 10, int(rng.integers(2, 6)))).tolist()
    return [*ladder, "full"] if rng.random() < 0.5 else ladder


def _in_order(ladder: list[Any], order: str) -> list[Any]:
    """A ladder of numbers as one of another order, or of names."""
    if order == "names":
        return [f"source-{place}" for place in range(len(ladder))]
    numbers = [value for value in ladder if value != "full"] if order != "up" else ladder
    return numbers[::-1] if order == "down" else numbers


def _knob(ladder: list[Any], order: str) -> dict[str, Any]:
    return {"ladder": ladder} | ({"order": order} if order in ("down", "none") else {})


def _actions(rng: np.random.Generator) -> list[Any]:
    actions: list[Any] = ["lr_restart"] if rng.random() < 0.95 else []
    if rng.random() < 0.2:
        actions.insert(int(rng.integers(0, len(actions) + 1)), {"lr_scale": float(rng.choice([0.5, 0.9, 1.5]))})
    return [*actions, "checkpoint"] if rng.random() < 0.2 else actions


class _RngPick:
    """The choices of which a word makes an example of itself, drawn by a generator; see controller.guards.word."""

    def __init__(self, rng: np.random.Generator, total: int) -> None:
        self.metrics: Sequence[str] = ("loss",)
        self.methods: Sequence[str] = ("halves",)  # the other methods decide nothing in runs so short
        self.ramped: Sequence[str] = ()
        self.most_steps, self.by_hand = total // 2, False
        self.timed = ("loss",)
        self._rng = rng

    def whole(self, low: int, high: int) -> int:
        """A whole number."""
        return int(self._rng.integers(low, high + 1))

    def one_of(self, choices: Sequence[Any]) -> Any:
        """One of several."""
        return choices[int(self._rng.integers(len(choices)))]

    def amount(self, most: int, least: int = 1, in_state: bool = False) -> str:
        """An amount of time in steps."""
        return f"{self.whole(least, most)} steps"

    def level(self) -> float:
        """A value that drawn losses pass."""
        return float(self._rng.uniform(1.5, 5.0))

    def guard(self) -> dict[str, Any]:
        """A guard that is not made of others."""
        word = self.one_of(_LEAVES)
        return {word.name: word.example(self)}

    def conditions(self, most: int) -> list[Any]:
        """Guards that are not made of others."""
        return [self.guard() for _ in range(self.whole(1, most))]


_LEAVES = tuple(word for word in LANGUAGE if not word.joins and not word.on_ramp)
_JOINING = tuple(word for word in LANGUAGE if word.joins)


def _up(rng: np.random.Generator, names: list[str], total: int) -> dict[str, Any]:
    """A transition to a harder state."""
    pick = _RngPick(rng, total)
    found: dict[str, Any] = {"from": "*", "to": "next"}
    if rng.random() < 0.2:
        source = int(rng.integers(0, len(names) - 1))
        found = {"from": names[source], "to": names[int(rng.integers(source + 1, len(names)))]}
    found["at"] = str(rng.choice(["step", "step", "epoch"]))
    found["guards"] = pick.conditions(2)
    if rng.random() < 0.2:
        word = pick.one_of(_JOINING)
        found["guards"].append({word.name: word.example(pick)})
    if rng.random() < 0.2:
        found["sustain"] = int(rng.integers(2, 4))
    return {**found, "actions": _actions(rng)}


def _back(rng: np.random.Generator, names: list[str]) -> dict[str, Any]:
    """A bounded retreat."""
    source = int(rng.integers(1, len(names)))
    wild = {DivergingWord.name: {"window": int(rng.integers(2, 9)), "factor": float(rng.choice([1.1, 1.5]))}}
    lost = {NonFiniteInARow.name: int(rng.integers(1, 4))}
    return {
        "from": names[source],
        "to": names[int(rng.integers(0, source))],
        "guards": [wild] if rng.random() < 0.5 else [{Any_.name: [wild, lost]}],
        "at_most": int(rng.integers(1, 4)),
        "regress": bool(rng.random() < 0.9),
        "actions": ["rollback", *_actions(rng)],
    }


def steps_of(of: Curriculum) -> int:
    """Steps in a run."""
    return (of.run.epochs or 1) * (of.run.steps_per_epoch or 1)


def limits_of(of: Curriculum) -> dict[str, float | None]:
    """What a trainer with room for every drawn value binds a curriculum with."""
    spelled = ranks_of(of)
    return {name: None if name in spelled else 1025.0 for name in of.knob}


def losses(rng: np.random.Generator, runs: int, steps: int) -> Floats:
    """Draw streams [run, step] of many kinds: falls, flats, rises, noise, values that repeat, spikes, bursts of NaN."""
    time = np.arange(steps)
    start, end = rng.uniform(2.0, 10.0, (runs, 1)), rng.uniform(0.5, 5.0, (runs, 1))
    found: Floats = end + (start - end) * np.exp(-time / rng.uniform(3.0, steps, (runs, 1)))
    found *= 1.0 + rng.choice([0.0, 0.01, 0.05, 0.3], (runs, 1)) * rng.standard_normal((runs, steps))
    found = np.where(rng.random((runs, 1)) < 0.2, np.round(found * 8) / 8, found)
    found += np.where(time > rng.integers(0, 2 * steps, (runs, 1)), rng.uniform(0.0, 3.0, (runs, 1)), 0.0)
    found = np.where(rng.random((runs, steps)) < 0.003, found * 10.0, found)
    begin, length = rng.integers(0, 3 * steps, (runs, 1)), rng.integers(1, 6, (runs, 1))
    found[(time >= begin) & (time < begin + length)] = np.nan
    return found


@dataclass
class Promises:
    """What was watched: transitions taken, raises among them, and the violations, each as a sentence."""

    transitions: int = 0
    raises: int = 0
    violations: list[str] = field(default_factory=list)

    def __iadd__(self, other: Promises) -> Promises:
        self.transitions += other.transitions
        self.raises += other.raises
        self.violations += other.violations
        return self


class _PromiseWatch:
    """Alignment and no-regression, step by step in every run; knows of the batch only its plans and what it took.

    A raise is judged through the states after it, up to the next raise, retreat or `lr_scale`. Over `rest`, a restart
    in the last steps of the run falls with the run's end, and is not judged by it (controller/verifier/README.md).
    """

    def __init__(self, batch: Batch, to_the_end: bool) -> None:
        self.found = Promises()
        self._batch, self._align = batch, batch.machine.align
        self._within = self._align.within_steps
        self._signs = batch.machine.signs
        self._knobs = self._hardness()
        self._scale = np.ones(batch.runs)
        self._raised = np.full(batch.runs, -1, dtype=np.int64)  # the step of a raise that is still to be judged
        self._restarted = np.full(batch.runs, -1, dtype=np.int64)  # the step of the last restart since that raise
        rate, total = batch.machine.curriculum.lr, batch.machine.run.total_steps
        over_rest = "rest" in (rate.length, *(rate.cycles if isinstance(rate.cycles, list) else ()))
        self._late_from = np.inf
        if over_rest and total is not None and not to_the_end:
            self._late_from = total - self._align.late_steps
        rates = [state.rate for state in batch.machine.states]
        self._peaks = np.array([batch.machine.peak * rate.peak * rate.follow for rate in rates])

    def see(self, taken: list[Taken]) -> None:
        """Compare the plan of the next step with the one before."""
        batch, may_fall = self._batch, np.zeros(self._batch.runs, dtype=np.bool_)
        before, self._knobs = self._knobs, self._hardness()
        for one in taken:
            rows = one.rows
            self.found.transitions += len(rows)
            may_fall[rows] = one.transition.regress
            actions = {action.name: action for action in one.transition.actions}
            if "lr_scale" in actions:
                factor = float(actions["lr_scale"].argument or 1.0)
                self._scale[rows] = np.minimum(self._scale[rows] * factor, LARGEST_SCALE)
            rises = np.any([self._knobs[name][rows] > before[name][rows] for name in self._knobs], axis=0)
            kept = -1 if one.transition.regress or "lr_scale" in actions else self._raised[rows]
            self._raised[rows] = np.where(rises, one.step, kept)
            self._restarted[rows] = np.where(rises, -1, self._restarted[rows])
            if "lr_restart" in actions:
                self._restarted[rows] = one.step
            self.found.raises += int(rises.sum())
        for name, values in self._knobs.items():
            self._note((values < before[name]) & ~may_fall & batch.running, f"{name} falls")
        since = batch.step - self._raised
        judged = (self._raised >= 0) & (since <= self._align.steps) & batch.running
        judged &= self._restarted < self._late_from
        if judged.any():
            share = batch.lr() / (self._peaks[batch.state] * self._scale)
            due = np.where(
                since == self._within - 1, self._align.min, np.where(since >= self._within, self._align.hold, 0.0)
            )
            self._note(judged & (share < due - SLACK), "the rate is low after a raise")

    def _hardness(self) -> dict[str, Floats]:
        """How hard each knob is in every run; one without an order neither rises nor falls."""
        return {name: sign * self._batch.knob(name) for name, sign in self._signs.items() if sign}

    def _note(self, broken: Mask, what: str) -> None:
        for run in np.flatnonzero(broken).tolist():
            state: BoundState = self._batch.machine.states[int(self._batch.state[run])]
            self.found.violations.append(f'run {run}, step {self._batch.step}, state "{state.name}": {what}')


def watched(of: Curriculum, streams: Floats, *, to_the_end: bool = False) -> Promises:
    """Run a curriculum over streams [run, step], and watch alignment and no-regression on every step of every run.

    to_the_end: judge a late restart over `rest`, too, by how soon the run ends.
    """
    batch = Batch(of, len(streams), limits_of(of), steps=streams.shape[1])
    watch = _PromiseWatch(batch, to_the_end)
    for loss in np.ascontiguousarray(streams.T):
        if batch.over:
            break
        watch.see(batch.observe(loss))
    return watch.found


@dataclass
class DrawnTally:
    """What came of many drawn curricula.

    drawn: how many. sound: those that `plateau check` has no error for, and nothing at all to say on raises and falls.
    runs: streams that these met. watched: what came of it. broken: the other curricula for which it gave a loss stream
    that breaks one of the two promises. unseen: those of them that kept it under that very stream.
    """

    drawn: int = 0
    sound: int = 0
    runs: int = 0
    watched: Promises = field(default_factory=Promises)
    broken: int = 0
    unseen: list[str] = field(default_factory=list)

    def __iadd__(self, other: DrawnTally) -> DrawnTally:
        self.drawn += other.drawn
        self.sound += other.sound
        self.runs += other.runs
        self.watched += other.watched
        self.broken += other.broken
        self.unseen += other.unseen
        return self


class Draws(NamedTuple):
    """So many curricula of a seed, from number `first` on, and with how many streams each sound one is tried."""

    seed: int
    first: int
    curricula: int
    runs: int


def tally(draws: Draws) -> DrawnTally:
    """Draw curricula; try the sound ones on streams of many kinds, and broken ones on what `check` breaks them by."""
    found = DrawnTally()
    for place in range(draws.first, draws.first + draws.curricula):
        rng = np.random.default_rng([draws.seed, place])
        drawn = curriculum(rng)
        machine = bind(drawn, limits_of(drawn))
        findings = verify(machine).findings
        promises = [one for one in findings if one.property in ("aligned", "monotone") and one.severity != "note"]
        found.drawn += 1
        if not promises and not any(one.severity == "error" for one in findings):
            found.sound += 1
            found.runs += draws.runs
            found.watched += watched(drawn, losses(rng, draws.runs, steps_of(drawn)))
        shown = [one.counterexample for one in promises if one.counterexample and one.counterexample.happened]
        streams = [list(example.rows(machine)) for example in shown]
        found.broken += bool(streams)
        for rows in streams:
            stream = np.array([[row["loss"] for row in rows]], dtype=np.float64)
            if not watched(drawn, stream, to_the_end=True).violations:
                found.unseen.append(f"seed {draws.seed}, curriculum {place}")
    return found
