"""Whether logged losses were smoothed before they were logged, and how to undo it."""

from __future__ import annotations

import numpy as np

from plateau_rule.sim.logs.rows import Floats

LEAST_POINTS = 1000
LEAST_COEFFICIENT = 0.85
LOWEST = 6  # frequencies below it, in periods of the losses looked at, belong to the trend


def ema_coefficient(loss: Floats) -> float | None:
    """Estimate the coefficient of the moving average that losses seem to have gone through.

    An average m[t] = a m[t-1] + (1 - a) x[t] of white noise has the spectrum 1 / (1 + a² - 2a cos w). `a` is fitted to
    the periodogram of the later half by Whittle's likelihood (Whittle 1953), without the lowest frequencies, which are
    the trend's. It counts only if the whitened spectrum is flat and the first autocorrelation of the differences is the
    -(1 - a)/2 that such an average has.

    Args:
        loss: finite losses in order of their steps, of one spacing.

    Returns:
        `a` from 0.85 to 1, 1.0 meaning that it is too close to 1 to be told from so few losses; None if nothing speaks
        for an average, or there are fewer than 1,000 losses.
    """
    if len(loss) < LEAST_POINTS:
        return None
    later = loss[len(loss) // 2 :]
    steps = np.diff(later)
    steps = steps - steps.mean()
    power = float(np.dot(steps, steps))
    if not 0 < power < np.inf:
        return None
    lag_one = float(np.dot(steps[1:], steps[:-1])) / power
    a, bands = _whittle(later)
    if a < LEAST_COEFFICIENT or abs(lag_one + (1 - a) / 2) > 0.06 or bands.min() < 0.7 or bands.max() > 1.4:
        return None
    # The spectrum bends at a frequency of (1 - a) / 2 pi; that must stand clear of the lowest ones, which are left out.
    return round(a, 3) if (1 - a) * len(later) > 4 * np.pi * LOWEST else 1.0


def _whittle(loss: Floats) -> tuple[float, Floats]:
    """The coefficient that fits best, and the power of the whitened series in four bands, relative to its mean."""
    count = len(loss)
    time = np.linspace(-1, 1, count)
    residue = loss - np.polyval(np.polyfit(time, loss, 2), time)
    spectrum = np.abs(np.fft.rfft(residue * np.hanning(count))[LOWEST:-1]) ** 2
    cosine = np.cos(2 * np.pi * np.arange(LOWEST, LOWEST + len(spectrum)) / count)
    candidates = 1 - np.logspace(0, -4, 120)
    costs = []
    for a in candidates:
        whitening = 1 + a * a - 2 * a * cosine
        costs.append(np.log(np.mean(spectrum * whitening)) - np.mean(np.log(whitening)))
    a = float(candidates[int(np.argmin(costs))])
    whitened = spectrum * (1 + a * a - 2 * a * cosine)
    return a, np.array([band.mean() for band in np.array_split(whitened, 4)]) / whitened.mean()


class Unsmooth:
    """Takes an exponential moving average back: x[t] = (m[t] - a m[t-1]) / (1 - a).

    The first value, and the first after one that is not finite, stays as it is: before it the average is not known.

    Args:
        coefficient: `a`, at least 0 and below 1.
    """

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient
        self._before = np.nan

    def __call__(self, loss: Floats) -> Floats:
        """Take the next losses back, in order."""
        before = np.concatenate(([self._before], loss[:-1]))
        self._before = float(loss[-1]) if len(loss) else self._before
        raw = (loss - self.coefficient * before) / (1 - self.coefficient)
        return np.where(np.isfinite(before), raw, loss)


def falls_within_epochs(loss: Floats, epoch: Floats) -> bool:
    """Whether losses look like running means since their epoch began.

    Such a mean moves by (x - m) / k at its k-th value: its steps shrink as an epoch goes on, in every epoch.

    Args:
        loss: finite losses in order of their steps.
        epoch: the epoch of each, whole numbers or fractions.
    """
    starts = np.flatnonzero(np.diff(np.floor(epoch))) + 1
    epochs = [part for part in np.split(loss, starts) if len(part) >= 40][1:]
    if len(epochs) < 2:
        return False
    shrinks = []
    for part in epochs:
        moves = np.abs(np.diff(part))
        tenth = len(moves) // 10
        shrinks.append(np.median(moves[:tenth]) > 3 * np.median(moves[-5 * tenth :]))
    return all(shrinks)
