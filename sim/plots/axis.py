"""The axis of losses: chosen so that what decides is seen, and said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from plateau_rule.sim.replayer.trace import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEGINNING = 0.1  # of a curve, in which the loss falls far and nothing is decided
ROOM = 0.3  # of the axis, that all of the rest must have
FAR = 4.0  # times the lowest loss, from which a logarithmic axis is worth its trouble


def scale_losses(ax: Axes, shown: Sequence[Floats], decisive: Sequence[float]) -> None:
    """Choose linear, logarithmic or cut, the first under which the region that decides is a third of the picture.

    The region is what a curve does after its first tenth, with the heights at which states were entered. A few spikes
    may leave the picture in any case. What is chosen is part of the axis' name, and a cut says what lies beyond it.

    shown: losses and smoothed losses, by turns. decisive: heights that must be seen.
    """
    ax.set_ylabel("loss (as logged)")
    if not shown:
        return
    losses, curves = [values[np.isfinite(values)] for values in shown[0::2]], shown[1::2]
    low, high = _usual(np.concatenate(losses), np.concatenate(list(curves)))
    later = [curve[int(BEGINNING * len(curve)) :] for curve in curves]
    region = np.concatenate([*later, np.array(decisive)])
    bottom, top = np.percentile(region, 0.5), np.percentile(region, 99.5)
    top = max(top, *decisive) if decisive else top
    noisy = np.concatenate([values[int(BEGINNING * len(values)) :] for values in losses])
    bottom, top = min(bottom, np.percentile(noisy, 1)), max(top, np.percentile(noisy, 99))
    if not high > low:
        return
    if (top - bottom) / (high - low) < ROOM and min(map(len, curves)) > 12:
        if low > 0 and high / low > FAR and np.log(top / bottom) / np.log(high / low) >= ROOM:
            _logarithmic(ax, low, high)
            return
        _cut(ax, float(bottom), float(top), max(float(values.max()) for values in losses))
        return
    ax.set_ylim(low - 0.04 * (high - low), high + 0.06 * (high - low))


def _usual(values: Floats, curve: Floats) -> tuple[float, float]:
    """The range of nearly all losses, and of the curve."""
    low, high = np.percentile(values, (0.1, 99.8)).tolist()
    top = float(np.percentile(curve, 99.5))
    high = max(high, float(curve.max()) if curve.max() <= 4 * top else top)
    low = min(low, float(np.percentile(curve, 0.5)))
    # A few losses of another order of magnitude would leave a flat line of all the others.
    usual_low, usual_high = np.percentile(values, (5, 95)).tolist()
    spread = 10 * (usual_high - usual_low)
    if spread > 0:
        near = values[(values <= usual_high + spread) & (values >= usual_low - spread)]
        low, high = max(low, float(near.min())), min(high, float(near.max()))
    return low, high


def _logarithmic(ax: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low > 30 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(low / 1.1, high * 1.1)
    ax.set_ylabel("loss (as logged), logarithmic")


def _cut(ax: Axes, bottom: float, top: float, highest: float) -> None:
    """Twice the region's height above it are left for what comes before."""
    height = top - bottom
    ax.set_ylim(bottom - 0.15 * height, top + 1.2 * height)
    ax.set_ylabel("loss (as logged), cut")
    ax.plot([], [], " ", label=f"axis cut: the beginning and spikes go up to {highest:.4g}")
