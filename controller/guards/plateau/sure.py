"""`method = "sure"`: a plateau that is wrong at most once in so many states, however often it is asked.

A state is wrong if it is ever called flat while its noiseless loss improves by the rate, or worsens by it, at every
step. The chance of that is at most `alpha` for the whole life of the state. Every look at every window has a share of
it, and the shares of all looks that there will ever be add up to `alpha`; the looks need not be independent for that.

Blocks of 20 losses are kept without their 4 lowest and 4 highest, on a ladder: level j holds means of 20 * 2**j losses.
A window is the last 12 to 32 blocks of a level. A loss that improves by the rate still never rises once that rate is
undone, block by block, whatever its curve: so a slope that surely rises says that it improves by less. The same the
other way round for worsening. How sure a slope is depends on noise that is measured three ways, two of which see the
correlation of neighbouring blocks, and on the correlation seen over the whole state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from math import inf, sqrt
from operator import mul
from typing import Any, NamedTuple, Self

from plateau_rule.controller.guards.detector import Soonest, copy_of
from plateau_rule.controller.guards.plateau.blocks import BLOCK, FLOOR, trimmed
from plateau_rule.controller.guards.plateau.roughness import inflation_of, roughness
from plateau_rule.controller.guards.plateau.student import quantile_above
from plateau_rule.controller.guards.plateau.trend import PER, unit_of
from plateau_rule.controller.guards.reading import Reading, finite, measured

HOP = 4  # a window is looked at whenever its level has this many more blocks
SIZES, LONGER_SIZES = (12, 16, 24, 32), (24, 32)  # blocks in the windows of level 0, and of each level above
FOURS_FROM = 24
KEPT = SIZES[-1] + HOP - 1  # means of a level: the longest window as it was at the last look
REACH = 4.0  # rate times losses, beyond which a window is not asked
FASTEST = REACH / (SIZES[0] * BLOCK)  # a larger rate is taken for this one, so that there is a window to ask
LEVELS = 24  # at most, however small the rate
FALL, RISE = -1, 1
MEMORY = 128  # blocks of a level over which its roughness is averaged


class Line(NamedTuple):
    """A line through a window from which a rate has been undone; the slope for each block, and its deviation."""

    mean: float
    slope: float
    error: float


@lru_cache(maxsize=1024)
def powers(base: float, exponent: int) -> tuple[float, ...]:
    """`base ** exponent` to the power of 0, 1, ..., by products alone, which every machine rounds alike."""
    unit = 1.0
    for bit in bin(exponent)[2:]:
        unit *= unit
        unit = unit * base if bit == "1" else unit
    found = [1.0]
    for _ in range(SIZES[-1] - 1):
        found.append(found[-1] * unit)
    return tuple(found)


def undone(y: Sequence[float], rate: float, width: int, way: int) -> list[float]:
    """What is left of block means, the newest first, after a change by `rate` at every loss.

    Of a loss that falls at least so fast, what is left after a fall never rises; of one that rises at least so fast,
    what is left after a rise never falls. Of means of both signs the rate is one of their mean's magnitude.

    Args:
        y: the means.
        rate: the change, relative.
        width: losses in a block.
        way: FALL or RISE.
    """
    if min(y) > 0.0 or max(y) < 0.0:
        base = 1.0 - rate if (way == FALL) == (y[0] > 0.0) else 1.0 + rate
        return list(map(mul, y, powers(base, width)))
    mean = 0.0
    for value in y:
        mean += value / len(y)
    step = way * rate * width * abs(mean)
    return [value + step * i for i, value in enumerate(y)]


def lines_through(z: Sequence[float], sizes: Sequence[int], inflation: float) -> list[Line]:
    """Least squares through the newest 12, 16, 24 ... of the means, from sums that go on from window to window.

    z: the newest first. The variance is the largest of three: of single means, of pairs and of fours, whose residuals
    add up where neighbours correlate. From what the newest mean leaves of the others, so that few digits cancel.
    """
    first, lines = z[0], []
    total = cross = pair_cross = four_cross = 0.0
    square = pair_square = four_square = 0.0
    for i in range(0, sizes[-1], HOP):
        a, b, c, d = z[i] - first, z[i + 1] - first, z[i + 2] - first, z[i + 3] - first
        ab, cd = a + b, c + d
        four = ab + cd
        total += four
        cross += i * four + (b + 2.0 * c + 3.0 * d)
        pair_cross += (i + 0.5) * ab + (i + 2.5) * cd
        four_cross += (i + 1.5) * four
        square += a * a + b * b + (c * c + d * d)
        pair_square += ab * ab + cd * cd
        four_square += four * four
        n = i + HOP
        if n in sizes:
            mean, middle, spread = total / n, 0.5 * (n - 1) * total, n * (n * n - 1) / 12
            slope = (cross - middle) / spread
            single = square - total * mean - slope * (cross - middle)
            pairs = pair_square - 2.0 * total * mean - 4.0 * slope * (pair_cross - middle)
            pairs += 4.0 * slope * slope * (n * (n * n - 4) / 24)
            floor = FLOOR * (first + mean)
            variance = max(inflation * single / (n - 2), pairs / (n - 4), floor * floor)
            if n >= FOURS_FROM:
                fours = four_square - 4.0 * total * mean - 8.0 * slope * (four_cross - middle)
                fours += 16.0 * slope * slope * (n * (n * n - 16) / 48)
                variance = max(variance, fours / (n - 8))
            lines.append(Line(first + mean, -slope, sqrt(variance / spread)))
    return lines


def is_slow(y: Sequence[float], rate: float, width: int) -> bool:
    """Whether a line through means neither falls nor rises by `rate` at every loss."""
    count, mean, cross = len(y), 0.0, 0.0
    for value in y:
        mean += value
    mean /= count
    for i, value in enumerate(y):
        cross += (i - 0.5 * (count - 1)) * (value - mean)
    return abs(cross / (count * (count * count - 1) / 12)) < rate * width * abs(mean)


def words_of(
    means: Sequence[float], sizes: Sequence[int], width: int, rate: float, inflation: float, ts: Sequence[float]
) -> list[str]:
    """What windows of the newest means say: flat, improving, worsening or undecided.

    means: the newest first, as many as the last of the sizes. ts: how many standard deviations of a slope are sure.
    """
    size = max(max(means), -min(means))
    if size == 0.0:
        return ["undecided"] * len(sizes)
    y = [mean / size for mean in means]
    if len(sizes) > 1 and min(y) <= 0.0 <= max(y):  # each by its own mean
        return [words_of(means[:n], (n,), width, rate, inflation, (t,))[0] for n, t in zip(sizes, ts, strict=True)]
    words, risen = [], None
    for place, fallen in enumerate(lines_through(undone(y, rate, width, FALL), sizes, inflation)):
        sure = ts[place] * fallen.error
        if -sure < fallen.slope < sure:
            words.append("undecided")
        elif fallen.slope <= -sure:
            words.append("improving")
        else:  # only what surely improves by less can be flat, or worsen
            risen = risen or lines_through(undone(y, rate, width, RISE), sizes, inflation)
            up = ts[place] * risen[place].error
            slow = risen[place].slope <= -up and is_slow(y[: sizes[place] // 2], rate, width)
            words.append("worsening" if risen[place].slope >= up else "flat" if slow else "undecided")
    return words


def bounds_of(
    means: Sequence[float], word: str, width: int, rate: float, inflation: float, t: float
) -> tuple[float, float]:
    """Between which rates a window falls, by the lines that its word was found by."""
    size = max(max(means), -min(means))
    if size == 0.0:
        return -inf, inf
    zs = (undone([mean / size for mean in means], rate, width, way) for way in (FALL, RISE))
    fallen, risen = (lines_through(z, (len(means),), inflation)[0] for z in zs)
    low = _falls(fallen, rate, t, width) if word == "improving" else _falls(risen, -rate, t, width)
    high = _falls(risen, -rate, -t, width) if word == "worsening" else _falls(fallen, rate, -t, width)
    return low, high


def _falls(line: Line, undone_rate: float, t: float, width: int) -> float:
    """The rate at which the loss falls by a line from which a rate was undone, made steeper by `t` errors."""
    size = abs(line.mean) * width
    return undone_rate - (line.slope + t * line.error) / size if size else -inf if t > 0.0 else inf


def windows_of(rate: float, min_window: int) -> list[list[int]]:
    """How many blocks the windows of each level have.

    Those of at least `min_window` losses and at most REACH / rate; where there is none, the longest of the latter.
    """
    levels = [
        [size for size in (LONGER_SIZES if level else SIZES) if rate * (size * BLOCK << level) <= REACH]
        for level in range(LEVELS)
    ]
    levels = [sizes for sizes in levels if sizes]
    asked = [[size for size in sizes if size * BLOCK << level >= min_window] for level, sizes in enumerate(levels)]
    if not any(asked):
        most = max(levels[level][-1] << level for level in range(len(levels)))
        asked = [[size for size in sizes if size << level == most] for level, sizes in enumerate(levels)]
    return asked


@lru_cache(maxsize=4096)
def t_of(alpha: float, size: int, octave: int) -> float:
    """How many standard deviations of its slope a window of `size` blocks must show; alpha: the window's own share."""
    return quantile_above(share_of(alpha, size, octave), size - 2)


