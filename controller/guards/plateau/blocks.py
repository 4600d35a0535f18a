"""Blocks of losses without what sticks out of them, which `sure` and `returns` work on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

BLOCK, CUT = 20, 4  # losses in a block; this many lowest and this many highest are left out
FLOOR = 1e-7  # of the mean: the least that a block's noise is taken for, more than rounding leaves
_LARGEST = sys.float_info.max


def trimmed(losses: Sequence[float]) -> float:
    """The mean of a block without its lowest and its highest losses."""
    mean, count = 0.0, BLOCK - 2 * CUT
    for loss in sorted(losses)[CUT:-CUT]:
        mean += loss / count  # divided first: a sum of large losses would overflow
    return min(max(mean, -_LARGEST), _LARGEST)
