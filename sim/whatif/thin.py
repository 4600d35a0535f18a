"""A curve of any length in so many columns as a picture has: the lowest, the highest and the mean of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.batch.history import Floats

Singles = NDArray[np.float32]


class Columns(NamedTuple):
    """A curve in columns of about as many steps each; all of one length.

    Attributes:
        first: the first step of each column.
        missing: how many of its losses are no number (NaN); infinite ones are losses.
        low: the lowest loss of each column, NaN where it has none.
        high: the highest.
        mean: the mean, NaN where it has none.
    """

    first: NDArray[np.int64]
    missing: NDArray[np.int64]
    low: Singles
    high: Singles
    mean: Singles


def thin(steps: NDArray[np.int64] | None, losses: Floats, start: int, stop: int, width: int) -> Columns:
    """The losses of steps `start` up to `stop` in at most `width` columns.

    Args:
        steps: [point], rising; None where the points are steps 0, 1, 2 ...
        losses: [point].
        start: the first step that is shown.
        stop: the first step that is not.
        width: the most columns, at least 1.
    """
    if steps is None:
        first, last = max(0, start), max(0, min(stop, len(losses)))
    else:
        first, last = (int(place) for place in np.searchsorted(steps, (start, stop)))
    here = losses[first : max(first, last)]
    columns = max(1, min(width, len(here)))
    edges = np.arange(columns, dtype=np.int64) * len(here) // columns
    firsts = first + edges if steps is None else steps[first + edges] if len(here) else edges[:0]
    if not len(here):
        none = np.empty(0, dtype=np.float32)
        return Columns(edges[:0], edges[:0], none, none, none)
    with np.errstate(all="ignore"):
        low, high = np.fmin.reduceat(here, edges), np.fmax.reduceat(here, edges)
        total = np.add.reduceat(here, edges)
        sizes = np.diff(np.append(edges, len(here)))
        missing = np.zeros(columns, dtype=np.int64)
        for column in np.flatnonzero(~np.isfinite(total)).tolist():
            part = here[edges[column] : edges[column] + sizes[column]]
            given = part[~np.isnan(part)]
            missing[column] = len(part) - len(given)
            # Divided first: a sum of large losses would overflow.
            total[column] = (given / max(1, len(given))).sum() * sizes[column] if len(given) else np.nan
        mean = total / sizes
        return Columns(firsts, missing, *(one.astype(np.float32) for one in (low, high, mean)))
