"""`method = "returns"`: diminishing returns; it asks for a share of what the state has brought, not for a rate.

The whole time in the state is kept as 32 to 63 equal blocks; when there would be 64, neighbours are merged and the
width doubles. So a run that is stretched in time, or a loss that is multiplied, is judged at the same place. Beside
them it keeps the highest mean that it has seen of 20, 40, 80 ... losses in a row, which no merging blurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import inf, sqrt
from typing import Any, NamedTuple, Self

from plateau_rule.controller.guards.detector import Soonest, copy_of
from plateau_rule.controller.guards.plateau.blocks import BLOCK, FLOOR, trimmed
from plateau_rule.controller.guards.plateau.student import quantile
from plateau_rule.controller.guards.plateau.trend import four_valued
from plateau_rule.controller.guards.reading import Reading, finite, measured

UNIT = "% of what the state brought"
BLOCKS = 32  # the least number that it decides on; twice as many are merged
LATER = 6 / 16  # of the time: what follows it shows the noise
MIDDLE, LAST = (6 / 16, 10 / 16), (12 / 16, 1.0)  # of the time: the levels whose difference is the gain
# What the last half brings, in what lies between these two levels: an exponential here has brought 1.04 of it, a power
# law of exponent 1/2 1.17, a logarithm 1.22. Little less makes slow curves flat too soon.
BEYOND = 1.17
TAIL = 0.16  # of the gain: what the loss falls from the middle of LAST to its end
SURE = 1.5  # standard deviations of the gain
CONFIDENCE = 0.99  # that nothing is nothing
NOTHING = 0.005  # a share of the loss: what a state must have changed to have brought anything
NOTHING_FROM = 64 * BLOCK  # losses, before nothing is called nothing


class Yield(NamedTuple):
    """What a state's blocks say; gain, error and total are shares of the largest level.

    Attributes:
        gain: by how much the last half of the time lowered the loss.
        error: of the gain, on either side.
        total: by how much the whole time did.
        verdict: flat, improving, worsening, undecided, or nothing: the state changes nothing.
    """

    gain: float
    error: float
    total: float
    verdict: str


class Outline(NamedTuple):
    """What depends on the number of blocks alone.

    Attributes:
        middle, last: the first block of a part of the time, and the weight in its mean of each block from there on.
        spread: the variance of the difference of these two means, for blocks of variance 1.
        later: the first of the blocks, an even number, that show the noise.
        line, parabola: over the later blocks, the first two polynomials that are orthogonal to a constant.
        places: of all blocks, from their middle.
    """

    middle: tuple[int, tuple[float, ...]]
    last: tuple[int, tuple[float, ...]]
    spread: float
    later: int
    line: tuple[float, ...]
    parabola: tuple[float, ...]
    places: tuple[float, ...]


@cache
def outline_of(count: int) -> Outline:
    """What depends on the number of blocks."""
    middle, last = (_part(count, *part) for part in (MIDDLE, LAST))
    later = int(-(-LATER * count // 1))
    later += (count - later) % 2
    line, places = _centred(count - later), _centred(count)
    level = ((count - later) ** 2 - 1) / 12
    spread = _sum([weight * weight for _, weights in (middle, last) for weight in weights])
    return Outline(middle, last, spread, later, line, tuple(place * place - level for place in line), places)


def _part(count: int, start: float, end: float) -> tuple[int, tuple[float, ...]]:
    """Blocks at the edges of a part of the time belong to it by their share."""
    first, after = int(start * count), int(-(-end * count // 1))
    held = [min(i + 1, end * count) - max(i, start * count) for i in range(first, after)]
    return first, tuple(share / ((end - start) * count) for share in held)


def _centred(count: int) -> tuple[float, ...]:
    return tuple(i - 0.5 * (count - 1) for i in range(count))


def squares(count: int) -> tuple[float, float]:
    """The sums of the squares of `line` and `parabola` over that many blocks."""
    line = count * (count * count - 1) / 12
    return line, line * (count * count - 4) / 15


def judged(means: Sequence[float], highest: Sequence[float], share: float, width: int) -> Yield:
    """What block means, in order, say about the time that they cover; not all 0.

    The gain is the difference of two levels, of the middle and of the end of the time. The total is the highest level
    above the last one. The noise of a block is what a parabola leaves of the later blocks, of single ones or of pairs,
    whichever is more.

    Args:
        means: of blocks of `width` losses, BLOCKS of them or more.
        highest: the highest mean of BLOCK, 2 * BLOCK, 4 * BLOCK ... losses in a row.
        share: of the total, under which the gain is flat.
        width: losses in a block.
    """
    size = max(max(map(abs, means)), max(map(abs, highest)))
    y, count = [mean / size for mean in means], len(means)
    outline = outline_of(count)
    last = _weighted(y, outline.last)
    gain = BEYOND * (_weighted(y, outline.middle) - last)
    noise = noise_of(y[outline.later :], outline)
    error = SURE * BEYOND * sqrt(noise * outline.spread)
    total = _top(highest, size, relative_noise(y[outline.later :], noise * width)) - last + TAIL * gain
    if count * width >= NOTHING_FROM and _is_nothing(y, outline, noise):
        return Yield(gain, error, total, "nothing")
    if total <= 0.0:
        return Yield(gain, error, total, "worsening" if gain + error < 0.0 else "undecided")
    return Yield(gain, error, total, four_valued(gain, error, share * total))


def noise_of(later: Sequence[float], outline: Outline) -> float:
    """The variance of a block, by what a parabola leaves of blocks and of pairs of them."""
    count = len(later)
    line, parabola = squares(count)
    mean = _sum(later) / count
    rest = [value - mean for value in later]
    slope = _sum([place * value for place, value in zip(outline.line, rest, strict=True)]) / line
    bend = _sum([place * value for place, value in zip(outline.parabola, rest, strict=True)]) / parabola
    rest = [
        value - slope * one - bend * two for value, one, two in zip(rest, outline.line, outline.parabola, strict=True)
    ]
    pairs = [one + other for one, other in zip(rest[::2], rest[1::2], strict=True)]
    single, floor = _sum([value * value for value in rest]) / (count - 3), FLOOR * mean
    return max(single, _sum([value * value for value in pairs]) / (count - 6), floor * floor)


def relative_noise(later: Sequence[float], variance: float) -> float:
    """The standard deviation of a single loss as a share of the later level, at most 1."""
    level, deviation = abs(_sum(later) / len(later)), sqrt(variance)
    return deviation / level if deviation < level else 1.0


def _top(highest: Sequence[float], size: float, relative: float) -> float:
    """The highest level over any number of losses; over few it counts for less, as noise makes it seem higher."""
    levels = [high / size for high in highest]
    return max(level - abs(level) * (relative / sqrt(BLOCK << scale)) for scale, level in enumerate(levels))


def _is_nothing(y: Sequence[float], outline: Outline, noise: float) -> bool:
    """Whether a line through all blocks surely falls by less than a share of the mean, from half to half.

    It must not rise by more than that either, as far as can be seen.
    """
    count = len(y)
    mean = _sum(y) / count
    spread, _ = squares(count)
    falls = -_sum([place * (value - mean) for place, value in zip(outline.places, y, strict=True)]) / spread
    error = quantile(CONFIDENCE, count - outline.later - 3) * sqrt(noise / spread)
    bound = NOTHING * abs(mean) / (0.5 * count)
    return falls + error < bound and falls > -bound


def _weighted(y: Sequence[float], part: tuple[int, tuple[float, ...]]) -> float:
    first, weights = part
    total = 0.0
    for i, weight in enumerate(weights, first):
        total += weight * y[i]
    return total


def _sum(values: Sequence[float]) -> float:
    """First to last; the sum that Python has rounds otherwise from release to release."""
    total = 0.0
    for value in values:
        total += value
    return total


class Returns:
    """The last half of the time in this state has brought less than `share` of what the state has brought.

    It decides from 640 values on, whenever a block is full: every 20 values at first, later at steps of a thirty-second
    to a sixty-fourth of the time. A state that changes the loss by less than half a percent is a plateau too, from 1280
    values on. A loss that rises is none; what cannot be told yet is unknown.

    Args:
        share: above 0, below 1; a larger one fires earlier or at the same value, never later.
    """

    __slots__ = (
        "_decided", "_highest", "_means", "_open", "_pending", "_seen", "_verdict", "_width", "knows", "needs", "share",
    )  # fmt: skip

    def __init__(self, share: float = 0.1) -> None:
        self.share = share
        self.knows = self.needs = BLOCKS * BLOCK
        self._seen = 0
        self._width = BLOCK  # losses in a block
        self._open: list[float] = []  # the losses of the open one of BLOCK
        self._pending: list[float] = []  # of each scale, the last mean that had no neighbour yet when it came
        self._highest: list[float] = []  # of each scale
        self._means: list[float] = []
        self._verdict: bool | None = None
        self._decided = True  # whether the verdict is that of the blocks as they are

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self._seen += 1
        opened = self._open
        opened.append(value)
        if len(opened) == BLOCK:
            mean = trimmed(opened)
            opened.clear()
            self._close(mean)

    def push_block(self, mean: float) -> None:
        """Take the next values of a whole block, none of which were pushed, by what is left of them: their mean."""
        self._seen += BLOCK
        self._close(mean)

    def _close(self, mean: float) -> None:
        """Take a block's mean, and every second time on each scale the mean of two on the next."""
        count, scale, kept = self._seen // BLOCK, 0, self._width
        while True:
            if scale == len(self._highest):
                self._highest.append(mean)
                self._pending.append(mean)
            elif mean > self._highest[scale]:
                self._highest[scale] = mean
            if BLOCK << scale == kept:
                self._keep(mean)
            if count & 1:
                self._pending[scale] = mean
                return
            mean = 0.5 * self._pending[scale] + 0.5 * mean
            count >>= 1
            scale += 1

    def _keep(self, mean: float) -> None:
        means = self._means
        means.append(mean)
        if len(means) == 2 * BLOCKS:
            self._means = [0.5 * means[i] + 0.5 * means[i + 1] for i in range(0, 2 * BLOCKS, 2)]
            self._width *= 2
        self._decided = False

    def judgement(self) -> Yield | None:
        """What the blocks say, or None where there are too few, or no loss but 0."""
        if len(self._means) < BLOCKS or not any(self._means):
            return None
        return judged(self._means, self._highest, self.share, self._width)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        if not self._decided:
            found = self.judgement()
            unknown = found is None or found.verdict == "undecided"
            self._verdict = None if unknown else found.verdict in ("flat", "nothing")  # type: ignore[union-attr]
            self._decided = True
        return self._verdict

    def reading(self) -> Reading:
        """What the last half has brought of what the state has, and the share under which it is flat."""
        seen, needs, holds = self._seen, self.knows, (None, 100 * self.share)
        if seen < needs:
            return measured(None, None, None, holds, UNIT, seen, needs, "", f"{seen} of {needs} losses")
        found, blocks = self.judgement(), f"{len(self._means)} blocks of {self._width} losses"
        if found is None:
            return measured(None, None, None, holds, UNIT, seen, needs, "", f"every loss is 0, in {blocks}")
        says = found.verdict
        if says == "nothing":
            text = f"nothing: from half to half the loss falls by less than {NOTHING:.1%}, in {blocks}"
            return measured(None, None, None, holds, UNIT, seen, needs, says, text)
        if found.total <= max(0.0, -found.gain):
            text = f"{says}: the state has brought nothing yet, in {blocks}"
            return measured(None, None, None, holds, UNIT, seen, needs, says, text)
        low, high = (100 * ((found.gain + sign * found.error) / found.total) for sign in (-1.0, 1.0))
        value = finite(100 * (found.gain / found.total))
        text = (
            f"{says}: the last half brought {low:.3g}% to {high:.3g}% of what the state brought, "
            f"in {blocks}; flat under {100 * self.share:.3g}%"
        )
        return measured(value, finite(low), finite(high), holds, UNIT, seen, needs, says, text)

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

    def distance(self) -> float:
        """Not known: it says what it is sure of, and not how nearly it is."""
        return inf

    def soonest(self) -> Soonest:
        """Any way when a block is full, once there are enough; what the blocks allow is not worked out."""
        room = max(self._width - self._seen % self._width, self.knows - self._seen)
        return Soonest.of(self.verdict(), room, room, room)

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {
            "seen": self._seen, "open": list(self._open), "pending": list(self._pending),
            "highest": list(self._highest), "means": list(self._means),
        }  # fmt: skip

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        if isinstance(contents["open"], float):
            raise ValueError("it holds the blocks of an earlier version's `returns`, which cannot go on as these do")
        seen, width = int(contents["seen"]), BLOCK
        opened, pending, highest, means = (
            list(map(float, contents[name])) for name in ("open", "pending", "highest", "means")
        )
        while seen // width >= 2 * BLOCKS:
            width *= 2
        scales = (seen // BLOCK).bit_length() if seen > 0 else 0
        if (len(means), len(opened)) != (seen // width, seen % BLOCK):
            found = f"{len(means)} means and {len(opened)} losses"
            raise ValueError(f"{found}; {seen} values make {seen // width} and {seen % BLOCK}")
        if (len(pending), len(highest)) != (scales, scales):
            raise ValueError(f"{len(pending)} and {len(highest)} levels; {seen} values make {scales}")
        self._seen, self._width = seen, width
        self._open, self._pending, self._highest, self._means = opened, pending, highest, means
        self._verdict, self._decided = None, False

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)
