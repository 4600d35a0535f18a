"""Lines through losses: how fast they fall, and how sure that is."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np

from plateau_rule.sim.noise import Noise
from plateau_rule.sim.replayer.trace import Floats, Trace

SURE = 2.0  # standard errors
SURE_OF_ALL = 3.5  # the same, for one of dozens of stretches that overlap
FEWEST = 4  # points through which a line says anything
BLOCKS = 16  # means by whose scatter a line's error is measured


class FittedSlope(NamedTuple):
    """How far losses fall from one logged point to the next, as a share of their mean, and the standard error of it."""

    falls: float
    error: float


def line_of(losses: Floats, counts: Floats, noise: Noise | None) -> FittedSlope | None:
    """How fast a line through losses falls.

    Its error is the largest of three: by the noise of the log, by how the losses scatter around the line and their
    neighbours correlate, and by how the means of 16 blocks scatter around it. The last two also see noise that is
    slower than the log's own estimate, or louder here.

    Args:
        losses: points, or means of several.
        counts: how many points each of them stands for.
        noise: the noise of a point, if it is known.

    Returns:
        None where the losses are too few, or their mean is 0.
    """
    if len(losses) < FEWEST:
        return None
    points, mean = float(counts.sum()), float(np.average(losses, weights=counts))
    if mean == 0 or not np.isfinite(mean):
        return None
    place = np.cumsum(counts) - (counts + 1) / 2
    off = place - np.average(place, weights=counts)
    relative = (losses - mean) / abs(mean)
    slope = float((counts * off * relative).sum() / (counts * off**2).sum())
    rest = relative - slope * off
    error = max(_by_blocks(rest, counts), _by_neighbours(rest)) / points
    if noise is not None:
        error = max(error, sqrt(12 * (1 + noise.rho) / (1 - noise.rho) / points**3) * noise.sigma)
    return FittedSlope(-slope, error)


def _by_blocks(rest: Floats, counts: Floats) -> float:
    """The error of a line's slope, times the points, by how the means of blocks scatter around it."""
    edges = np.linspace(0, len(rest), min(BLOCKS, len(rest)) + 1).astype(int).tolist()
    means = np.array([np.average(rest[a:b], weights=counts[a:b]) for a, b in pairwise(edges)])
    return sqrt(float((means**2).sum()) / (len(means) - 2) * 12 / len(means))


def _by_neighbours(rest: Floats) -> float:
    """The same by their scatter and the correlation of neighbours."""
    square = float((rest**2).sum())
    if square == 0:
        return 0.0
    rho = min(0.98, max(0.0, float((rest[1:] * rest[:-1]).sum()) / square * len(rest) / (len(rest) - 1)))
    return sqrt(square / (len(rest) - 2) * (1 + rho) / (1 - rho) * 12 / len(rest))


def slope_of(losses: Floats, noise: Noise, window: int) -> FittedSlope | None:
    """How fast the last losses fall, `window` of them at most; None if there are fewer than 8."""
    losses = losses[-window:]
    return line_of(losses, np.ones(len(losses)), noise) if len(losses) >= 2 * FEWEST else None


def slope_around(trace: Trace, step: int, noise: Noise, window: int) -> FittedSlope | None:
    """How fast losses fall around a raise to which they do not answer.

    They are one curve. As many of them after the raise as before it, `window` on either side at most: of a curve that
    slows down, a line through both says no more than the losses before.
    """
    before, after = trace.between(0, step), trace.between(step, None)
    count = min(len(before.step), len(after.step), max(FEWEST, window // max(1, int(trace.count.max(initial=1)))))
    if count < FEWEST:
        return None
    both = np.concatenate((before.mean[-count:], after.mean[:count]))
    counts = np.concatenate((before.count[-count:], after.count[:count])).astype(np.float64)
    return line_of(both, counts, noise)


def surely_flat(trace: Trace, limit: float, rate: float | None, noise: Noise | None) -> float | None:
    """How far a loss falls from one half of a stretch to the other, if that is surely less than what counts as flat.

    Flat is less than a limit, and less than the guard's own rate over as many points.
    """
    line = line_of(trace.mean, trace.count.astype(np.float64), noise) if len(trace.step) >= 2 * FEWEST else None
    if line is None:
        return None
    half = int(trace.count.sum()) / 2
    most = limit if rate is None else min(limit, rate * half)
    return line.falls * half if (line.falls + SURE_OF_ALL * line.error) * half < most else None
