"""The detectors behind the guards: each sees the finite values of one metric in one state, O(1) amortised per value."""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import Any, Protocol

from plateau_rule.controller.language.curriculum import Diverging, Level, Patience

UNIT_ROUNDOFF = 2.0**-53
# What rounds below _TINY, and what could overflow, is left to exact sums: there the margin is larger than _HUGE.
_TINY, _HUGE = 1e-290, 1e290
_LOWEST_EXPONENT = 1074  # every float is an integer multiple of 2**-1074


class Detector(Protocol):
    """What a guard asks of the thing that watches a metric."""

    knows: int  # the least number of values after which the verdict can be anything but unknown
    needs: int  # the least number of values after which it can be true

    def push(self, value: float) -> None:
        """Take the next finite value."""

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why; one line without the verdict."""

    def contents(self) -> Any:
        """All that it remembers, as JSON-able data."""

    def restore(self, contents: Any) -> None:
        """Continue as the detector whose contents these are; raises ValueError or TypeError where they do not fit."""


class Halves:
    """The rule as published: the means of the older and the newer half of a window, compared.

    true when (mean of first half - mean of second half) / |mean of first half| < threshold. A loss that rises is true.
    window: values, at least 2; of an odd window the first half is the shorter one; a longer one fires later on average.
    threshold: relative; a larger one fires earlier or at the same value, never later.

    Decisions equal those of summing both halves anew with plain additions in order of arrival; a half whose mean is 0,
    or whose sum no float can hold, is unknown. Running sums decide as long as their rounding error, which is bounded,
    cannot matter; otherwise the halves are summed anew.
    """

    __slots__ = (
        "_error",
        "_first",
        "_largest",
        "_older",
        "_place",
        "_ring",
        "_since",
        "_younger",
        "knows",
        "needs",
        "threshold",
        "window",
    )

    def __init__(self, window: int, threshold: float) -> None:
        self.window, self.threshold = window, threshold
        self.knows = self.needs = window
        self._first = window // 2
        self._ring: list[float] = []
        self._place = 0  # where the oldest value stands, once the ring is full
        self._older = self._younger = 0.0  # running sums of the two halves
        self._largest = 0.0  # largest magnitude since the sums were made anew
        self._since = 0  # values since then
        # A sum of n values of magnitude <= M is off by at most n*n*M*u; each update adds at most (n + 5)*M*u to that.
        longer = window - self._first
        self._error = 4.0 * UNIT_ROUNDOFF * (longer * longer + window * (longer + 5)) * (1.0 + threshold)

    def push(self, value: float) -> None:
        """Take the next finite value."""
        ring = self._ring
        if len(ring) < self.window:
            ring.append(value)
            if len(ring) == self.window:
                self._sum_anew()
            return
        place = self._place
        middle = place + self._first
        leaving, crossing = ring[place], ring[middle if middle < self.window else middle - self.window]
        ring[place] = value
        self._place = place + 1 if place + 1 < self.window else 0
        self._since += 1
        if self._since >= self.window:
            self._sum_anew()
            return
        self._older += crossing - leaving
        self._younger += value - crossing
        if value > self._largest:
            self._largest = value
        elif -value > self._largest:
            self._largest = -value

    def _sum_anew(self) -> None:
        values = self._in_order()
        self._older, self._younger = plain_sum(values[: self._first]), plain_sum(values[self._first :])
        self._largest = max(map(abs, values))
        self._since = 0

    def _in_order(self) -> list[float]:
        return self._ring[self._place :] + self._ring[: self._place]

    def improvement(self) -> float | None:
        """The relative improvement, or None where the window is not full, a sum overflows, or the first mean is 0."""
        if len(self._ring) < self.window:
            return None
        self._sum_anew()
        first = self._older / self._first
        if first == 0 or not (isfinite(first) and isfinite(self._younger)):
            return None
        return (first - self._younger / (self.window - self._first)) / abs(first)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        if len(self._ring) < self.window:
            return None
        first = self._older / self._first
        size = abs(first)
        distance = first - self._younger / (self.window - self._first) - self.threshold * size
        margin = self._largest * self._error + _TINY
        if size > margin:
            if margin < distance < _HUGE:
                return False
            if -_HUGE < distance < -margin:
                return True
        if not self._largest:
            return None
        exact = self.improvement()
        return None if exact is None else exact < self.threshold

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        if len(self._ring) < self.window:
            return f"{len(self._ring)} of {self.window} losses"
        exact = self.improvement()
        if exact is None:
            return "the mean of the first half is 0, or a sum is too large for a float"
        return f"improved {100 * exact:.4g}% over {self.window} losses, flat under {100 * self.threshold:.4g}%"

    def contents(self) -> list[float]:
        """The values of the window, in order of arrival."""
        return self._in_order()

    def restore(self, contents: list[float]) -> None:
        """Continue as the detector whose contents these are."""
        if len(contents) > self.window:
            raise ValueError(f"{len(contents)} values for a window of {self.window}")
        self.__init__(self.window, self.threshold)  # type: ignore[misc]
        for value in contents:
            self.push(float(value))


def plain_sum(values: list[float]) -> float:
    """The sum by plain additions, in order."""
    total = 0.0
    for value in values:  # the builtin sum() compensates from Python 3.12 on, and would differ
        total += value
    return total


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
        self.__init__(self.size)  # type: ignore[misc]
        for value in values:
            self.push(float(value))


def _as_integer(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_LOWEST_EXPONENT + 1 - denominator.bit_length())


class NoNewBest:
    """`patience`: the smoothed metric has seen no new best by more than `min_delta` for `steps` values."""

    __slots__ = ("_best", "_mean", "_since", "knows", "needs", "spec")

    def __init__(self, spec: Patience) -> None:
        self.spec = spec
        self.knows, self.needs = spec.smooth, spec.smooth + spec.steps
        self._mean = RunningMean(spec.smooth)
        self._best: float | None = None
        self._since = 0

    def push(self, value: float) -> None:
        """Take the next finite value."""
        mean = self._mean.push(value)
        if mean is None:
            return
        if self._best is None or self._best - mean > self.spec.min_delta:
            self._best, self._since = mean, 0
        else:
            self._since += 1

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        return None if self._best is None else self._since >= self.spec.steps

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        if self._best is None:
            return f"{len(self._mean.values)} of {self.spec.smooth} values to smooth over"
        return f"no new best for {self._since} values, patience {self.spec.steps}; best {self._best:.6g}"

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {"values": list(self._mean.values), "best": self._best, "since": self._since}

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        self._mean.restore(contents["values"])
        self._best = None if contents["best"] is None else float(contents["best"])
        self._since = int(contents["since"])


class Beside:
    """`below` and `above`: the mean of the last values against a fixed value."""

    __slots__ = ("_mean", "below", "knows", "needs", "spec")

    def __init__(self, spec: Level, below: bool) -> None:
        self.spec, self.below = spec, below
        self.knows = self.needs = spec.window
        self._mean = RunningMean(spec.window)

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self._mean.push(value)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        mean = self._mean.mean()
        if mean is None:
            return None
        return mean < self.spec.value if self.below else mean > self.spec.value

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        mean = self._mean.mean()
        if mean is None:
            return f"{len(self._mean.values)} of {self.spec.window} values of {self.spec.metric}"
        return f"{self.spec.metric} {mean:.6g}, {'below' if self.below else 'above'} {self.spec.value:.6g} asked"

    def contents(self) -> list[float]:
        """The values of the window, in order of arrival."""
        return list(self._mean.values)

    def restore(self, contents: list[float]) -> None:
        """Continue as the detector whose contents these are."""
        self._mean.restore(contents)


class Growing:
    """`diverging`: the mean of the last half window has reached `factor` times the best one of this state.

    Of a negative best, the distance |best| * (factor - 1) is meant; a best of 0 has no multiple and stays unknown.
    """

    __slots__ = ("_best", "_count", "_mean", "knows", "needs", "spec")

    def __init__(self, spec: Diverging) -> None:
        self.spec = spec
        self.knows = self.needs = spec.window
        self._mean = RunningMean(spec.window - spec.window // 2)
        self._best: float | None = None
        self._count = 0  # values seen, up to the window

    def push(self, value: float) -> None:
        """Take the next finite value."""
        mean = self._mean.push(value)
        if self._count < self.spec.window:
            self._count += 1
        if mean is not None and (self._best is None or mean < self._best):
            self._best = mean

    def _bound(self) -> float | None:
        if self._best is None or self._best == 0 or self._count < self.spec.window:
            return None
        return self._best * self.spec.factor if self._best > 0 else self._best - self._best * (self.spec.factor - 1.0)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        bound, mean = self._bound(), self._mean.mean()
        return None if bound is None or mean is None else mean >= bound

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        bound = self._bound()
        if bound is None:
            return (
                "the best mean is 0"
                if self._best == 0
                else f"{self._count} of {self.spec.window} values of {self.spec.metric}"
            )
        return f"{self.spec.metric} {self._mean.mean():.6g}, diverging from {bound:.6g} on; best {self._best:.6g}"

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {"values": list(self._mean.values), "best": self._best, "count": self._count}

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        self._mean.restore(contents["values"])
        self._best = None if contents["best"] is None else float(contents["best"])
        self._count = int(contents["count"])
