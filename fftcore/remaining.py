"""How long a run still takes, by what its steps have taken so far; what was never measured is not made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.plan import Plan

Price = tuple[tuple[str, float], ...]  # knobs that a step's time depends on, with their values
FREE = ("cutoff",)  # it changes the taps and not their number
SHORTEST_STEPS, LONGEST_STEPS = 50, 1000  # over which a mean goes
UNKNOWN = "…"
SURE_STEPS = 3  # fewer say nothing
ALIKE = 1.05  # two times that differ by less are one


class Remaining:
    """The time that is left, told for each step.

    A mean goes over the steps of about an epoch, evaluations and saves included; each size of step has its own.

    Args:
        machine: what the run follows.
        total_steps: of the run.
    """

    def __init__(self, machine: Machine, total_steps: int) -> None:
        self._machine, self._total_steps = machine, total_steps
        self._memory_steps = min(max(machine.steps_per_epoch or 0, SHORTEST_STEPS), LONGEST_STEPS)
        self._measured: dict[Price, tuple[int, float]] = {}
        self._evaluated = False
        self._ahead: dict[str, tuple[frozenset[Price], bool]] = {}

    def took(self, plan: Plan, seconds: float, evaluated: bool) -> None:
        """Take note of how long a step took, with all that came before the next one."""
        self.measure(self._price(plan.knobs), seconds, evaluated)

    def measure(self, price: Price, seconds: float, evaluated: bool) -> None:
        """Take note of how long a step of some size took; `evaluated` if an evaluation is in it."""
        count, mean_s = self._measured.get(price, (0, 0.0))
        count += 1
        self._measured[price] = count, mean_s + (seconds - mean_s) / min(count, self._memory_steps)
        self._evaluated |= evaluated

    def prices(self, plan: Plan) -> frozenset[Price]:
        """The sizes of steps that a run may come to from a plan on."""
        return self._ways(plan.state)[0] | {self._price(plan.knobs)}

    def told(self, plan: Plan) -> str:
        """Say how long the run still takes after the step of a plan."""
        left = self._total_steps - plan.step - 1
        return f"{self.time(plan, left)} left" if left > 0 else "the last step"

    def time(self, plan: Plan, left: int) -> str:
        """Say how long `left` steps take from a plan on.

        It is `at least` that where the run may come to steps of a size that was not measured yet, or no evaluation was.
        """
        here = self._price(plan.knobs)
        if self._measured.get(here, (0, 0.0))[0] < SURE_STEPS:
            return UNKNOWN
        prices = self.prices(plan)
        known = {price for price in prices if self._measured.get(price, (0, 0.0))[0] >= SURE_STEPS}
        times_s = [
            left * (self._measured[price][1] if price in known else self._scaled(price, here)) for price in prices
        ]
        least, most = in_words(min(times_s)), in_words(max(times_s))
        unknown = known != prices or not self._evaluated
        if self._ways(plan.state)[1]:
            return UNKNOWN if unknown else f"at most {most}"
        if unknown:
            return f"at least {least}"
        return least if max(times_s) < ALIKE * min(times_s) else f"{least} to {most}"

    def _price(self, knobs: Mapping[str, Any]) -> Price:
        limits = self._machine.limits or {}
        return tuple((name, knobs.get(name, limit)) for name, limit in limits.items() if name not in FREE)

    def _scaled(self, price: Price, here: Price) -> float:
        """Guess from below what a step of another size takes: no more than in proportion, and no less than one here."""
        tokens, depth = (size(price) / size(here) for size in (_tokens, _depth))
        return self._measured[here][1] * min(1.0, tokens) * min(1.0, depth)

    def _ways(self, name: str) -> tuple[frozenset[Price], bool]:
        """The sizes of steps that a run may come to from a state, and whether it may end before its last step."""
        if name not in self._ahead:
            states = list(_ahead(self._machine, name))
            prices = frozenset(self._price(knobs) for state in states for knobs in _knobs(state))
            may_end = bool(self._machine.bounds) or any(state.stop is not None for state in states)
            self._ahead[name] = prices, may_end
        return self._ahead[name]


def _ahead(machine: Machine, name: str) -> Iterator[BoundState]:
    """A state, and those that a run may come to from it."""
    seen, todo = {name}, [name]
    while todo:
        state = machine.by_name[todo.pop()]
        yield state
        new = {way.target for way in state.transitions} - seen
        seen |= new
        todo += sorted(new)


def _knobs(state: BoundState) -> Iterator[Mapping[str, Any]]:
    """What the knobs of a state are, and what they end at where they move."""
    yield state.knobs
    if state.ramps:
        yield {**state.knobs, **{name: ramp.end for name, ramp in state.ramps.items()}}


def _tokens(price: Price) -> float:
    sizes = dict(price)
    return sizes.get("batch_size", 1) * sizes.get("seq_len", 1)


def _depth(price: Price) -> float:
    return dict(price).get("depth", 1)


def in_words(seconds: float) -> str:
    """Spell a duration in two units at most."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{hours // 24} d {hours % 24} h"
