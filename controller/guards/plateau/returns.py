"""`method = "returns"`: diminishing returns; it asks for a share of what the state has brought, not for a rate.

The whole time in the state is kept as 16 to 31 equal blocks; when there would be 32, neighbours are merged and the
width doubles. So a run that is stretched in time, or a loss that is multiplied, is judged at the same place.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import inf, sqrt
from typing import Any, NamedTuple, Self

from plateau_rule.controller.guards.detector import Soonest, copy_of
from plateau_rule.controller.guards.plateau.student import quantile
from plateau_rule.controller.guards.plateau.trend import four_valued

BLOCKS = 16  # the least number that it decides on; twice as many are merged
BLOCK = 20  # losses in a block at first: so that a spike or two do not decide, nor the correlation of neighbours
CONFIDENCE = 0.99
NOTHING = 0.005  # a share of the loss: what a state must have changed to have brought anything
NOTHING_FROM = 64 * BLOCK  # losses, before nothing is called nothing
_LARGEST = sys.float_info.max


class Yield(NamedTuple):
    """What a state's blocks say; gain, error and total are shares of the largest block mean."""

    gain: float  # by how much the last half of the time lowered the loss
    error: float  # of the gain, on either side
    total: float  # by how much the whole time did
    verdict: str  # flat, improving, worsening, undecided, or nothing: the state changes nothing


def judged(means: Sequence[float], share: float, may_be_nothing: bool) -> Yield:
    """What block means, in order, say about the time that they cover; `means` not all 0.

    The gain is the level of the eighth in the middle of the time above that of the last eighth; the total that of the
    first block, or of any later place that two neighbours bear out (one spike is no level), above the last eighth. The
    error of a block comes from second differences in the later half, which no slope and little curvature disturb; two
    of them make one degree of freedom.
    """
    count = len(means)
    size = max(map(abs, means))
    y = [mean / size for mean in means]
    half, eighth = count // 2, count // 8
    before = half - eighth // 2
    last = _mean(y[-eighth:])
    gain = _mean(y[before : before + eighth]) - last
    total = max(y[0], *(sorted(y[i : i + 3])[1] for i in range(count - 2))) - last
    rough = 0.0
    for i in range(count - half, count - 2):
        second = y[i] - 2.0 * y[i + 1] + y[i + 2]
        rough += second * second
    block_error = quantile(CONFIDENCE, (half - 2) // 2) * sqrt(rough / (6.0 * (half - 2)))
    error = block_error * sqrt(2.0 / eighth)
    apart, apart_error = abs(_mean(y[:half]) - _mean(y[-half:])), block_error * sqrt(2.0 / half)
    if may_be_nothing and apart + apart_error < NOTHING * abs(last):
        return Yield(gain, error, total, "nothing")
    if total <= 0.0:
        return Yield(gain, error, total, "worsening" if gain + error < 0.0 else "undecided")
    return Yield(gain, error, total, four_valued(gain, error, share * total))


def _mean(values: Sequence[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


class Returns:
    """The last half of the time in this state has brought less than `share` of what the state has brought.

    It decides from 320 values on, whenever a block is full: every 20 values at first, later at steps of a sixteenth to
    a thirty-second of the time. A state that changes the loss by less than half a percent is a plateau too, from 1280
    values on. A loss that rises is none; what cannot be told yet is unknown.

    Args:
        share: above 0, below 1; a larger one fires earlier or at the same value, never later.
    """

    __slots__ = ("_decided", "_means", "_open", "_room", "_seen", "_verdict", "_width", "knows", "needs", "share")

    def __init__(self, share: float = 0.1) -> None:
        self.share = share
        self.knows = self.needs = BLOCKS * BLOCK
        self._seen = 0
        self._width = self._room = BLOCK  # values in a block, and until the open one is full
        self._open = 0.0  # the open block's mean, once it is full
        self._means: list[float] = []
        self._verdict: bool | None = None
        self._decided = True  # whether the verdict is that of the blocks as they are

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self._seen += 1
        self._open += value / self._width  # divided first: a sum of large losses would overflow
        self._room -= 1
        if not self._room:
            self._close()

    def _close(self) -> None:
        means = self._means
        means.append(min(max(self._open, -_LARGEST), _LARGEST))
        if len(means) == 2 * BLOCKS:
            self._means = [0.5 * means[i] + 0.5 * means[i + 1] for i in range(0, 2 * BLOCKS, 2)]
            self._width *= 2
        self._room, self._open, self._decided = self._width, 0.0, False

    def judgement(self) -> Yield | None:
        """What the blocks say, or None where there are too few, or no loss but 0."""
        if len(self._means) < BLOCKS or not any(self._means):
            return None
        return judged(self._means, self.share, len(self._means) * self._width >= NOTHING_FROM)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        if not self._decided:
            found = self.judgement()
            unknown = found is None or found.verdict == "undecided"
            self._verdict = None if unknown else found.verdict in ("flat", "nothing")  # type: ignore[union-attr]
            self._decided = True
        return self._verdict

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        if self._seen < self.knows:
            return f"{self._seen} of {self.knows} losses"
        found, blocks = self.judgement(), f"{len(self._means)} blocks of {self._width} losses"
        if found is None:
            return f"every loss is 0, in {blocks}"
        if found.verdict == "nothing":
            return f"nothing: the halves of the state differ by less than {NOTHING:.1%} of the loss, in {blocks}"
        if found.total <= 0.0:
            return f"{found.verdict}: the state has brought nothing yet, in {blocks}"
        low, high = ((found.gain + sign * found.error) / found.total for sign in (-1.0, 1.0))
        return (
            f"{found.verdict}: the last half brought {100 * low:.3g}% to {100 * high:.3g}% of what the state brought, "
            f"in {blocks}; flat under {100 * self.share:.3g}%"
        )

    def distance(self) -> float:
        """Not known: it says what it is sure of, and not how nearly it is."""
        return inf

    def soonest(self) -> Soonest:
        """Any way when a block is full, once there are enough; what the blocks allow is not worked out."""
        room = max(self._room, self.knows - self._seen)
        return Soonest.of(self.verdict(), room, room, room)

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {"seen": self._seen, "open": self._open, "means": list(self._means)}

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        seen, means, width = int(contents["seen"]), list(map(float, contents["means"])), BLOCK
        while seen // width >= 2 * BLOCKS:
            width *= 2
        if len(means) != seen // width:
            raise ValueError(f"{len(means)} means; {seen} values make {seen // width}")
        self._seen, self._open, self._means = seen, float(contents["open"]), means
        self._width, self._room = width, width - seen % width
        self._verdict, self._decided = None, False

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)
