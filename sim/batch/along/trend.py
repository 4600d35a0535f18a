"""`method = "trend"` along time; see controller.guards.plateau.trend."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from plateau_rule.controller.guards.plateau import trend
from plateau_rule.controller.guards.plateau.student import quantile
from plateau_rule.sim.batch.along.base import Along, Counts
from plateau_rule.sim.batch.guards.plateau.trend import four_valued
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts

_UNDECIDED, _DECIDED, _FLAT = range(3)  # what a level says, the stronger word last
_VERDICTS = np.array([UNKNOWN, FALSE, TRUE], dtype=np.int8)
_AT_ONCE = 1 << 12  # lines that are fitted in one piece: what is worked on stays near the processor
_PLACES = [place - (trend.BLOCKS - 1) / 2 for place in range(trend.BLOCKS)]
_SPREAD = trend.BLOCKS * (trend.BLOCKS * trend.BLOCKS - 1) / 12


class AlongTrend(Along):
    """`plateau` by trend: the means of all levels as they come, and a line through 16 of them at each look.

    Every operation is the controller's, in its order, so no bound on rounding is needed.
    """

    of = trend.Trend

    def __init__(self, scalar: trend.Trend) -> None:
        super().__init__()
        self._max_rate, self._cooldown = scalar.max_rate, scalar.cooldown
        self._t = quantile(scalar.confidence, trend.BLOCKS - 2)
        self._first = 0
        while trend.BLOCKS * trend.BLOCK << self._first < scalar.min_window:
            self._first += 1
        self._levels = [np.empty(0)]  # the means of each level
        self._counts = [0]  # how many of them there are by now

    def _work_out(self, blocks: int) -> None:
        """The means of all levels up to a number of full blocks."""
        if blocks <= self._counts[0]:
            return
        done, room = self._counts[0], len(self.values) // trend.BLOCK
        parts = self.values[done * trend.BLOCK : blocks * trend.BLOCK].reshape(-1, trend.BLOCK)
        means = np.zeros(len(parts))
        for place in range(trend.BLOCK):
            means += parts[:, place] / trend.BLOCK
        largest = trend.LARGEST
        means = np.clip(means, -largest, largest)
        level = 0
        while True:
            if level == len(self._levels):
                self._levels.append(np.empty(0))
                self._counts.append(0)
            held, count = self._levels[level], self._counts[level]
            if count + len(means) > len(held):
                grown = np.empty(max(room >> level, count + len(means)))
                grown[:count] = held[:count]
                held = self._levels[level] = grown
            held[count : count + len(means)] = means
            self._counts[level] = count + len(means)
            above = self._counts[level] >> 1
            known = self._counts[level + 1] if level + 1 < len(self._counts) else 0
            if above == known:
                return
            pairs = held[2 * known : 2 * above]
            means = 0.5 * pairs[0::2] + 0.5 * pairs[1::2]
            level += 1

    def verdicts(self, counts: Counts) -> Verdicts:
        """By the strongest word of any level."""
        found = np.full(len(counts), UNKNOWN, dtype=np.int8)
        from_ = int(np.searchsorted(counts, self._cooldown))
        if from_ == len(counts):
            return found
        blocks = counts[from_:] // trend.BLOCK
        with np.errstate(all="ignore"):
            self._work_out(int(blocks[-1]))
            strongest = np.full(len(blocks), _UNDECIDED, dtype=np.int8)
            for level in range(self._first, len(self._levels)):
                ends = blocks >> level
                full = int(np.searchsorted(ends, trend.BLOCKS))
                if full == len(ends):
                    break
                asked, back = _different(ends[full:])
                words = self._words(level, asked)
                np.maximum(strongest[full:], words[back], out=strongest[full:])
        found[from_:] = _VERDICTS[strongest]
        return found

    def _words(self, level: int, ends: Counts) -> NDArray[np.int8]:
        means = self._levels[level]
        width, words = trend.BLOCK << level, np.empty(len(ends), dtype=np.int8)
        flat_within = min(self._max_rate, trend.REACH / (width * trend.BLOCKS))
        for piece in range(0, len(ends), _AT_ONCE):
            here = ends[piece : piece + _AT_ONCE]
            falls, error = _fitted(_windows(means, here), width, self._t)
            flat, _ = four_valued(falls, error, flat_within)
            _, decided = four_valued(falls, error, self._max_rate)
            words[piece : piece + _AT_ONCE] = np.where(flat, _FLAT, np.where(decided, _DECIDED, _UNDECIDED))
        return words

    def fill(self, scalar: trend.Trend, count: int) -> None:
        """Of all values, it remembers the last means of each level, and those in the open block."""
        blocks = count // trend.BLOCK
        with np.errstate(all="ignore"):
            self._work_out(blocks)
        opened = 0.0
        for value in self.values[blocks * trend.BLOCK : count].tolist():
            opened += value / trend.BLOCK
        levels = [
            self._levels[level][max(0, (blocks >> level) - trend.BLOCKS) : blocks >> level].tolist()
            for level in range(blocks.bit_length())
        ]
        scalar.restore({"seen": count, "open": opened, "levels": levels})


def _different(ends: Counts) -> tuple[Counts, NDArray[np.int64]]:
    """The different ones among numbers that do not fall, and the place of each among them."""
    new = np.empty(len(ends), dtype=np.bool_)
    new[0] = True
    np.not_equal(ends[1:], ends[:-1], out=new[1:])
    return ends[new], np.cumsum(new) - 1


def _windows(means: Floats, ends: Counts) -> list[Floats]:
    """The last means before each of these places, oldest first: [place][line]."""
    first, count = int(ends[0]) - trend.BLOCKS, len(ends)
    if int(ends[-1]) - int(ends[0]) == count - 1:  # one after the other: nothing need be copied
        return [means[first + place : first + place + count] for place in range(trend.BLOCKS)]
    return list(np.ascontiguousarray(sliding_window_view(means, trend.BLOCKS)[ends - trend.BLOCKS].T))


def _fitted(means: list[Floats], width: int, t: float) -> tuple[Floats, Floats]:
    """The fall of lines through means [place][line], and t times its error, as the controller's `fitted` has them."""
    middle = np.zeros(len(means[0]))
    deviation, product = np.empty_like(middle), np.empty_like(middle)
    for row in means:
        middle += np.divide(row, trend.BLOCKS, out=product)
    size = np.abs(middle)
    cross, square = np.zeros(len(middle)), np.zeros(len(middle))
    for place, row in zip(_PLACES, means, strict=True):
        np.divide(np.subtract(row, middle, out=deviation), size, out=deviation)
        cross += np.multiply(deviation, place, out=product)
        square += np.multiply(deviation, deviation, out=product)
    residue = square - cross * cross / _SPREAD
    error = np.where(residue > 0.0, np.sqrt(residue / ((trend.BLOCKS - 2) * _SPREAD)), residue * 0.0)
    nothing = size == 0.0
    falls = np.where(nothing, 0.0, -cross / _SPREAD / width)
    return falls, np.where(nothing, np.inf, t * error / width)
