"""How noisy a log is.

A loss is taken as level x (1 + noise), the noise as AR(1): standard deviation `sigma` relative to the level,
correlation `rho` from one logged point to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, erfc, inf, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plateau_rule.controller.errors import PlateauError
from plateau_rule.sim.logs import Log
from plateau_rule.sim.logs.epochs import epoch_steps_of
from plateau_rule.sim.periods import Period, Thinned

Floats = NDArray[np.float64]
FEWEST = 16  # finite points without which nothing can be said
FALSE_ALLOWED = 0.01  # of a look
SEPARATION = 3.61  # 2.326 + 1.282: one look in a hundred is false, nine in ten are right
SPIKE = 5.0  # standard deviations above the local trend
BOTH_SIDES = "the losses lie on both sides of 0, where a relative improvement means nothing."
ANOTHER_METRIC = "Add a constant that keeps the loss above 0, or let a metric decide that is positive."
_BLOCK = 64  # points to which a line is fitted
_BATCH = 4096


class NoiseError(PlateauError):
    """A log from which no noise can be estimated."""


@dataclass(frozen=True)
class Noise:
    """The noise of a log.

    points: finite losses. spacing: steps from one to the next, as a rule. sigma: standard deviation relative to the
    loss, of one point; sigma_first, sigma_last: of the first and the last quarter. rho: correlation of neighbours.
    spikes: points that stand out upwards by more than 5 sigma; spike_height: their median height, relative.
    fall_first, fall_last: relative improvement from one point to the next in the first and the last quarter (negative:
    it rises). level: mean loss of the last quarter. crosses_zero: whether some losses are above 0 and others below.
    counted: what spacing counts: "step", "epoch" or "row". period: with which the losses repeat; None where none shows.
    """

    points: int
    spacing: float
    sigma: float
    rho: float
    sigma_first: float
    sigma_last: float
    spikes: int
    spike_height: float
    fall_first: float
    fall_last: float
    level: float
    crosses_zero: bool
    counted: str = "step"
    period: Period | None = None

    @property
    def steps(self) -> float:
        """Steps that one point stands for; 1 where they are not counted."""
        return self.spacing if self.counted == "step" else 1.0

    def told(self, rate: float) -> str:
        """A relative change from one point to the next, in words: so much per 1000 steps."""
        if self.counted != "step":
            return f"{100 * rate:.3g}% per {'logged row' if self.counted == 'row' else self.counted}"
        return f"{100_000 * rate / self.spacing:.3g}% per 1000 steps"

    def told_period(self, period: Period) -> str:
        """The length of a period, in words."""
        losses = f"{period.losses:,.3g}" if period.losses < 100 else f"{round(period.losses):,}"
        steps = f"{round(period.losses * self.spacing):,} steps" if self.counted == "step" and self.spacing != 1 else ""
        epochs = "" if period.epochs is None else "an epoch" if period.epochs == 1 else f"{period.epochs} epochs"
        beside = ", ".join(filter(None, (steps, epochs)))
        return f"{losses} losses" + (f" ({beside})" if beside else "")


# Closed forms


def spread_of_halves(window: int, sigma: float, rho: float = 0.0) -> float:
    """Standard deviation of the statistic of `halves`: (mean of first half - mean of second half) / level.

    window: values, at least 2. sigma, rho: the noise as AR(1); exact for it. White noise: 2 sigma / sqrt(window).
    """
    first = window // 2
    second = window - first

    def of_sum(n: int) -> float:
        return n * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (1 - rho) ** 2

    shared = rho * (1 - rho**first) * (1 - rho**second) / (1 - rho) ** 2
    variance = of_sum(first) / first**2 + of_sum(second) / second**2 - 2 * shared / (first * second)
    return sigma * sqrt(max(0.0, variance))


def false_raise(window: int, threshold: float, sigma: float, rho: float = 0.0, times: float = 2.0) -> float:
    """Probability that one look of `halves` fires although the loss improves at `times` the threshold.

    window: values. threshold: relative improvement between the halves. sigma, rho: the noise. times: how far the true
    improvement lies above the threshold.
    """
    spread = spread_of_halves(window, sigma, rho)
    distance = (times - 1.0) * threshold
    return 0.5 * erfc(distance / (spread * sqrt(2.0))) if spread > 0 else 0.0


def window_needed(rate: float, sigma: float, rho: float = 0.0) -> int:
    """The window that tells an improvement at twice a rate from one at the rate: 1 % false, 90 % power.

    rate: relative improvement per value (for `halves`, 2 threshold / window). sigma, rho: the noise.
    W = (12 v sigma^2 3.61^2 / rate^2)^(1/3) with v = (1 + rho) / (1 - rho), from the variance of a fitted slope.
    """
    variance = (1 + rho) / (1 - rho) * sigma**2
    needed: float = (12 * variance * SEPARATION**2 / rate**2) ** (1 / 3)
    return max(2, ceil(needed))


# From a log


def noise_of(log: Log | Iterable[tuple[ArrayLike, ArrayLike]], steps_per_epoch: int | None = None) -> Noise:
    """Estimate the noise of a log from what is left after fitting lines to blocks of up to 64 points.

    log: a log, or batches of (steps, losses); it is gone through once, and memory stays flat. steps_per_epoch: steps in
    an epoch, by default what the log tells; a period of one epoch is then known as such.
    Blocks far noisier than the rest (where the curve bends, where it jumps) are left out, points beyond 5 sigma are
    counted as spikes and left out, and what fitting a line takes from variance and correlation is given back exactly
    for AR(1) noise.
    Raises NoiseError where fewer than 16 losses are finite.
    """
    batches = iter(_batches(log))
    steps, losses = next(batches, (np.empty(0), np.empty(0)))
    if len(losses) < FEWEST:
        raise NoiseError(
            f"{len(losses)} finite losses are too few to estimate noise from; expected at least {FEWEST}. "
            "Use a longer log"
        )
    first = losses
    size = _BLOCK if len(losses) >= 16 * _BLOCK else max(8, len(losses) // 16)
    spacing = float(np.median(np.diff(steps)))
    parts, rest, points, low, high = [], losses, 0, inf, -inf
    thinned = Thinned()
    thinned.add(losses)
    while len(rest):
        count = len(rest) // size * size
        if count:
            parts.append(_blocks(rest[:count].reshape(-1, size)))
        low, high = min(low, float(rest.min())), max(high, float(rest.max()))
        _, losses = next(batches, (steps, losses[:0]))
        thinned.add(losses)
        points += count if len(losses) else len(rest)
        rest = np.concatenate((rest[count:], losses)) if len(losses) else losses
    counted = log.report.counted if isinstance(log, Log) else "step"
    blocks = np.concatenate(parts)
    parts.clear()
    noise = _pooled(blocks, size, points, spacing, low < 0 < high, counted)
    noise = replace(noise, period=thinned.period(_points_per_epoch(log, steps_per_epoch, spacing)))
    if points >= 8 * size:
        return noise
    # Fewer blocks than twice the quarters: a line through each of both quarters themselves.
    (sigma_first, fall_first), (sigma_last, fall_last) = map(
        _of_quarter, (first[: points // 4], first[-(points // 4) :])
    )
    return replace(noise, sigma_first=sigma_first, sigma_last=sigma_last, fall_first=fall_first, fall_last=fall_last)


def _points_per_epoch(
    log: Log | Iterable[tuple[ArrayLike, ArrayLike]], steps_per_epoch: int | None, spacing: float
) -> float | None:
    """How many points an epoch has; None where its length is not known, or a point stands for one."""
    if isinstance(log, Log):
        if log.report.counted != "step":
            return None
        steps_per_epoch = steps_per_epoch or epoch_steps_of(log)
    return None if steps_per_epoch is None or not spacing else steps_per_epoch / spacing


def _batches(log: Log | Iterable[tuple[ArrayLike, ArrayLike]]) -> Iterator[tuple[Floats, Floats]]:
    """Finite points, a few thousand or more at a time."""
    kept: list[tuple[Floats, Floats]] = []
    count = 0
    pairs = ((chunk.step, chunk.loss) for chunk in log.chunks()) if isinstance(log, Log) else log
    for steps, losses in pairs:
        step, loss = np.asarray(steps, dtype=np.float64), np.asarray(losses, dtype=np.float64)
        finite = np.isfinite(loss)
        kept.append((step[finite], loss[finite]))
        count += int(finite.sum())
        if count >= _BATCH:
            yield np.concatenate([a for a, _ in kept]), np.concatenate([b for _, b in kept])
            kept, count = [], 0
    if count:
        yield np.concatenate([a for a, _ in kept]), np.concatenate([b for _, b in kept])


def _of_quarter(losses: Floats) -> tuple[float, float]:
    """Noise around a line through some losses, and their relative improvement from one to the next."""
    place = np.arange(len(losses)) - (len(losses) - 1) / 2
    largest = float(np.abs(losses).max())
    scaled = losses / largest if largest > 0 else losses  # so that no square overflows
    level = abs(float(scaled.mean()))
    if level == 0:
        return 0.0, 0.0
    slope = float((place * scaled).sum() / (place**2).sum())
    residual = (scaled - scaled.mean() - slope * place) / level
    return sqrt(float((residual**2).sum()) / (len(losses) - 2)), -slope / level


# What is kept of a block: mean loss, squares and products of neighbours of the relative residuals, points
# that count in each, spikes, median height of the spikes.
_BLOCK_TYPE = np.dtype([(name, "<f8") for name in ("mean", "squares", "products", "n", "pairs", "spikes", "height")])


def _blocks(losses: Floats) -> NDArray[np.void]:
    """Fit a line to each row, set spikes aside, and sum up the residuals."""
    count, size = losses.shape
    found = np.zeros(count, dtype=_BLOCK_TYPE)
    centred = np.arange(size) - (size - 1) / 2
    scale = np.maximum(np.abs(losses).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    scaled = losses / scale  # so that no square overflows
    residual = _without_line(scaled, centred, np.ones_like(scaled))
    deviation = np.median(np.abs(residual), axis=1, keepdims=True) * 1.4826
    deviation = np.maximum(deviation, float(np.median(deviation)))
    counts = np.abs(residual) <= SPIKE * deviation
    residual = _without_line(scaled, centred, counts.astype(np.float64))
    level = np.abs((scaled * counts).sum(axis=1) / np.maximum(1, counts.sum(axis=1)))[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.where(level > 0, residual / level, np.nan)
    kept = np.where(counts, relative, 0.0)
    found["mean"] = level[:, 0] * scale[:, 0] * np.sign(losses.mean(axis=1))
    with np.errstate(over="ignore", invalid="ignore"):
        found["squares"], found["products"] = (kept**2).sum(axis=1), (kept[:, 1:] * kept[:, :-1]).sum(axis=1)
    found["n"], found["pairs"] = counts.sum(axis=1), (counts[:, 1:] & counts[:, :-1]).sum(axis=1)
    spikes = ~counts & (residual > 0)
    found["spikes"] = spikes.sum(axis=1)
    for row in np.flatnonzero(found["spikes"]).tolist():
        found["height"][row] = np.median(relative[row][spikes[row]])
    return found


def _without_line(values: Floats, x: Floats, weight: Floats) -> Floats:
    """Each row less the line fitted to those of its values that have weight."""
    total = weight.sum(axis=1, keepdims=True)
    mean_x = (weight * x).sum(axis=1, keepdims=True) / total
    mean = (weight * values).sum(axis=1, keepdims=True) / total
    off = x - mean_x
    slope = (weight * off * (values - mean)).sum(axis=1, keepdims=True) / (weight * off**2).sum(axis=1, keepdims=True)
    residual: Floats = values - mean - slope * off
    return residual


def _pooled(
    blocks: NDArray[np.void], size: int, points: int, spacing: float, crosses_zero: bool, counted: str
) -> Noise:
    good = blocks[np.isfinite(blocks["squares"])]
    if not len(good):
        raise NoiseError("the losses are 0, or so large that their noise is no number; use another series")
    variance = good["squares"] / good["n"]
    usual = good[variance <= 4 * np.median(variance)]
    squares = float(usual["squares"].sum())
    own, neighbours, rhos = _taken_by_a_line(size)
    rho = 0.0
    if squares > 0:
        products = float(usual["products"].sum()) * (size - 1) * float(usual["n"].sum()) / (size * usual["pairs"].sum())
        rho = float(np.interp(products / squares, neighbours / own, rhos))
    share = float(np.interp(rho, rhos, own)) / size  # of the variance that is left in a residual
    quarters = np.array_split(blocks, 4) if len(blocks) >= 8 else [blocks] * 4

    def sigma_of(part: NDArray[np.void]) -> float:
        part = part[np.isfinite(part["squares"])]
        return sqrt(float(np.median(part["squares"] / part["n"])) / share) if len(part) else float("nan")

    heights = blocks["height"][blocks["spikes"] > 0]
    return Noise(
        points=points,
        spacing=spacing,
        sigma=sqrt(squares / float(usual["n"].sum()) / share),
        rho=rho,
        sigma_first=sigma_of(quarters[0]),
        sigma_last=sigma_of(quarters[-1]),
        spikes=int(blocks["spikes"].sum()),
        spike_height=float(np.median(heights)) if len(heights) else 0.0,
        fall_first=_fall(quarters[0], size),
        fall_last=_fall(quarters[-1], size),
        level=float(quarters[-1]["mean"].mean()),
        crosses_zero=crosses_zero,
        counted=counted,
    )


@lru_cache(maxsize=8)
def _taken_by_a_line(size: int) -> tuple[Floats, Floats, Floats]:
    """Expected of residuals of AR(1) noise of variance 1: sum of squares and of neighbours' products, for each rho."""
    rhos = np.linspace(-0.9, 0.98, 189)
    x = np.stack((np.ones(size), np.arange(size) - (size - 1) / 2))
    residual_maker = np.eye(size) - x.T @ np.linalg.solve(x @ x.T, x)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    own, neighbours = np.empty(len(rhos)), np.empty(len(rhos))
    for i, rho in enumerate(rhos.tolist()):
        covariance = residual_maker @ rho**distance @ residual_maker
        own[i], neighbours[i] = np.trace(covariance), np.trace(covariance, offset=1)
    return own, neighbours, rhos


def _fall(blocks: NDArray[np.void], size: int) -> float:
    """Relative improvement from one point to the next, by a line through the blocks' means."""
    place, means = np.arange(len(blocks)) - (len(blocks) - 1) / 2, blocks["mean"]
    spread, level = float((place**2).sum()), abs(float(means.mean()))
    if spread == 0 or level == 0:
        return 0.0
    return -float((place * means).sum()) / spread / level / size
