"""A second interpreter of the language, written from its reference and sharing nothing but the models with the first.

It keeps the whole history and computes everything anew from it: slow, and short enough to be read beside the reference.
Saving is a deep copy; where an edited curriculum would lower a knob or lose the state, `edit` refuses with LookupError.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from itertools import pairwise
from math import ceil, cos, floor, inf, isfinite, pi, sqrt
from operator import add
from typing import Any, NamedTuple

from controller import Curriculum

ENTRIES = ("start", "enter")


def hard(value: Any) -> float:
    return inf if value == "full" else float(value)


def mean(values: list[float]) -> float:
    return float(sum(map(Fraction, values)) / len(values)) if len(values) > 1 else values[0]


def means(values: list[float], size: int) -> list[float]:
    return [mean(values[i : i + size]) for i in range(len(values) - size + 1)]


def amount(text: str) -> tuple[Fraction | None, str]:
    number, _, unit = text.partition(" ")
    return (Fraction(number), unit[0]) if unit else (None, number)


class Bound(NamedTuple):
    """A curriculum and what it was bound to at one time; `run` is epochs, steps_per_epoch, tokens_per_step."""

    curriculum: Curriculum
    limits: dict[str, float] | None
    run: tuple[int | None, int | None, int | None]

    @property
    def total(self) -> int | None:
        return None if None in self.run[:2] else self.run[0] * self.run[1]  # type: ignore[operator]

    def steps(self, text: str, total: int | None, since: int = 0) -> int:
        if text == "rest":
            return 1 if total is None else max(0, total - since)
        number, unit = text.split()
        one = {"s": 1, "e": self.run[1], "t": Fraction(1, self.run[2] or 1), "r": total}[unit[0]]
        return ceil(Fraction(number) * one)  # type: ignore[operator]

    def clamped(self, knob: str, value: Any) -> Any:
        return value if self.limits is None or hard(value) <= self.limits[knob] else self.limits[knob]

    def became(self) -> dict[str, str]:
        """For every state the one that it was merged into by clamping, most often itself."""
        kept: dict[str, Any] = {}
        found = {}
        for s in self.curriculum.state:
            written = [(k, v, s.ramp[k].to if k in s.ramp else v, k in s.ramp) for k, v in sorted(s.set.items())]
            limited = [(k, self.clamped(k, v), self.clamped(k, top), ramped) for k, v, top, ramped in written]
            twins = [name for name, (same, raw) in kept.items() if same == limited and raw != written]
            found[s.name] = twins[0] if twins else s.name
            kept |= {} if twins else {s.name: (limited, written)}
        return found

    def ways(self, name: str) -> list[tuple[int, str]]:
        """The transitions out of a state: their places in the file, and the states that they enter."""
        became = self.became()
        written, names = list(became), [state for state in became if became[state] == state]
        following = dict(pairwise(names)).get(name)
        found: list[tuple[int, str]] = []
        for place, way in enumerate(self.curriculum.transition):
            sources = way.from_ if isinstance(way.from_, list) else [way.from_]
            if sources == ["*"]:
                sources = written[:-1] if way.to == "next" else [state for state in written if state != way.to]
            for source in (source for source in sources if became[source] == name):
                to = following if way.to == "next" else became[way.to]
                if to is not None and (to != name or way.to == source) and (place, to) not in found:
                    found.append((place, to))
        return found

    def knobs(self, name: str, time: int, total: int | None) -> dict[str, Any]:
        state = next(s for s in self.curriculum.state if s.name == name)
        found = {knob: self.clamped(knob, state.set[knob]) for knob in self.curriculum.knob}
        for knob, ramp in state.ramp.items():
            low, high, over = hard(found[knob]), hard(self.clamped(knob, ramp.to)), self.steps(ramp.over, total)
            if time >= over:
                found[knob] = "full" if high == inf else high
            elif high < inf:
                way, table = time / over, self.curriculum.knob[knob]
                now = low + (high - low) * way if ramp.shape == "linear" else sqrt(low**2 + (high**2 - low**2) * way)
                if table.ladder:
                    now = max(
                        r for rung in table.ladder if low <= (r := hard(self.clamped(knob, rung))) <= max(low, now)
                    )
                elif table.range and table.range.multiple_of:
                    now = max(low, floor(now / table.range.multiple_of) * table.range.multiple_of)
                found[knob] = now
        return found


class Turn(NamedTuple):
    """What happened before a step: the start, an entry, an edit or an extension; and what was bound from then on."""

    step: int
    kind: str
    state: str
    bound: Bound
    actions: tuple[tuple[str, Any], ...] = ()
    regress: bool = False


class Naive:
    """Interprets a curriculum against a history of observations."""

    def __init__(self, bound: Bound, lag: int = 0) -> None:
        self.lag, self.bound = lag, bound
        self.seen: list[dict[str, Any]] = []  # what each step brought
        self.turns: list[Turn] = []
        self.plans: list[tuple[Any, ...]] = []  # step, epoch, state, knobs, lr, requests, stop
        self.planned: list[tuple[int, dict[str, Any]]] = []  # every step and knobs that were ever planned
        self.taken: list[str] = []  # keys of the transitions that were taken
        self._enter(Turn(0, "start", bound.curriculum.state[0].name, bound))

    @property
    def step(self) -> int:
        return len(self.seen)

    @property
    def stay(self) -> Turn:
        return [turn for turn in self.turns if turn.kind in ENTRIES][-1]

    @property
    def time(self) -> int:
        return self.step - self.stay.step

    def epochs(self, since: int = 0) -> int:
        return sum(said["closes"] for said in self.seen[since:])

    def late(self, metric: str = "loss") -> int:
        """The first step whose observation brings a value that belongs to this state."""
        return self.stay.step + (self.lag if metric == "loss" else 0)

    def nonfinite(self) -> int:
        losses = [said["loss"] for said in self.seen[self.late() :] if said["loss"] is not None]
        return next((n for n, loss in enumerate(reversed(losses)) if isfinite(loss)), len(losses))

    def values(self, metric: str, since: int) -> list[float]:
        seen = [
            said for said in self.seen[max(since, self.late(metric)) :] if metric != "loss" or not said.get("skipped")
        ]
        return [said[metric] for said in seen if said.get(metric) is not None and isfinite(said[metric])]

    def leaves(self, conditions: list[Any]) -> list[Any]:
        found: list[Any] = []
        for guard in map(self.bound.curriculum.resolve, conditions):
            inner = {"any": guard.any, "all": guard.all, "not": [guard.not_]}.get(guard.word)
            found += [guard] if inner is None else self.leaves(inner)
        return found

    def holds(self, condition: Any) -> Any:
        guard = self.bound.curriculum.resolve(condition)
        word, asked = guard.word, guard.value
        if word in ("any", "all"):
            found = {self.holds(part) for part in asked}
            return word == "any" if (word == "any") in found else None if None in found else word != "any"
        if word == "not":
            return None if (inner := self.holds(asked)) is None else not inner
        if word in ("min_epoch", "min_step", "nonfinite"):
            return {"min_epoch": self.epochs(), "min_step": self.step, "nonfinite": self.nonfinite()}[word] >= asked
        if word == "dwell" and "epoch" in asked and self.bound.run[1] is None:
            return self.epochs(self.stay.step) >= int(asked.split()[0])
        if word in ("dwell", "ramp_done"):
            state = next(s for s in self.bound.curriculum.state if s.name == self.stay.state)
            return self.time >= self.bound.steps(asked if word == "dwell" else state.ramp[asked].over, self.total)
        return self.measured(word, asked, self.values(asked.metric, self.since[repr(guard)]))

    def measured(self, word: str, asked: Any, values: list[float]) -> Any:
        if word == "patience":
            best, waited = None, 0
            for value in means(values, asked.smooth):
                better = best is None or best - value > asked.min_delta
                best, waited = (value, 0) if better else (best, waited + 1)
            return None if best is None else waited >= asked.steps
        if word == "gap":
            over = self.bound.steps(asked.over, self.total)
            size = next(n for n in range(1, over + 1) if over % n == 0 and over // n <= 64)
            blocks = [values[i : i + size] for i in range(0, len(values) - size + 1, size)]
            found = means([reduce(add, [v / size for v in block], 0.0) for block in blocks], over // size)
            return abs(found[-1 - over // size] - found[-1]) <= asked.value if len(values) >= 2 * over else None
        if len(values) < asked.window:
            return None
        if word in ("below", "above"):
            now = mean(values[-asked.window :])
            return now < asked.value if word == "below" else now > asked.value
        half = asked.window // 2
        if word == "diverging":
            found = means(values, asked.window - half)
            best = min(found)
            bound = best * asked.factor if best > 0 else best - best * (asked.factor - 1.0)
            return None if best == 0 else found[-1] >= bound
        older, newer = values[-asked.window :][:half], values[-asked.window :][half:]
        first, second = (reduce(add, part, 0.0) / len(part) for part in (older, newer))
        per = None if asked.per == "window" else self.bound.steps(asked.per, self.total)
        flat = asked.threshold if per is None else asked.threshold * (asked.window / 2) / per
        known = first != 0 and isfinite(first) and isfinite(second)
        return (first - second) / abs(first) < flat if known else None

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
            if looked_at and answers and self.taken.count(self.key(place)) < (way.at_most or inf):
                self.looks.setdefault(place, []).append(all(self.holds(guard) is True for guard in way.guards))
                if self.looks[place][-way.sustain :] == [True] * way.sustain:
                    return self._take(place, to, said["loss"])
        self.plans.append(self.plan(()))
        if dead:
            raise ArithmeticError("so many in a row")
        return None

    def key(self, place: int) -> str:
        ways = [w.name or ",".join(w.from_ if isinstance(w.from_, list) else [w.from_]) + ">" + w.to
                for w in self.bound.curriculum.transition]  # fmt: skip
        return f"{ways[place]} {ways[:place].count(ways[place])}"

    def _take(self, place: int, to: str, loss: float | None) -> tuple[Any, ...]:
        way, before = self.bound.curriculum.transition[place], self.plans[-1]
        self.taken.append(self.key(place))
        actions = tuple((a, None) if isinstance(a, str) else (a.word, a.value) for a in way.actions)
        self._enter(Turn(self.step, "enter", to, self.bound, actions, way.regress))
        now, title = self.plans[-1], way.name or f"transition {place + 1}"
        return (*now[:2], before[2], to, title, before[3], now[3], before[4], now[4], loss)

    def _enter(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.looks: dict[int, list[bool]] = {}  # at each transition: whether its guards were true
        self.since = dict.fromkeys(self._watched(), turn.step)  # from which step on each guard's values count
        self.total = turn.bound.total  # what shares of the run are measured on
        self.plans.append(self.plan(tuple(a for a in turn.actions if not a[0].startswith("lr_"))))

    def _watched(self) -> list[str]:
        ways = self.bound.curriculum.transition
        return [repr(leaf) for place, _ in self.bound.ways(self.stay.state) for leaf in self.leaves(ways[place].guards)]

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
        self.since = {guard: kept.get(guard, self.step) for guard in self._watched()}
        self.plans[-1] = self.plan(self.plans[-1][5])

    def plan(self, requests: tuple[Any, ...]) -> tuple[Any, ...]:
        name, over = self.stay.state, self.over(self.bound)
        state = next(s for s in self.bound.curriculum.state if s.name == name)
        knobs = self.bound.knobs(name, self.time, self.total)
        self.planned.append((self.step, knobs))
        return (self.step, self.epochs(), name, knobs, self.lr(), requests, state.stop or ("over" if over else None))

    def over(self, bound: Bound) -> bool:
        if bound.total is not None:
            return self.step >= bound.total
        return bound.run[0] is not None and self.epochs() >= bound.run[0]

    def lr(self) -> float:
        """The rate, from every turn since the start; of `amounts`, the one at `cycle` or the only one is in force."""
        anchor, warm, cycle, length, scale, amounts, written = 0, 0, 0, 0, 1.0, [""], ""
        bound, run, own = self.bound, self.bound.curriculum.lr, self.bound.curriculum.state[0].lr
        for turn in [*self.turns, Turn(self.step, "now", self.stay.state, self.bound)]:
            while cycle + 1 < len(amounts) and turn.step >= anchor + warm + length:
                anchor, warm, cycle = anchor + warm + length, 0, cycle + 1
                written = amounts[cycle]
                length = bound.steps(written, bound.total, anchor)
            bound, run = turn.bound, turn.bound.curriculum.lr
            own = next(s for s in bound.curriculum.state if s.name == turn.state).lr
            cycle = min(cycle, len(run.cycles or [""]) - 1)
            amounts = [own.length or run.length or "rest"] if own.length or not run.cycles else run.cycles
            now = amounts[cycle] if len(amounts) > 1 else amounts[0]
            warmup = bound.steps(run.warmup, bound.total) if run.warmup else 0
            if turn.kind == "start":
                warm = warmup
            if turn.kind != "extend" and amount(now) != amount(written):
                written, length = now, bound.steps(now, bound.total, anchor)
            for word, factor in turn.actions:
                if word == "lr_restart":
                    anchor, warm = turn.step, warmup if run.rewarm else 0
                    length = bound.steps(now, bound.total, anchor)
                scale *= factor if word == "lr_scale" else 1.0
        passed, top = self.step - anchor, run.peak * scale * own.peak
        if passed < warm:
            return float(top * ((passed + 1) / (warm + 1)))
        x = 0.0 if passed == warm else 1.0 if passed - warm >= length else (passed - warm) / length
        low = run.floor if own.floor is None else own.floor
        decay = run.decay if own.decay is None else own.decay
        wsd = 1.0 if x < 1.0 - decay else min(1.0, (1.0 - x) / decay)
        shapes = {"constant": 1.0, "linear": 1.0 - x, "cosine": 0.5 * (1.0 + cos(pi * x)), "wsd": wsd}
        return float(top * (low + (1.0 - low) * shapes[own.shape or run.shape]))
