"""`gap`: two stretches of a metric running have about the same mean.

It is the rule of the incremental Fourier neural operator, iFNO (George et al. 2024, "Incremental Spatial and Spectral
Learning of Neural Operators"): a mode is added when the losses of two epochs differ by no more than a constant, 1e-3 by
default. There the two epochs may lie on either side of a raise; here, as everywhere, a state forgets the losses of the
state before.
"""

from __future__ import annotations

from controller.detectors.windows import RunningMean


class Apart:
    """|mean of the last `stretch` values - mean of as many before them| <= value; both means exact, rounded once.

    stretch: values, at least 1. value: absolute, at least 0.
    """

    __slots__ = ("_newer", "_older", "knows", "needs", "value")

    def __init__(self, stretch: int, value: float) -> None:
        self.value = value
        self.knows = self.needs = 2 * stretch
        self._older, self._newer = RunningMean(stretch), RunningMean(stretch)

    def push(self, value: float) -> None:
        """Take the next finite value."""
        newer = self._newer
        if len(newer.values) == newer.size:
            self._older.push(newer.values[0])
        newer.push(value)

    def _means(self) -> tuple[float, float] | None:
        older, newer = self._older.mean(), self._newer.mean()
        return None if older is None or newer is None else (older, newer)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        means = self._means()
        return None if means is None else abs(means[0] - means[1]) <= self.value

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        means = self._means()
        if means is None:
            return f"{len(self._older.values) + len(self._newer.values)} of {self.needs} values"
        older, newer = means
        return f"{older:.6g}, then {newer:.6g}, {abs(older - newer):.3g} apart; at most {self.value:.3g} asked"

    def contents(self) -> list[float]:
        """The values of both stretches, in order of arrival."""
        return [*self._older.values, *self._newer.values]

    def restore(self, contents: list[float]) -> None:
        """Continue as the detector whose contents these are."""
        if len(contents) > self.needs:
            raise ValueError(f"{len(contents)} values for two stretches of {self.needs // 2}")
        self.__init__(self.needs // 2, self.value)  # type: ignore[misc]
        for value in contents:
            self.push(float(value))
