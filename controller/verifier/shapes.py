"""Simple shapes of a metric over a stay, of which some bring about what a trace says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import exp, inf, log, nan
from typing import NamedTuple

from plateau_rule.controller.guards.word import Hint

SETTLING = 12.0  # time constants in a stay that settles
LARGEST_LOG = 500.0  # of a ratio between the first and the last value of a stay


class Shape(NamedTuple):
    """The values of one metric in one stay: a body, and other values for the last observations."""

    body: str
    level: float
    per_step: float
    tail: str
    tail_steps: int

    def values(self, steps: int) -> Iterator[float]:
        """So many values, made as they are asked for: most shapes turn out to be wrong soon."""
        left, body = steps - self.tail_steps, _BODIES[self.body]
        last = self.level
        for i in range(left):
            last = body(self.level, self.per_step, i, left)
            yield last
        tail = _TAILS[self.tail](last, self.level)
        for _ in range(self.tail_steps):
            yield tail


_BODIES: dict[str, Callable[[float, float, int, int], float]] = {
    "settles": lambda level, by, i, n: level * (1.0 + exp(-by * i / n)),  # falls, then lies flat, as losses do
    "flat": lambda level, by, i, n: level,
    "falls": lambda level, by, i, n: level * by ** (n - i),
    "slides": lambda level, by, i, n: level + (by - 1.0) * level * (n - i),
    "sinks": lambda level, by, i, n: -level * by**i,
    "rises": lambda level, by, i, n: level * by**i,
}
_TAILS: dict[str, Callable[[float, float], float]] = {
    "flat": lambda last, level: last,
    "up": lambda last, level: max(abs(last), 1.0) * 1e3,
    "down": lambda last, level: -max(abs(last), 1.0) * 1e3,
    "level": lambda last, level: level,
    "nan": lambda last, level: nan,
}


def shapes_of(asked: list[Hint], steps: int, span: int, nonfinite: list[int], unheard: int = 0) -> Iterator[Shape]:
    """Shapes of a metric over a stay, the simplest first; in one as short as `unheard` there may be none at all."""
    bounds = sorted({float(level) for hint in asked for level in hint.levels})
    levels = levels_between(bounds)
    ratios = [ratio for ratio in ratios_of(asked) if steps * log(ratio) < LARGEST_LOG] or [1.0]
    moving = [(body, ratio) for ratio in ratios for body in ("falls", "slides", "sinks", "rises")]
    lengths = {span, *(span - 1 + need for hint in asked for need in (hint.needs, hint.needs // 2, hint.needs - 1))}
    lengths |= {hint.needs + extra for hint in asked for extra in (-1, 0)}
    ended = [(tail, length) for tail in ("up", "down", "flat", "level") if asked for length in sorted(lengths)]
    ended = [("nan", span - 1 + count) for count in nonfinite] + ended
    fitting = [(tail, length) for tail, length in ended if 0 < length <= steps]
    yield from (Shape("flat", level, 1.0, "flat", 0) for level in levels)
    if any(not hint.levels for hint in asked):  # it is no matter of levels, but of how the metric moves
        yield from (Shape("settles", level, by, "flat", 0) for by in (SETTLING, 4.0 * SETTLING) for level in levels)
    # A flat body shows at once where it does not hold a stay.
    turning = [end for end in fitting if end[0] not in ("flat", "level")]
    yield from (Shape("flat", level, 1.0, *end) for end in turning for level in levels)
    yield from (Shape("flat", level, 1.0, "flat", 0) for level in bounds)
    if asked and steps <= unheard:
        yield Shape("flat", levels[0], 1.0, "nan", steps)
    yield from (Shape(body, level, ratio, "flat", 0) for body, ratio in moving for level in levels)
    yield from (Shape(body, level, ratio, *end) for body, ratio in moving for end in fitting for level in levels)


def levels_between(bounds: list[float]) -> list[float]:
    """A value above, between and below some bounds."""
    if not bounds:
        return [4.0]
    edges = [-inf, *bounds, inf]
    found = []
    for low, high in pairwise(edges):
        if low == -inf:
            found.append(high / 2 if high > 0 else high * 2 - 1)
        elif high == inf:
            found.append(low * 2 if low > 0 else low / 2 + 1)
        else:
            found.append((low + high) / 2)
    return found[::-1]


def ratios_of(asked: list[Hint]) -> list[float]:
    """How fast a metric falls, as a ratio for each step: surely an improvement for every guard, then gentler."""
    found = [1.001, *(hint.ratio for hint in asked if hint.ratio is not None)]
    return sorted({max(found), found[0], found[-1]}, reverse=True)
