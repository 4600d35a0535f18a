"""All that happened in a run, and what conditions say of it."""

from __future__ import annotations

from math import isfinite
from typing import Any, NamedTuple

from tests.controller.naive.bound import Bound
from tests.controller.naive.measures import measured

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
        over = None
        if word in ("gap", "plateau"):
            length = asked.over if word == "gap" else asked.per
            over = None if length == "window" else self.bound.steps(length, self.total)
        return measured(word, asked, self.values(asked.metric, self.since[repr(guard)]), over)

    def watched(self) -> list[str]:
        ways = self.bound.curriculum.transition
        return [repr(leaf) for place, _ in self.bound.ways(self.stay.state) for leaf in self.leaves(ways[place].guards)]