def share_of(alpha: float, size: int, octave: int) -> float:
    """One look's share of a window's alpha.

    Octave k, while the level has size * 2**k blocks to twice as many, has 1 / ((k + 1) * (k + 2)) of it for its looks.
    """
    return alpha / ((octave + 1) * (octave + 2)) / (size * 2.0**octave / HOP)


class Sure:
    """The loss improves, and worsens, at less than a rate: wrong in at most `alpha` of all states.

    max_rate: relative change for each value, above 0; more than FASTEST is taken for FASTEST. alpha: above 0, below
    0.5; a larger one fires earlier or at the same value, never later. min_window: the least number of values that it
    decides on, and no less than a period of the data's order; where the rate allows no window so long, it decides on
    the longest that it allows, and says so.

    A loss that improves faster is no plateau, and one that worsens faster is none either; what cannot be told yet is
    unknown.
    """

    __slots__ = (
        "_decided", "_inflation", "_levels", "_looks", "_open", "_rough", "_seen", "_verdict", "alpha", "knows",
        "max_rate", "min_window", "needs", "per", "rate", "window_alpha", "windows",
    )  # fmt: skip

    def __init__(self, max_rate: float, alpha: float = 0.05, min_window: int = 1, per: float = PER) -> None:
        self.max_rate, self.alpha, self.min_window, self.per = max_rate, alpha, min_window, per
        self.rate = min(max_rate, FASTEST)
        self.windows = windows_of(self.rate, min_window)
        self.window_alpha = alpha / sum(map(len, self.windows))
        self.knows = self.needs = min(self._lengths())
        self._seen = 0
        self._open: list[float] = []  # the losses of the open block
        # Two levels more than are asked: their roughness tells of correlation on the last ones.
        self._levels: list[deque[float]] = [deque(maxlen=KEPT) for _ in range(len(self.windows) + 2)]
        self._rough = [0.0] * len(self._levels)
        self._inflation = [1.0] * len(self.windows)  # of each level, as it was at its last look
        self._looks: list[list[str] | None] = [None] * len(self.windows)  # None: not worked out yet
        self._verdict: bool | None = None
        self._decided = True  # whether the verdict is that of the last looks

    def _lengths(self) -> list[int]:
        return [size * BLOCK << level for level, sizes in enumerate(self.windows) for size in sizes]

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self._seen += 1
        opened = self._open
        opened.append(value)
        if len(opened) == BLOCK:
            self._close()

    def _close(self) -> None:
        """Put the open block's mean on level 0, and every second time the mean of two on the level above."""
        mean, count = trimmed(self._open), self._seen // BLOCK
        self._open.clear()
        for level, means in enumerate(self._levels):
            means.append(mean)
            known = (count >> level) - 4
            if known > 0:
                rough = roughness(means[-5], means[-4], means[-3], means[-2], mean)
                self._rough[level] += (rough - self._rough[level]) / min(known, MEMORY)
            if (count >> level) & 1:
                break
            mean = 0.5 * means[-2] + 0.5 * mean
        for level in range(len(self.windows)):
            if (count >> level) % HOP or count & ((1 << level) - 1):
                break
            fours = (count >> level + 2) - 4
            self._inflation[level] = inflation_of(
                self._rough[level], self._rough[level + 1], self._rough[level + 2] if fours >= 8 else 0.0
            )
            self._looks[level], self._decided = None, False

    def words(self, level: int) -> list[str]:
        """What the windows of a level that are full said when they were looked at last, the shortest first."""
        found = self._looks[level]
        if found is None:
            sizes, newest, octaves = self._looked_at(level)
            ts = [t_of(self.window_alpha, *each) for each in zip(sizes, octaves, strict=True)]
            found = words_of(newest, sizes, BLOCK << level, self.rate, self._inflation[level], ts) if sizes else []
            self._looks[level] = found
        return found

    def _looked_at(self, level: int) -> tuple[list[int], list[float], list[int]]:
        """The sizes of the full windows, the means that they were looked at with, newest first, and their octaves."""
        count = self._seen // BLOCK >> level
        since = count % HOP
        count -= since
        sizes = [size for size in self.windows[level] if size <= count]
        newest = list(self._levels[level])[::-1][since : since + sizes[-1]] if sizes else []
        return sizes, newest, [(count // size).bit_length() - 1 for size in sizes]

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        if not self._decided:
            self._decided, self._verdict = True, self._ask()
        return self._verdict

    def _ask(self) -> bool | None:
        """One window that is flat is enough, so what was looked at before is asked first, then the longest windows."""
        for words in self._looks:
            if words and "flat" in words:
                return True
        verdict = None
        for level in range(len(self.windows) - 1, -1, -1):
            words = self.words(level)
            if "flat" in words:
                return True
            if "improving" in words or "worsening" in words:
                verdict = False
        return verdict

    def reading(self) -> Reading:
        """Between which rates the strongest window falls, and the rate within which it is flat."""
        size, seen, needs = 100.0 * self.per, self._seen, self.knows
        rate, unit = size * self.rate, unit_of(self.per)
        if seen < needs:
            text = f"{seen} of {needs} losses{self._too_short()}"
            return measured(None, None, None, (-rate, rate), unit, seen, needs, "", text)
        strongest, low, high, losses, share = self._strongest()
        if low == -inf:
            text = f"undecided: the losses are 0, or cancel, in the last {losses}"
            return measured(None, None, None, (-rate, rate), unit, seen, needs, strongest, text)
        # What is added to a zero takes its sign away.
        low, high = size * low + 0.0, size * high + 0.0
        text = (
            f"{strongest}: falls {low:.3g}% to {high:.3g}{unit}, by the last "
            f"{losses}, at {100 * (1 - share):.9g}% (this look's share of {100 * self.alpha:.3g}%); "
            f"flat within {rate:.3g}%{self._too_short()}"
        )
        value, least, most = finite(0.5 * low + 0.5 * high), finite(low), finite(high)
        return measured(value, least, most, (-rate, rate), unit, seen, needs, strongest, text)

    def _strongest(self) -> tuple[str, float, float, int, float]:
        """The strongest word, and the narrowest window that says it: its rates, its losses, its look's share."""
        order = ("flat", "improving", "worsening", "undecided")
        strongest = min((word for level in range(len(self.windows)) for word in self.words(level)), key=order.index)
        found = []
        for level in range(len(self.windows)):
            sizes, newest, octaves = self._looked_at(level)
            for word, size, octave in zip(self.words(level), sizes, octaves, strict=True):
                if word == strongest:
                    t, width = t_of(self.window_alpha, size, octave), BLOCK << level
                    low, high = bounds_of(newest[:size], word, width, self.rate, self._inflation[level], t)
                    found.append((high - low, low, high, size * width, share_of(self.window_alpha, size, octave)))
        return strongest, *min(found)[1:]

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

    def _too_short(self) -> str:
        longest = max(self._lengths())
        if longest >= self.min_window:
            return ""
        return f"; windows of {longest} losses, not {self.min_window}: the rate allows no longer one"

    def distance(self) -> float:
        """Not known: it says what it is sure of, and not how nearly it is."""
        return inf

    def soonest(self) -> Soonest:
        """Any way when a block is full, once there are enough; what the blocks allow is not worked out."""
        room = max(BLOCK - self._seen % BLOCK, self.knows - self._seen)
        return Soonest.of(self.verdict(), room, room, room)

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {
            "seen": self._seen, "open": list(self._open), "levels": [list(means) for means in self._levels],
            "rough": list(self._rough), "inflation": list(self._inflation),
        }  # fmt: skip

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        seen, opened = int(contents["seen"]), list(map(float, contents["open"]))
        levels = [list(map(float, means)) for means in contents["levels"]]
        rough, inflation = list(map(float, contents["rough"])), list(map(float, contents["inflation"]))
        held = [min(KEPT, seen // BLOCK >> level) for level in range(len(self._levels))]
        if [len(means) for means in levels] != held or len(opened) != seen % BLOCK:
            found = f"levels of {[len(means) for means in levels]} means and {len(opened)} losses"
            raise ValueError(f"{found}; {seen} values make {held} and {seen % BLOCK}")
        if (len(rough), len(inflation)) != (len(self._rough), len(self._inflation)):
            raise ValueError(f"{len(rough)} and {len(inflation)} figures of noise for {len(held)} levels")
        self._seen, self._open, self._rough, self._inflation = seen, opened, rough, inflation
        self._levels = [deque(means, KEPT) for means in levels]
        self._looks = [None] * len(self.windows)
        self._verdict, self._decided = None, False

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)
