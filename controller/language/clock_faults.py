"""Whether what a file says of its clocks, tokens and cost, fits together."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from plateau_rule.controller.errors import Fault, Key
from plateau_rule.controller.language.curriculum import FULL, Curriculum, Rung
from plateau_rule.controller.language.faults import unknown

MILLION = 10**6


def clock_faults(curriculum: Curriculum) -> Iterator[Fault]:
    """What is wrong with the clocks of a file."""
    run, path = curriculum.run, ("run",)
    for key in ("tokens_per_step", "cost_per_step"):
        written = getattr(run, key)
        if isinstance(written, list):
            yield from _product_faults(curriculum, key, written)
    for name, knob in curriculum.knob.items():
        if knob.cost is not None:
            yield from _price_faults(curriculum, name)
    if run.tokens is not None and run.tokens_per_step is None:
        yield Fault("clock-without-source", (*path, "tokens"), "tokens without tokens_per_step",
                    "tokens_per_step as well, a number or a product", at_key=True)  # fmt: skip
    counts_cost = run.cost_per_step is not None or any(knob.cost is not None for knob in curriculum.knob.values())
    if run.cost is not None and not counts_cost:
        yield Fault("clock-without-source", (*path, "cost"), "cost without a price of a step",
                    "cost_per_step, or a knob with cost = [ … ]", at_key=True)  # fmt: skip
    bounds = [name for name in ("epochs", "tokens", "cost") if getattr(run, name) is not None]
    clock = {"epochs": "steps"}
    if len(bounds) > 1 and run.clock is None:
        words = " or ".join(f'"{clock.get(name, name)}"' for name in bounds)
        yield Fault("clock-unsaid", path, f"{' and '.join(bounds)}, and no clock",
                    f"clock = {words}: what shares of the run are measured on", at_key=True)  # fmt: skip
    elif run.clock is not None and run.clock != "steps" and run.clock not in bounds:
        yield Fault("clock-without-source", (*path, "clock"), f'clock = "{run.clock}" without {run.clock}',
                    f"{run.clock} = NUMBER: where the run ends")  # fmt: skip
    if run.flop_per_token is not None and run.tokens_per_step is None:
        yield Fault("key-without-effect", (*path, "flop_per_token"), "flop_per_token without tokens_per_step",
                    "tokens_per_step as well", at_key=True)  # fmt: skip


def _product_faults(curriculum: Curriculum, key: str, factors: list[int | float | str]) -> Iterator[Fault]:
    for i, factor in enumerate(factors):
        here: tuple[Key, ...] = ("run", key, i)
        if isinstance(factor, str) and factor not in curriculum.knob:
            yield unknown("unknown-knob", here, "knob", factor, curriculum.knob)
        elif isinstance(factor, str) and factor in map(str, factors[:i]):
            yield Fault("duplicate-name", here, f'the knob "{factor}" a second time', "each knob once")
        elif isinstance(factor, str):
            yield from _value_faults(curriculum, factor, here)
        elif key == "tokens_per_step" and not isinstance(factor, int):
            yield Fault("out-of-range", here, f"found {factor}", "a whole number of at least 1")
        elif (Fraction(str(factor)) * MILLION).denominator != 1:
            yield Fault("out-of-range", here, f"found {factor}", "a number of at most six decimals")


def _value_faults(curriculum: Curriculum, name: str, here: tuple[Key, ...]) -> Iterator[Fault]:
    """A knob that is multiplied must always be a whole number of at least 1."""
    knob = curriculum.knob[name]
    if knob.range is not None:
        values: list[Rung] = [knob.range.min, knob.range.max, knob.range.multiple_of or 1]
    else:
        values = [*(knob.ladder or []), *(state.set[name] for state in curriculum.state if name in state.set)]
    odd = [value for value in values if value != FULL and not _is_count(value)]
    ramped = any(name in state.ramp for state in curriculum.state)
    if odd:
        yield Fault("uncounted-knob", here, f'the knob "{name}", which may be {odd[0]}',
                    "a knob whose values are whole numbers of at least 1")  # fmt: skip
    elif ramped and knob.ladder is None and (knob.range is None or knob.range.multiple_of is None):
        yield Fault("uncounted-knob", here, f'the knob "{name}", whose ramps go through every number',
                    "multiple_of in its range: whole numbers")  # fmt: skip


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and value >= 1 and float(value).is_integer()


def _price_faults(curriculum: Curriculum, name: str) -> Iterator[Fault]:
    knob, path = curriculum.knob[name], ("knob", name, "cost")
    prices = knob.cost or []
    if knob.ladder is None:
        yield Fault("key-without-effect", path, "cost in a knob without a ladder", "a ladder, one price for each rung",
                    at_key=True)  # fmt: skip
    elif len(prices) != len(knob.ladder):
        yield Fault("price-count", path, f"{len(prices)} prices for {len(knob.ladder)} rungs", "one for each rung")
    for i, price in enumerate(prices):
        if (Fraction(str(price)) * MILLION).denominator != 1:
            yield Fault("out-of-range", (*path, i), f"found {price}", "a price of at most six decimals")
