"""What a step does: observing, transitions, plans and edits, each computed anew from the history.

Saving is a deep copy; where an edited curriculum would lower a knob or lose the state, `edit` refuses with LookupError.
"""

from __future__ import annotations

from math import inf
from typing import Any

from tests.controller.naive.bound import Bound, hard
from tests.controller.naive.history import History, Turn
from tests.controller.naive.rate import rate


class Naive(History):
    """Interprets a curriculum against a history of observations."""

    def __init__(self, bound: Bound, lag: int = 0) -> None:
        super().__init__(bound, lag)
        self.plans: list[tuple[Any, ...]] = []  # step, epoch, state, knobs, lr, requests, stop
        self.planned: list[tuple[int, dict[str, Any]]] = []  # every step and knobs that were ever planned
        self.taken: list[str] = []  # keys of the transitions that were taken
        self._enter(Turn(0, "start", bound.curriculum.state[0].name, bound))

    def observe(self, said: dict[str, Any]) -> tuple[Any, ...] | None:
        """Take an observation; the decision, if there is one, or ArithmeticError if the run is dead."""
        per_epoch = self.bound.run[1]
        closes = (self.step + 1) % per_epoch == 0 if per_epoch else said.get("epoch_end", False)
        self.seen.append({**said, "closes": closes})
        dead = self.nonfinite() >= self.bound.curriculum.nonfinite.limit
        for place, to in self.bound.ways(self.stay.state):
            way = self.bound.curriculum.transition[place]
            looked_at = {"step": True, "epoch": closes, "eval": said.get("eval_end", False)}[way.at]
            answers = not dead or any(leaf.word == "nonfinite" for leaf in self.leaves(way.guards))
            if looked_at and answers and self.taken.count(self.bound.key(place)) < (way.at_most or inf):
                self.looks.setdefault(place, []).append(all(self.holds(guard) is True for guard in way.guards))
                if self.looks[place][-way.sustain :] == [True] * way.sustain:
                    return self._take(place, to, said["loss"])
        self.plans.append(self.plan(()))
        if dead:
            raise ArithmeticError("so many in a row")
        return None

    def _take(self, place: int, to: str, loss: float | None) -> tuple[Any, ...]:
        way, before = self.bound.curriculum.transition[place], self.plans[-1]
        self.taken.append(self.bound.key(place))
        actions = tuple((a, None) if isinstance(a, str) else (a.word, a.value) for a in way.actions)
        self._enter(Turn(self.step, "enter", to, self.bound, actions, way.regress))
        now, title = self.plans[-1], way.name or f"transition {place + 1}"
        return (*now[:2], before[2], to, title, before[3], now[3], before[4], now[4], loss)

    def _enter(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.looks: dict[int, list[bool]] = {}  # at each transition: whether its guards were true
        self.since = dict.fromkeys(self.watched(), turn.step)  # from which step on each guard's values count
        self.total = turn.bound.total  # what shares of the run are measured on
        self.plans.append(self.plan(tuple(a for a in turn.actions if not a[0].startswith("lr_"))))

    def edit(self, bound: Bound, changed: bool) -> None:
        """Go on under another curriculum or another run; LookupError where that is refused."""
        if bound.run[:2] != self.bound.run[:2] and self.over(bound):
            raise LookupError("the run is over")
        if not changed:
            self.turns.append(Turn(self.step, "extend", self.stay.state, bound))
            self.bound = bound
            self.plans[-1] = self.plan(self.plans[-1][5])
            return
        if bound.became().get(self.stay.state) != self.stay.state:
            raise LookupError("the state is gone")
        total = bound.total if self.total is None else self.total
        knobs = bound.knobs(self.stay.state, self.time, total)
        since = max((turn.step for turn in self.turns if turn.regress), default=0)
        floors = [(knob, value) for step, planned in self.planned if step >= since for knob, value in planned.items()]
        if any(knob in knobs and hard(knobs[knob]) < hard(value) for knob, value in floors):
            raise LookupError("a knob would fall")
        rebound = (bound.limits, bound.run[1:]) == (self.bound.limits, self.bound.run[1:])
        self.bound, self.total, self.looks = bound, total, {}
        self.turns.append(Turn(self.step, "edit", self.stay.state, bound))
        kept = self.since if knobs == self.plans[-1][3] and rebound else {}
        self.since = {guard: kept.get(guard, self.step) for guard in self.watched()}
        self.plans[-1] = self.plan(self.plans[-1][5])

    def plan(self, requests: tuple[Any, ...]) -> tuple[Any, ...]:
        name, over = self.stay.state, self.over(self.bound)
        state = next(s for s in self.bound.curriculum.state if s.name == name)
        knobs = self.bound.knobs(name, self.time, self.total)
        self.planned.append((self.step, knobs))
        return (self.step, self.epochs(), name, knobs, rate(self), requests, state.stop or ("over" if over else None))

    def over(self, bound: Bound) -> bool:
        if bound.total is not None:
            return self.step >= bound.total
        return bound.run[0] is not None and self.epochs() >= bound.run[0]
