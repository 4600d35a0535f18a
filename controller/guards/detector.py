"""What a guard asks of a detector, and means that are exact however long their window."""

from __future__ import annotations

from collections import deque
from copy import copy
from math import inf
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from plateau_rule.controller.guards.reading import Reading

UNIT_ROUNDOFF = 2.0**-53
Kind = TypeVar("Kind", bound="Slotted")
_LOWEST_EXPONENT = 1074  # every float is an integer multiple of 2**-1074


class Slotted(Protocol):
    """What says by name what it holds."""

    __slots__: tuple[str, ...]


class Soonest(NamedTuple):
    """After how many more values, at the least, a detector can give each verdict; 0 for the present one, or infinite.

    Values may be anything that is finite. What `trend`, `sure` and `returns` could say of them is not worked out: they
    are free whenever a block of theirs is full.
    """

    true: float
    false: float
    unknown: float

    @classmethod
    def of(cls, verdict: bool | None, true: float, false: float, unknown: float = inf) -> Self:
        """The same, where `verdict` is what it says now."""
        return cls(0 if verdict else true, 0 if verdict is False else false, 0 if verdict is None else unknown)


class Detector(Protocol):
    """What watches a metric for a guard: it sees the finite values of one state, at O(1) amortised for each."""

    knows: int  # the least number of values after which the verdict can be anything but unknown
    needs: int  # the least number of values after which it can be true

    def push(self, value: float) -> None:
        """Take the next finite value."""

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""

    def reading(self) -> Reading:
        """The value, the threshold and, where unknown, how much is missing; whoever asks it says its title."""

    def describe(self) -> str:
        """The text of its reading: one line without the verdict."""

    def distance(self) -> float:
        """How far it is from being true, in units of its own; infinite where that is not known."""

    def soonest(self) -> Soonest:
        """After how many more values, at the least, it can give each verdict."""

    def contents(self) -> Any:
        """All that it remembers, as JSON-able data."""

    def restore(self, contents: Any) -> None:
        """Continue as the detector whose contents these are; raises ValueError or TypeError where they do not fit."""

    def copy(self) -> Self:
        """Another one that goes on alike, to the bit; what one of them sees does not touch the other."""


def copy_of(detector: Kind) -> Kind:
    """A detector of the same class that goes on alike: what can change in place is its own, the rest is shared."""
    twin = copy(detector)
    for name in type(detector).__slots__:
        held = getattr(detector, name)
        if isinstance(held, RunningMean | deque):
            setattr(twin, name, held.copy())
        elif isinstance(held, list):
            nested = bool(held) and isinstance(held[0], deque)
            setattr(twin, name, [inner.copy() for inner in held] if nested else held.copy())
    return twin


class Mirrored:
    """A detector of a metric of which more is better: it is shown the values with their signs turned.

    Args:
        inner: made for values of which less is better; it knows whether it must turn them back to describe them.
    """

    __slots__ = ("inner", "knows", "needs")

    def __init__(self, inner: Detector) -> None:
        self.inner, self.knows, self.needs = inner, inner.knows, inner.needs

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self.inner.push(-value)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        return self.inner.verdict()

    def describe(self) -> str:
        """The text of its reading."""
        return self.reading().text

    def reading(self) -> Reading:
        """What the inner one says: an improvement is one in either direction."""
        found = self.inner.reading()
        return found._replace(text=found.text.replace(": falls ", ": rises ", 1))

    def distance(self) -> float:
        """What the inner one says."""
        return self.inner.distance()

    def soonest(self) -> Soonest:
        """What the inner one says: values may be anything."""
        return self.inner.soonest()

    def contents(self) -> Any:
        """All that it remembers, with the signs turned."""
        return self.inner.contents()

    def restore(self, contents: Any) -> None:
        """Continue as the detector whose contents these are."""
        self.inner.restore(contents)

    def copy(self) -> Mirrored:
        """Another one that goes on alike."""
        return Mirrored(self.inner.copy())


class RunningMean:
    """The mean of the last `size` values, exact and rounded once, however long the window: O(1) per value.

    Floats are summed as integer multiples of 2**-1074, so nothing is ever lost and nothing drifts.
    """

    __slots__ = ("_total", "size", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: deque[float] = deque()
        self._total = 0

    def push(self, value: float) -> float | None:
        """Take the next finite value; the mean, or None while the window is not full."""
        self.values.append(value)
        self._total += _as_integer(value)
        if len(self.values) > self.size:
            self._total -= _as_integer(self.values.popleft())
        return self.mean()

    def mean(self) -> float | None:
        """The mean, or None while the window is not full."""
        if len(self.values) < self.size:
            return None
        return self.values[0] if self.size == 1 else self._total / (self.size << _LOWEST_EXPONENT)

    def restore(self, values: list[float]) -> None:
        """Continue with these values in the window."""
        if len(values) > self.size:
            raise ValueError(f"{len(values)} values for a window of {self.size}")
        self.values, self._total = deque(), 0
        for value in values:
            self.push(float(value))

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)


def _as_integer(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_LOWEST_EXPONENT + 1 - denominator.bit_length())
