"""The running mean that is drawn over the losses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def means_around(
    losses: NDArray[np.float64], places: NDArray[np.int64], edges: NDArray[np.int64], wide: int
) -> NDArray[np.float64]:
    """The mean of the losses around some places, of the same stay: a window that never reaches across a transition.

    Beside a transition it is narrower, so that a steep fall stays one; but never a single loss, which would be a spike.

    Args:
        losses: [step].
        places: [column], steps.
        edges: the first step of each stay, and the end of the last.
        wide: the most losses of a window.
    """
    bounds = np.unique(edges)
    stay = np.clip(np.searchsorted(bounds, places, side="right") - 1, 0, max(0, len(bounds) - 2))
    start, stop = bounds[stay], bounds[np.minimum(stay + 1, len(bounds) - 1)]
    size = np.clip(2 * np.minimum(places - start, stop - 1 - places) + 1, max(3, wide // 3), max(3, wide))
    size = np.minimum(size, stop - start)
    low = np.clip(places - size // 2, start, stop - size)
    with np.errstate(all="ignore"):
        pairs = np.stack((low, low + size), axis=1).ravel()
        inside = np.minimum(pairs, len(losses) - 1)
        sums = np.add.reduceat(losses, inside)[::2]
        # reduceat takes no end behind the last loss; of a window of that loss alone it gives the loss itself.
        sums += np.where((pairs[1::2] > inside[1::2]) & (inside[1::2] > inside[::2]), losses[-1], 0.0)
        found: NDArray[np.float64] = sums / size
        for place in np.flatnonzero(~np.isfinite(found)).tolist():
            window = losses[low[place] : low[place] + size[place]]
            found[place] = window[np.isfinite(window)].mean() if np.isfinite(window).any() else np.nan
    return found
