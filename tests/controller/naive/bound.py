"""A curriculum and what it was bound to: its states after merging, the ways out of them, and the knobs' values."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, islice, pairwise
from math import ceil, floor, inf, sqrt
from typing import Any, NamedTuple

from plateau_rule import Curriculum
from tests.controller.naive.counted import amount_of, measure, price, unit_of, units


def hard(value: Any) -> float:
    return inf if value == "full" else float(value)


def is_number(value: Any) -> bool:
    return value == "full" or isinstance(value, int | float)


def spell(curriculum: Curriculum) -> Curriculum:
    """The curriculum with a state of its own for each rung of a state that stands for many."""
    stands: dict[str, list[str]] = {}
    states = []
    for state in curriculum.state:
        stands[state.name] = [state.name]
        if state.each is None:
            states.append(state)
            continue
        rungs = curriculum.knob[state.each].ladder or []
        stands[state.name] = [f"{state.name}.{rung}" for rung in rungs]
        for rung in rungs:
            values = {**state.set, state.each: rung}
            states.append(state.model_copy(update={"name": f"{state.name}.{rung}", "set": values, "each": None}))
    every, ways = [state.name for state in states], []
    for way in curriculum.transition:
        old: Any = [way.from_] if isinstance(way.from_, str) else way.from_
        leaving: Any = [name for one in old for name in stands.get(one, [])]
        if way.to == "next":  # behind the last rung of the last state there is nothing
            leaving = "*" if way.from_ == "*" else [name for name in leaving if name != every[-1]]
        elif way.from_ == "*":
            leaving = [name for name in every if name not in stands[way.to]]
        to = way.to if way.to == "next" else stands[way.to][0]
        ways.append(way.model_copy(update={"from_": leaving, "to": to}))
    return curriculum.model_copy(update={"state": states, "transition": ways})


class Bound(NamedTuple):
    """A curriculum and what it was bound to at one time; `run` is epochs, steps_per_epoch, tokens_per_step."""

    curriculum: Curriculum
    limits: dict[str, float | None] | None
    run: tuple[int | None, int | None, Any]
    lead: dict[str, int] = {}  # noqa: RUF012  # never changed

    @property
    def last(self) -> int | None:
        """The run's length in steps, as far as nothing but steps decides it."""
        epochs, per_epoch, tokens = self.run
        ends = [] if epochs is None or per_epoch is None else [epochs * per_epoch]
        if self.curriculum.run.tokens and isinstance(tokens, int):
            ends.append(ceil(Fraction(self.curriculum.run.tokens, tokens)))
        return min(ends, default=None)

    @property
    def total(self) -> Any:
        """What shares of the run are taken of: steps, tokens, or cost."""
        unit, run = measure(self), self.curriculum.run
        return {"tokens": run.tokens, "cost": run.cost and Fraction(str(run.cost))}.get(unit, self.last)

    def steps(self, text: str, total: Any, since: int = 0, state: str | None = None, most: float = inf) -> Any:
        """An amount in steps, or more than `most`; one that knobs decide, from the entry into a state on."""
        if state is not None and unit_of(self, text) != "steps":
            time, counted, amount = 0, Fraction(0), amount_of(self, text, total)
            for time, knobs in enumerate(self.course(state, total)):
                if counted >= amount:
                    return time
                if time > most:
                    return inf
                counted += price(self, unit_of(self, text), knobs)
        if text == "rest":
            return 1 if total is None else max(0, total - since)
        number, unit = text.split()
        one = {
            "s": 1,
            "e": self.run[1],
            "t": Fraction(1, per if isinstance(per := self.run[2], int) else 1),
            "r": total,
        }[unit[0]]
        return ceil(Fraction(number) * Fraction(one))  # what a unit needs is known, or binding refuses

    def harder(self, knob: str, value: Any) -> float:
        """How hard a value is, among those of its knob; all are as hard where it has no order."""
        order, ladder = self.curriculum.knob[knob].order, self.curriculum.knob[knob].ladder or [1]
        if order == "up" and not is_number(ladder[0]):
            return float(ladder.index(value))
        return 0.0 if order == "none" else {"up": 1.0, "down": -1.0}[order] * hard(value)

    def ranks(self, knob: str, value: Any) -> bool:
        """Whether a value is one that this knob's order says something about."""
        ladder = self.curriculum.knob[knob].ladder or [1]
        return is_number(value) if is_number(ladder[0]) else value in ladder

    def clamped(self, knob: str, value: Any) -> Any:
        most = None if self.limits is None else self.limits[knob]
        return value if most is None or hard(value) <= most else most

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

    def at_once(self, place: int, to: str) -> bool:
        """Whether a transition waits for nothing."""
        stops = next(s for s in self.curriculum.state if s.name == to).stop is not None
        return stops or "rollback" in self.curriculum.transition[place].actions

    def wait(self, place: int, old: str, new: str) -> int:
        """How many steps a transition waits between two states."""
        if self.at_once(place, new):
            return 0
        one, other = (next(s for s in self.curriculum.state if s.name == name) for name in (old, new))
        changed = [knob for knob in self.lead if knob in {*one.ramp, *other.ramp}
                   or self.clamped(knob, one.set[knob]) != self.clamped(knob, other.set[knob])]  # fmt: skip
        return max([self.lead[knob] for knob in changed], default=0)

    def key(self, place: int) -> str:
        ways = [w.name or ",".join(w.from_ if isinstance(w.from_, list) else [w.from_]) + ">" + w.to
                for w in self.curriculum.transition]  # fmt: skip
        return f"{ways[place]} {ways[:place].count(ways[place])}"

    def knobs(self, name: str, time: int, total: Any) -> dict[str, Any]:
        return next(islice(self.course(name, total), time, None))

    def course(self, name: str, total: Any) -> Iterator[dict[str, Any]]:
        """The knobs on each step of a stay that never ends."""
        counted = {unit: Fraction(0) for unit in units(self)}
        for time in count():
            knobs = self._knobs(name, {"steps": Fraction(time), **counted}, total)
            yield knobs
            counted = {unit: before + price(self, unit, knobs) for unit, before in counted.items()}

    def _knobs(self, name: str, passed: dict[str, Fraction], total: Any) -> dict[str, Any]:
        state = next(s for s in self.curriculum.state if s.name == name)
        found = {knob: self.clamped(knob, state.set[knob]) for knob in self.curriculum.knob}
        for knob, ramp in state.ramp.items():
            low, high, unit = hard(found[knob]), hard(self.clamped(knob, ramp.to)), unit_of(self, ramp.over)
            over = self.steps(ramp.over, total) if unit == "steps" else amount_of(self, ramp.over, total)
            if passed[unit] >= over:
                found[knob] = "full" if high == inf else high
            elif high < inf:
                way, table = float(passed[unit] / over), self.curriculum.knob[knob]
                now = low + (high - low) * way if ramp.shape == "linear" else sqrt(low**2 + (high**2 - low**2) * way)
                if table.ladder and high < low:
                    now = min(
                        r for rung in table.ladder if min(low, now) <= (r := hard(self.clamped(knob, rung))) <= low
                    )
                elif table.ladder:
                    now = max(
                        r for rung in table.ladder if low <= (r := hard(self.clamped(knob, rung))) <= max(low, now)
                    )
                elif table.range and table.range.multiple_of:
                    whole = ceil if high < low else floor
                    now = whole(now / table.range.multiple_of) * table.range.multiple_of
                    now = min(low, now) if high < low else max(low, now)
                found[knob] = now
        return found
