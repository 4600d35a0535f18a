"""Whether several files are parts of one run; two runs are told apart instead of being merged."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.gather import Gathered
from plateau_rule.sim.logs.points import Points
from plateau_rule.sim.logs.spans import FilePoints

MOST_POINTS = 100_000  # of each file, that are compared


def check_parts(gathered: Gathered) -> None:
    """Refuse to join files that are not parts of one run.

    Raises:
        LogError: one file counts steps and another epochs; or two begin at the same step, and tell other losses.
    """
    parts = [part for part in gathered.parts if part.stop > part.start]
    counted = sorted({part.counted for part in parts})
    if len(counted) > 1:
        raise LogError(
            ", ".join(part.file for part in parts),
            "these are not parts of one run: " + ", ".join(f"{part.file} counts {part.counted}s" for part in parts),
            remedy="Name one of them",
        )
    for one, other in combinations(parts, 2):
        shared, differing = _compare(_points_of(gathered, one), _points_of(gathered, other))
        if 2 * differing > shared > 0:
            raise LogError(
                f"{one.file}, {other.file}",
                f"these are two runs: both begin at the same step, and at {differing:,} of {shared:,} steps that both "
                "have, their losses differ",
                remedy="Name one of them; parts of one run follow on each other",
            )


def _points_of(gathered: Gathered, part: FilePoints) -> Points:
    return gathered.points.part(part.start, min(part.stop, part.start + MOST_POINTS))


def _compare(one: Points, other: Points) -> tuple[int, int]:
    """Steps that both have, and those at which their losses differ; none if they do not begin together."""
    steps, at_one, at_other = np.intersect1d(one["step"], other["step"], return_indices=True)
    shorter = min(len(one), len(other))
    apart = float(np.median(np.diff(np.sort(one["step"])))) if len(one) > 1 else 1.0
    if 2 * len(steps) < shorter or abs(float(one["step"].min()) - float(other["step"].min())) > apart:
        return 0, 0
    differ = ~np.isclose(one["loss"][at_one], other["loss"][at_other], rtol=1e-6, atol=0, equal_nan=True)
    return len(steps), int(differ.sum())
