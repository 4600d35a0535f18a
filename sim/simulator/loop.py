"""The closed loop: learners whose losses answer to what a curriculum decides.

Each learner is drawn and observed from streams of its own, so learner 17 does the same in any company: results depend
neither on how many learners there are, nor on how they are spread over processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.sim.batch import Batch, Decisions
from plateau_rule.sim.batch.decisions import Taken, joined
from plateau_rule.sim.simulator.evaluations import Evaluations
from plateau_rule.sim.simulator.learner import Bands, Floats, Learners, Learning, Mask, Observed, Rows

FLATNESS = "flatness"
START = 10.0  # what the flatness is taken for on entering a state, before anything was seen


@dataclass(frozen=True)
class Truth:
    """What is called flat, and for how long.

    rate: relative improvement of the noiseless loss for each step, under which it is flat. horizon: steps over which
    that is averaged (exponentially). late: steps that it may have been flat for, before a raise is too late; and for
    which a loss may stay above its level before a raise until that counts as a stall.
    """

    rate: float
    horizon: int
    late: int


@dataclass(frozen=True)
class Outcome:
    """What became of some learners; arrays with a place for each, or for each decision.

    decisions: all transitions. flatness: how fast the true loss improved at each, in units of the rate that counts as
    flat. flat_steps: for how long it had been flat. returned: steps that the true loss took, from a raise on, to come
    back to its level before; -1 where it never did while the state lasted. steps, cost: how much each learner did.
    in_state, cost_in_state: [state, learner]. loss: without noise, at the end. final_state: where that was. dead:
    ended by NaN.
    """

    decisions: Decisions
    flatness: Floats
    flat_steps: NDArray[np.int64]
    returned: NDArray[np.int64]
    steps: NDArray[np.int64]
    cost: Floats
    in_state: NDArray[np.int64]
    cost_in_state: Floats
    loss: Floats
    final_state: NDArray[np.int64]
    dead: Mask


class _Watch:
    """The noiseless truth beside the runs: how flat each loss is, and whether it came back after a raise."""

    def __init__(self, truth: Truth, loss: Floats) -> None:
        runs = len(loss)
        self._true_rate, self._horizon, self._weight = truth.rate, truth.horizon, 1.0 / truth.horizon
        self._average = np.zeros(runs)  # of the improvement, exponentially weighted
        self._missing = np.ones(runs)  # the weight that it still lacks: 1 on entering a state
        self.flat_steps = np.zeros(runs, dtype=np.int64)
        self.returned = np.full(4 * runs, -1, dtype=np.int64)  # for each decision
        self._decided = 0
        self._before = loss.copy()
        self._level = np.full(runs, -np.inf)  # to come back under, where that has not happened
        self._entered = np.zeros(runs, dtype=np.int64)
        self._by = np.zeros(runs, dtype=np.int64)  # the decision that the run entered its state by

    @property
    def flatness(self) -> Floats:
        """The improvement in this state, in units of the rate that counts as flat; START before anything was seen."""
        return np.where(self._missing < 1.0, self._average / (1.0 - self._missing), START)

    def settled(self, step: int) -> Floats:
        """The same for the oracle: START until a state has lasted as long as improvements are averaged over."""
        return np.where(self._entered <= step - self._horizon, self.flatness, START)

    def see(self, loss: Floats, step: int, warm: bool) -> None:
        """Take the noiseless loss of a step."""
        if not warm:
            change = (self._before - loss) / (np.abs(loss) * self._true_rate)
            if step:  # before the first step there was no loss
                self._average += (change - self._average) * self._weight
                self._missing *= 1.0 - self._weight
            self.flat_steps += 1
            self.flat_steps[self.flatness >= 1.0] = 0
        self._before = loss
        back = loss <= self._level
        if back.any():
            self.returned[self._by[back]] = step - self._entered[back]
            self._level[back] = -np.inf

    def enter(self, rows: Rows, step: int, rises: bool, loss: Floats) -> None:
        """These runs take a transition; loss: of every run, as it is after the knobs were turned."""
        before, after = self._before, self._before.copy()
        if self._decided + len(rows) > len(self.returned):
            self.returned = np.concatenate((self.returned, np.full_like(self.returned, -1)))
        self._by[rows] = np.arange(self._decided, self._decided + len(rows))
        self._decided += len(rows)
        self._level[rows] = before[rows] if rises else -np.inf
        self._entered[rows] = step
        self._average[rows], self._missing[rows], self.flat_steps[rows] = 0.0, 1.0, 0
        after[rows] = loss[rows]
        self._before = after


class _Books:
    """Steps and cost of each run in each state."""

    def __init__(self, states: int, runs: int) -> None:
        self.steps = np.zeros((states, runs), dtype=np.int64)
        self.cost = np.zeros((states, runs))
        self._spent = np.zeros(runs)  # since the start
        self._at_entry = np.zeros(runs), np.zeros(runs, dtype=np.int64)

    def spend(self, cost: Floats) -> None:
        """A step was taken."""
        self._spent += cost

    def close(self, rows: Rows, state: NDArray[np.int64] | int, step: int) -> None:
        """These runs leave a state, `step` steps after the start."""
        spent, since = self._at_entry
        self.steps[state, rows] += step - since[rows]
        self.cost[state, rows] += self._spent[rows] - spent[rows]
        spent[rows], since[rows] = self._spent[rows], step


class _Loop:
    """Some learners in closed loop."""

    def __init__(self, batch: Batch, learners: Learners, truth: Truth, evaluate_every: str | None) -> None:
        self._batch, self._learners = batch, learners
        self._machine, self._bands = batch.machine, Bands.of(batch.machine)
        knobs = self._knobs()
        self._learning = Learning(learners, self._bands, self._bands.open(knobs, batch.runs))
        self._observed = Observed(learners)
        self._watch = _Watch(truth, self._learning.loss())
        self._books = _Books(len(self._machine.states), batch.runs)
        self._price = self._prices(knobs)
        self._ramped = any(state.ramps for state in self._machine.states)
        others = [metric for metric in batch.metrics if metric not in ("loss", FLATNESS)]
        self._evaluations = Evaluations.of(self._machine, others, evaluate_every)
        self._judged: list[tuple[Rows, int, Floats, NDArray[np.int64]]] = []
        self._losses: deque[Floats] = deque()
        self._final = np.zeros(batch.runs)

    def _knobs(self) -> dict[str, Floats]:
        return {name: self._batch.knob(name) for name in self._machine.curriculum.knob}

    def _prices(self, knobs: Mapping[str, Floats]) -> Floats:
        fixed = self._learners.of["fixed_cost"]
        shares = [values / self._bands.limits[name] for name, values in knobs.items() if name in self._bands.limits]
        return fixed + (1.0 - fixed) * np.mean(shares, axis=0) if shares else np.ones(self._batch.runs)

    def step(self) -> None:
        """Take one step in every learner, and let the controller see its loss."""
        batch, learning, watch = self._batch, self._learning, self._watch
        lr, step, running, states = batch.lr(), batch.step, batch.running.copy(), batch.state.copy()
        clean = learning.loss()
        watch.see(clean, step, step < self._machine.warmup_steps)
        per_epoch = self._machine.run.steps_per_epoch
        closes = per_epoch is not None and (step + 1) % per_epoch == 0
        metrics = {FLATNESS: watch.settled(step)} if FLATNESS in batch.metrics else {}
        metrics |= dict.fromkeys(self._evaluations.due(step), clean)
        self._books.spend(self._price)
        # In a final state nothing is looked at, so noise need not be made.
        seen = self._late(self._observed(clean) if batch.watching else clean)
        taken = batch.observe(seen, eval_end=self._evaluations.evaluates(step), metrics=metrics)
        learning.learn(lr)
        for one in taken:
            self._turn(one, states)
        if self._ramped:
            self._follow_ramps()
        ended = np.flatnonzero(running & ~batch.running)
        if len(ended):
            self._final[ended] = learning.loss()[ended]
            self._books.close(ended, batch.state[ended], batch.step)
        if closes:
            learning.save(slice(None))

    def _late(self, loss: Floats) -> Floats | None:
        """The loss that is known by now: that of `lag` steps ago."""
        self._losses.append(loss)
        return self._losses.popleft() if len(self._losses) > self._batch.lag else None

    def _turn(self, one: Taken, states: NDArray[np.int64]) -> None:
        """What a transition means for the learners that take it."""
        rows, actions = one.rows, {action.name for action in one.transition.actions}
        self._judged.append((rows, one.step, self._watch.flatness[rows], self._watch.flat_steps[rows]))
        self._books.close(rows, states[rows], one.step)
        if "rollback" in actions:
            self._learning.restore(rows)
        knobs = self._knobs()
        self._price = self._prices(knobs)
        self._learning.turn(rows, self._bands.open(knobs, self._batch.runs)[:, rows])
        self._watch.enter(rows, one.step, self._rises(one), self._learning.loss())
        if "checkpoint" in actions:
            self._learning.save(rows)

    def _rises(self, one: Taken) -> bool:
        old, new = (self._machine.by_name[name] for name in (one.transition.source, one.transition.target))
        return bool(self._machine.harder(new.knobs, old.knobs))

    def _follow_ramps(self) -> None:
        knobs = self._knobs()
        self._price = self._prices(knobs)
        is_open = self._bands.open(knobs, self._batch.runs)
        rows = np.flatnonzero((is_open != self._learning.is_open).any(axis=0))
        if len(rows):
            self._learning.turn(rows, is_open[:, rows])

    def outcome(self) -> Outcome:
        """What became of them."""
        batch, watch = self._batch, self._watch
        decisions = batch.decisions()
        empty: list[tuple[Rows, int, Floats, NDArray[np.int64]]] = [
            (np.zeros(0, np.intp), 0, np.zeros(0), np.zeros(0, int))
        ]
        parts = self._judged or empty
        runs = np.concatenate([rows for rows, _, _, _ in parts])
        steps = np.concatenate([np.full(len(rows), step) for rows, step, _, _ in parts])
        order = np.lexsort((steps, runs))
        return Outcome(
            decisions,
            np.concatenate([flatness for _, _, flatness, _ in parts])[order],
            np.concatenate([flat for _, _, _, flat in parts])[order],
            watch.returned[: len(order)][order],
            batch.ended_step.copy(),
            self._books.cost.sum(axis=0),
            self._books.steps,
            self._books.cost,
            self._final,
            batch.state.copy(),
            batch.dead.copy(),
        )


def train(
    curriculum: Curriculum, learners: Learners, binding: Binding, truth: Truth, evaluate_every: str | None = None
) -> Outcome:
    """Put learners through a curriculum, all in this process.

    A guard that watches `flatness` sees the truth: the noiseless improvement in units of the rate that counts as flat.
    Other metrics are the loss without noise.
    binding: gives the run a length. evaluate_every: see Settings.
    """
    batch = Batch(curriculum, len(learners), binding)
    loop = _Loop(batch, learners, truth, evaluate_every)
    with np.errstate(all="ignore"):
        while not batch.over:
            loop.step()
    return loop.outcome()


def together(parts: Sequence[Outcome]) -> Outcome:
    """Outcomes of shards, in the order of their learners."""
    columns: dict[str, Any] = {}
    for column in fields(Outcome):
        values = [getattr(part, column.name) for part in parts]
        if column.name == "decisions":
            firsts = np.cumsum([0, *(len(part.steps) for part in parts)])[:-1].tolist()
            columns[column.name] = joined([table.shifted(first) for table, first in zip(values, firsts, strict=True)])
        else:
            columns[column.name] = np.concatenate(values, axis=-1)
    return Outcome(**columns)
