"""Tokens and cost, as products of the knobs in force, and amounts of them."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any


def units(bound: Any) -> list[str]:
    """The clocks that follow the knobs."""
    run, knobs = bound.curriculum.run, bound.curriculum.knob
    costs = run.cost_per_step or any(knob.cost for knob in knobs.values())
    return [*["tokens"] * isinstance(bound.run[2], list | tuple), *["cost"] * bool(costs)]


def measure(bound: Any) -> str:
    """What shares of the run, and the rest, are amounts of."""
    run = bound.curriculum.run
    said = run.clock or ("cost" if run.cost else "tokens" if run.tokens else "steps")
    return said if said in units(bound) else "steps"


def unit_of(bound: Any, text: str) -> str:
    """What an amount is measured in, where the knobs decide it, or steps."""
    unit = text.split()[-1]
    if unit in ("run", "rest"):
        return measure(bound)
    unit = f"{unit.rstrip('s')}s" if unit != "cost" else unit
    return unit if unit in units(bound) else "steps"


def amount_of(bound: Any, text: str, total: Any, since: Fraction | int = 0) -> Fraction:
    """An amount of such a unit, in the parts that it is counted in."""
    if text == "rest":
        return max(Fraction(0), Fraction(total) - since)
    number, unit = text.split()
    whole = Fraction(number) * (total if unit == "run" else 1)
    parts = smallest(bound, unit_of(bound, text))
    return Fraction(-(-whole * parts // 1)) / parts


def smallest(bound: Any, unit: str) -> int:
    """How many of the smallest parts one of a unit has: millionths, for each number that prices are made of."""
    if unit == "tokens":
        return 1
    numbers = [factor for factor in bound.curriculum.run.cost_per_step or [] if not isinstance(factor, str)]
    return int(1_000_000 ** (len(numbers) + sum(knob.cost is not None for knob in bound.curriculum.knob.values())))


def price(bound: Any, unit: str, knobs: dict[str, Any]) -> Fraction:
    """What a step with these knobs counts."""
    factors = bound.run[2] if unit == "tokens" else bound.curriculum.run.cost_per_step or []
    product = Fraction(1) * prod(Fraction(str(knobs[f])) if isinstance(f, str) else Fraction(str(f)) for f in factors)
    for name, knob in bound.curriculum.knob.items() if unit == "cost" else ():
        if knob.cost:
            rungs = [bound.clamped(name, rung) for rung in knob.ladder]
            product *= Fraction(str(knob.cost[rungs.index(knobs[name])]))
    return product


def ends(bound: Any, counted: dict[str, Fraction]) -> bool:
    """Whether a run has used up what it may."""
    run, told = bound.curriculum.run, {unit: counted[unit] for unit in units(bound)}
    return any(unit in told and bound_ and told[unit] >= Fraction(str(bound_))
               for unit, bound_ in (("tokens", run.tokens), ("cost", run.cost)))  # fmt: skip


def bounds(bound: Any) -> tuple[Any, ...]:
    """All that may end a run."""
    return (*bound.run[:2], bound.curriculum.run.tokens, bound.curriculum.run.cost)
