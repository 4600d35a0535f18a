"""What a step does: observing, transitions, plans and edits, each computed anew from the history.

Saving is a deep copy; where an edited curriculum would lower a knob or lose the state, `edit` refuses with LookupError.
"""

from __future__ import annotations

from math import inf
from typing import Any

from tests.controller.naive.bound import Bound, is_number, spell
from tests.controller.naive.certain import Coming, clockwork, coming
from tests.controller.naive.counted import bounds, ends, measure, units
from tests.controller.naive.history import History, Turn
from tests.controller.naive.rate import rate

METRICS = ("val_loss", "score")


class Naive(History):
    """Interprets a curriculum against a history of observations."""

    def __init__(self, bound: Bound, lag: int = 0) -> None:
        bound = bound._replace(curriculum=spell(bound.curriculum))
        super().__init__(bound, lag)
        self.plans: list[tuple[Any, ...]] = []  # step, epoch, state, knobs, lr, requests, stop
        self.taken: list[str] = []  # keys of the transitions that were taken
        self.known: float = -inf  # the step whose observation made the present stay certain
        self.waits: tuple[int, str, float, Any, float] | None = None  # transition, to, step, loss in a list, known
        self.due: Coming | None = None  # what clocks have in store
        self.evaluated = -1  # how many steps were complete at the last evaluation
        self._enter(Turn(0, "start", bound.curriculum.state[0].name, bound))

    def observe(self, said: dict[str, Any]) -> tuple[Any, ...] | None:
        """Take an observation; the decision, if there is one, or ArithmeticError if the run is dead."""
        per_epoch = self.bound.run[1]
        closes = (self.step + 1) % per_epoch == 0 if per_epoch else said.get("epoch_end", False)
        metrics = {name: said.pop(name) for name in METRICS if name in said and self.evaluates(name)}
        self.seen.append({**said, "closes": closes, "late": self.time < self.lag})
        dead = self.nonfinite() >= self.bound.curriculum.nonfinite.limit
        now = self._decide(("step", "epoch") if closes else ("step",), dead, said["loss"])
        decision = now and self._take(*now, self.plans[-1])
        if decision is None:
            self.plans.append(self.plan(()))
            if dead:
                raise ArithmeticError("so many in a row")
        if said.get("eval_end") or metrics:
            return self.evaluate(metrics) or decision
        return decision

    def evaluate(self, metrics: dict[str, float]) -> tuple[Any, ...] | None:
        """Take an evaluation of the last step; LookupError if it had one."""
        if self.evaluated == self.step:
            raise LookupError("a second one")
        self.evaluated = self.step
        if self.time == 0:
            return None
        self.seen[-1] |= metrics
        dead = self.nonfinite() >= self.bound.curriculum.nonfinite.limit
        now = self._decide(("eval",), dead, None)
        if now is None:
            return None
        self.plans.pop()  # it comes in the place of what was planned after the step
        if self.bound.curriculum.transition[now[0]].regress:
            self.planned = [planned for planned in self.planned if planned[0] < self.step]
        return self._take(*now, self.plans[-1])

    def evaluates(self, metric: str) -> bool:
        """Whether a metric makes an evaluation of what brings it: a guard watches it, or it is declared."""
        guards = [guard for way in self.bound.curriculum.transition for guard in self.leaves(way.guards)]
        guards += [leaf for guard in self.bound.curriculum.guard.values() for leaf in self.leaves([guard])]
        known = {*self.bound.curriculum.metric, *(getattr(guard.value, "metric", "loss") for guard in guards)}
        return metric in known and self.comes_at(metric) == "eval"

    def _decide(self, asked: tuple[str, ...], dead: bool, loss: Any) -> tuple[int, str, Any, float] | None:
        """What is taken now: the transition, where to, by which loss, since when it was certain."""
        old, answers = self.stay.state, self._answers(dead)
        ways = [(place, to) for place, to in self.bound.ways(old) if not self.waits or self.bound.at_once(place, to)]
        chosen = next((way for way in ways if answers(way[0]) and self._fires(way[0], asked)), None)
        prompt = self.known if clockwork(self) else self.step - 1.0
        if chosen is None and self.waits:
            place, to, step, by, known = self.waits
            return (place, to, loss if by is None else by[0], known) if self.step >= step and answers(place) else None
        due = None if self.waits else self.due
        if due is not None and self.time >= due[0] - due[3] and answers(due[1]) and (not chosen or chosen[0] >= due[1]):
            self._let_wait(due[1], due[2], self.stay.step + due[0], None, prompt)
            return None
        if chosen is None or not (wait := self.bound.wait(chosen[0], old, chosen[1])):
            if chosen:
                self.taken.append(self.bound.key(chosen[0]))
            return chosen and (*chosen, loss, prompt)
        self._let_wait(*chosen, self.step + wait, [loss], self.step - 1.0)
        return None

    def _answers(self, dead: bool) -> Any:
        ways = self.bound.curriculum.transition
        return lambda place: not dead or any(leaf.word == "nonfinite" for leaf in self.leaves(ways[place].guards))

    def _fires(self, place: int, asked: tuple[str, ...]) -> bool:
        way = self.bound.curriculum.transition[place]
        if way.at not in asked or self.used_up(place):
            return False
        self.looks.setdefault(place, []).append(all(self.holds(guard) is True for guard in way.guards))
        return self.looks[place][-way.sustain :] == [True] * way.sustain

    def used_up(self, place: int) -> bool:
        way = self.bound.curriculum.transition[place]
        return self.taken.count(self.bound.key(place)) >= (way.at_most or inf)

    def _let_wait(self, place: int, to: str, step: float, by: Any, known: float) -> None:
        self.waits = (place, to, step, by, known)
        self.taken.append(self.bound.key(place))

    def settle(self, known: float) -> None:
        """What clocks have in store from here on; what is less than its lead away waits."""
        self.known, self.waits = known, None
        self.due = coming(self)
        if self.due and self.due[0] - self.due[3] <= self.time:
            time, place, to, wait = self.due
            self._let_wait(place, to, max(self.stay.step + time, known + 1 + wait), None, known)

    def _take(self, place: int, to: str, loss: float | None, known: float, before: Any) -> tuple[Any, ...]:
        way = self.bound.curriculum.transition[place]
        actions = tuple((a, None) if isinstance(a, str) else (a.word, a.value) for a in way.actions)
        self._enter(Turn(self.step, "enter", to, self.bound, actions, way.regress), known)
        now, title = self.plans[-1], way.name or f"transition {place + 1}"
        return (*now[:2], before[2], to, title, before[3], now[3], before[4], now[4], loss)

    def _enter(self, turn: Turn, known: float = -inf) -> None:
        self.turns.append(turn)
        self.looks: dict[int, list[bool]] = {}  # at each transition: whether its guards were true
        # From which step on each guard's values count.
        self.since = {guard: self.since.get(guard, 0) if run else turn.step for guard, run in self.watched().items()}
        self.total = turn.bound.total  # what shares of the run are measured on
        self.plans.append(self.plan(tuple(a for a in turn.actions if not a[0].startswith("lr_"))))
        self.settle(known)

    def edit(self, bound: Bound, changed: bool) -> None:
        """Go on under another curriculum or another run; LookupError where that is refused."""
        bound = bound._replace(curriculum=spell(bound.curriculum))
        if set(units(bound)) - set(units(self.bound)):
            raise LookupError("what was not counted")
        if bounds(bound) != bounds(self.bound) and self.over(bound):
            raise LookupError("the run is over")
        if not changed:
            if self.waits and bound.lead != self.bound.lead:
                raise LookupError("something waits")
            self.turns.append(Turn(self.step, "extend", self.stay.state, bound))
            before, self.bound = self.bound, bound
            if before.lead != bound.lead:
                self.settle(-inf)
            self.plans[-1] = self.plan(self.plans[-1][5])
            return
        if bound.became().get(self.stay.state) != self.stay.state:
            raise LookupError("the state is gone")
        # A length in one measure says nothing in another.
        total = bound.total if self.total is None or measure(bound) != measure(self.bound) else self.total
        knobs = bound.knobs(self.stay.state, self.time, total)
        floors = self.floors()
        known = {k: floor for k, floor in floors.items() if k in knobs and bound.ranks(k, floor)}
        if any(bound.harder(k, knobs[k]) < bound.harder(k, floor) for k, floor in known.items()):
            raise LookupError("a knob would fall")
        if self.waits:
            self.taken.remove(self.bound.key(self.waits[0]))
        whole_run = self.watched()
        rebound = (bound.limits, bound.run[1:], bound.curriculum.run.cost_per_step) == (
            self.bound.limits, self.bound.run[1:], self.bound.curriculum.run.cost_per_step
        )  # fmt: skip
        self.bound, self.total, self.looks = bound, total, {}
        self.turns.append(Turn(self.step, "edit", self.stay.state, bound))
        kept = self.since if knobs == self.plans[-1][3] and rebound else {}
        known = {**{guard: since for guard, since in self.since.items() if whole_run[guard]}, **kept}
        self.since = {guard: known.get(guard, self.step) for guard in self.watched()}
        self.plans[-1] = self.plan(self.plans[-1][5])
        self.settle(-inf)

    def floors(self) -> dict[str, Any]:
        """The hardest value of each knob since the last regress, by its order then; none without an order."""
        since = max((turn.step for turn in self.turns if turn.regress), default=0)
        hardest: dict[str, Any] = {}
        for _, knobs, bound in (planned for planned in self.planned if planned[0] >= since):
            # A name, a list or a table is forgotten by a curriculum that doesn't have it.
            hardest = {k: v for k, v in hardest.items() if is_number(v) or (k in knobs and bound.ranks(k, v))}
            for knob, value in knobs.items():
                if bound.curriculum.knob[knob].order == "none":
                    hardest.pop(knob, None)
                elif (
                    knob not in hardest
                    or not bound.ranks(knob, hardest[knob])
                    or bound.harder(knob, value) > bound.harder(knob, hardest[knob])
                ):
                    hardest[knob] = value
        return hardest

    def plan(self, requests: tuple[Any, ...]) -> tuple[Any, ...]:
        name, over = self.stay.state, self.over(self.bound)
        state = next(s for s in self.bound.curriculum.state if s.name == name)
        knobs = self.bound.knobs(name, self.time, self.total)
        self.planned.append((self.step, knobs, self.bound))
        return (self.step, self.epochs(), name, knobs, rate(self), requests, state.stop or ("over" if over else None))

    def over(self, bound: Bound) -> bool:
        if ends(bound, {unit: self.counted(unit) for unit in units(bound)}):
            return True
        if bound.last is not None:
            return self.step >= bound.last
        return bound.run[0] is not None and self.epochs() >= bound.run[0]
