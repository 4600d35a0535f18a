"""All that happened in a run, and what conditions say of it."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from typing import Any, NamedTuple

from tests.controller.naive.bound import Bound
from tests.controller.naive.counted import price
from tests.controller.naive.measures import measured


def kept(guard: Any) -> bool:
    """Whether a guard sees the whole run."""
    return getattr(guard.value, "since", "state") == "run"


ENTRIES = ("start", "enter")


class Turn(NamedTuple):
    """What happened before a step: the start, an entry, an edit or an extension; and what was bound from then on."""

    step: int
    kind: str
    state: str
    bound: Bound
    actions: tuple[tuple[str, Any], ...] = ()
    regress: bool = False


class History:
    """What each step brought, and what turned the run."""

    def __init__(self, bound: Bound, lag: int) -> None:
        self.bound, self.lag = bound, lag
        self.seen: list[dict[str, Any]] = []  # what each step brought
        self.planned: list[tuple[int, dict[str, Any], Bound]] = []  # every step and knobs that were ever planned
        self.turns: list[Turn] = []
        self.since: dict[str, int] = {}  # from which step on each guard's values count
        self.total: int | None = None  # what shares of the run are measured on

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

    def counted(self, unit: str, step: int | None = None) -> Fraction:
        """What a clock that follows the knobs had counted before a step, by what was planned."""
        last = {at: (knobs, bound) for at, knobs, bound in self.planned}
        return sum(
            (price(bound, unit, knobs) for at, (knobs, bound) in last.items()
             if at < (self.step if step is None else step)), Fraction(0)
        )  # fmt: skip

    def late(self, metric: str = "loss") -> int:
        """The first step whose observation brings a value that belongs to this state."""
        return self.stay.step + (self.lag if metric == "loss" else 0)

    def nonfinite(self) -> int:
        losses = [said["loss"] for said in self.seen[self.late() :] if said["loss"] is not None]
        return next((n for n, loss in enumerate(reversed(losses)) if isfinite(loss)), len(losses))

    def values(self, guard: Any) -> list[float]:
        metric, since = guard.value.metric, self.since[self.named(guard)]
        seen = self.seen[since if kept(guard) else max(since, self.late(metric)) :]
        if metric == "loss":
            seen = [said for said in seen if not said.get("skipped") and not said["late"]]
        sign = -1.0 if self.rises(metric) and guard.word not in ("below", "above", "gap") else 1.0
        return [sign * said[metric] for said in seen if said.get(metric) is not None and isfinite(said[metric])]

    def comes_at(self, metric: str) -> str:
        told = self.bound.curriculum.metric.get(metric)
        return "step" if metric == "loss" else told.at if told else "eval"

    def rises(self, metric: str) -> bool:
        told = self.bound.curriculum.metric.get(metric)
        return told is not None and told.goal == "max"

    def spacing(self, metric: str) -> int:
        """Steps from one value of a metric to the next, where it is known."""
        told = self.bound.curriculum.metric.get(metric)
        often = (told and told.every) or {"step": "1 step", "epoch": "1 epoch"}.get(self.comes_at(metric))
        return max(1, self.bound.steps(often, self.total)) if often else 1

    def named(self, guard: Any) -> str:
        """A guard with all that is said of its metric."""
        metric = getattr(guard.value, "metric", None)
        return repr((guard, metric and self.bound.curriculum.metric.get(metric)))

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
            amount = asked if word == "dwell" else state.ramp[asked].over
            return self.time >= self.bound.steps(amount, self.total, state=state.name, most=self.time)
        over = None
        if word in ("gap", "plateau"):
            length = asked.over if word == "gap" else asked.per
            if length != "window":
                over = Fraction(self.bound.steps(length, self.total), self.spacing(asked.metric))
        return measured(word, asked, self.values(guard), over, self.rises(asked.metric))

    def watched(self) -> dict[str, bool]:
        """The guards of this state, and those of all that see the whole run; whether they do."""
        ways = self.bound.curriculum.transition
        here = [leaf for place, _ in self.bound.ways(self.stay.state) for leaf in self.leaves(ways[place].guards)]
        named = [leaf for guard in self.bound.curriculum.guard.values() for leaf in self.leaves([guard])]
        there = [leaf for way in ways for leaf in self.leaves(way.guards)] + named
        return {self.named(leaf): kept(leaf) for leaf in [*here, *filter(kept, there)]}
