"""The clocks that follow the knobs: tokens, and cost. Each counts, at every step, a product of the knobs in force.

Counts are whole numbers, so that sums are exact: tokens; and cost in millionths, one such factor for each price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.language.amounts import Amount, Product, RunLength
from plateau_rule.controller.language.clock_faults import MILLION
from plateau_rule.controller.language.curriculum import FULL, Curriculum, Rung
from plateau_rule.controller.language.faults import unknown
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.ramps import BoundRamp
from plateau_rule.controller.tally import Counted, StayTally

Prices = Mapping[Rung, int]


class KnobClock(NamedTuple):
    """One clock that follows the knobs.

    Attributes:
        name: "tokens" or "cost", as amounts of it are written.
        scale: how many of its whole units one of those is.
        factor: what the knobs are multiplied by.
        knobs: those whose values are multiplied.
        prices: what further knobs multiply by, for each of their values.
        bound: where the run ends, in whole units; None where it does not say.
    """

    name: str
    scale: int
    factor: int
    knobs: tuple[str, ...]
    prices: Mapping[str, Prices]
    bound: int | None

    def price(self, knobs: Mapping[str, Any]) -> int:
        """What a step with these knobs counts, in whole units."""
        product = self.factor
        for name in self.knobs:
            product *= int(knobs[name])
        for name, prices in self.prices.items():
            product *= prices[knobs[name]]
        return product

    @property
    def counted(self) -> set[str]:
        """The knobs that decide what a step counts."""
        return {*self.knobs, *self.prices}

    def units(self, count: Fraction) -> int:
        """An amount in whole units, rounded up."""
        return ceil(count * self.scale)

    def shown(self, units: int) -> str:
        """A count as a file would write it."""
        return str(Amount(Fraction(units, self.scale), self.name))


def product_of(curriculum: Curriculum) -> int | Product | None:
    """`tokens_per_step` of a file; where no knob stands in the product, as the number that it is."""
    written = curriculum.run.tokens_per_step
    return whole_product(written) if isinstance(written, list) else written


def whole_product(factors: list[int | float | str] | Product) -> int | Product:
    """A product with its numbers multiplied, or the number alone."""
    number, knobs = 1, tuple(factor for factor in factors if isinstance(factor, str))
    for factor in factors:
        number *= factor if isinstance(factor, int) else 1
    return (number, *knobs) if knobs else number


def meters_of(
    curriculum: Curriculum, run: RunLength, limits: Mapping[str, float | None] | None
) -> tuple[KnobClock, ...]:
    """The meters of a bound curriculum; none where steps tell all."""
    found = []
    if isinstance(run.tokens_per_step, tuple):
        number, *names = run.tokens_per_step
        found.append(KnobClock("tokens", 1, int(number), tuple(map(str, names)), FrozenDict(), run.tokens))
    factors = curriculum.run.cost_per_step or []
    priced = {name: knob for name, knob in curriculum.knob.items() if knob.cost is not None}
    if factors or priced:
        scale, price = 1, Fraction(1)
        for factor in (factor for factor in factors if not isinstance(factor, str)):
            scale, price = scale * MILLION, price * Fraction(str(factor)) * MILLION  # at most six decimals each
        prices = {}
        for name, knob in priced.items():
            scale *= MILLION
            prices[name] = _prices(knob.ladder or [], knob.cost or [], None if limits is None else limits[name])
        bound = None if run.cost is None else ceil(run.cost * scale)
        knobs = [name for name in factors if isinstance(name, str)]
        found.append(KnobClock("cost", scale, int(price), tuple(knobs), FrozenDict(prices), bound))
    return tuple(found)


def _prices(ladder: list[Rung], cost: list[float], limit: float | None) -> Prices:
    """The price of each value; where a limit makes rungs equal, that of the easiest of them."""
    found: dict[Rung, int] = {}
    for rung, price in zip(ladder, cost, strict=True):
        over = limit is not None and hardness(rung) > limit
        found.setdefault(limit if over else rung, int(Fraction(str(price)) * MILLION))  # type: ignore[arg-type]
    return FrozenDict(found)


class CountedRamp(NamedTuple):
    """A ramp of a knob that a meter counts: how long it is, in steps or by the meter that measures it."""

    knob: str
    ramp: BoundRamp
    meter: int | None
    over: int


def tally_of(meters: tuple[KnobClock, ...], knobs: Mapping[str, Any], ways: Sequence[CountedRamp]) -> StayTally:
    """What meters count in a stay with such knobs, of which ramps move some."""

    def values(time: int, counted: Counted) -> tuple[Rung, ...]:
        return tuple(way.ramp.value(time if way.meter is None else counted[way.meter], way.over) for way in ways)

    def prices(values: tuple[Rung, ...]) -> Counted:
        moved = {way.knob: value for way, value in zip(ways, values, strict=True)}
        return tuple(meter.price({**knobs, **moved}) for meter in meters)

    def last(time: int, counted: Counted) -> bool:
        return all((time if way.meter is None else counted[way.meter]) >= way.over for way in ways)

    return StayTally(len(meters), values, prices, last)


# What does not fit a trainer


def product_faults(curriculum: Curriculum, run: RunLength) -> Iterator[Fault]:
    """A product that a trainer gives, with a knob that the curriculum does not have; and a bound without its source."""
    product = run.tokens_per_step if isinstance(run.tokens_per_step, tuple) else ()
    for name in product:
        if isinstance(name, str) and name not in curriculum.knob:
            yield unknown("unknown-knob", ("run", "tokens_per_step"), "knob", name, curriculum.knob)


def limit_faults(curriculum: Curriculum, run: RunLength, limits: Mapping[str, float | None] | None) -> Iterator[Fault]:
    """Knobs that are multiplied, and whose limit no whole number says."""
    tokens = run.tokens_per_step if isinstance(run.tokens_per_step, tuple) else ()
    for name in dict.fromkeys((*tokens, *(curriculum.run.cost_per_step or []))):
        if not isinstance(name, str):
            continue
        states = curriculum.state
        asked = [v for s in states for v in (s.set[name], *([s.ramp[name].to] if name in s.ramp else []))]
        limit = None if limits is None else limits[name]
        if limit is None and FULL in asked:
            yield Fault("unresolved-amount", ("knob", name), f'a clock counts "{name}", and full is no number yet',
                        "the limit that the trainer gives, such as --limit " + f"{name}=1024", at_key=True)  # fmt: skip
        elif limit is not None and not float(limit).is_integer():
            yield Fault("bad-limit", ("knob", name), f'a clock counts "{name}", and its limit is {limit}',
                        "a whole number", at_key=True)  # fmt: skip
