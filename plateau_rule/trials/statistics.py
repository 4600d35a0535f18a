"""What a few seeds say of a difference: always paired, for both curves of a pair have the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from plateau_rule.trials.curve import Floats


@dataclass(frozen=True)
class PairedDifference:
    """A difference of two paired samples.

    Attributes:
        mean: of the differences.
        spread: their standard deviation from seed to seed; NaN of a single seed.
        p: of the paired t-test, that there is none; NaN where it cannot be asked.
    """

    mean: float
    spread: float
    p: float = nan

    @property
    def is_larger_than_spread(self) -> bool:
        """Whether the mean is farther from 0 than the spread over the seeds."""
        return isfinite(self.spread) and abs(self.mean) > self.spread


def difference(one: Floats, other: Floats) -> PairedDifference:
    """What `one` has more than `other`, seed by seed."""
    if not np.isfinite([*one, *other]).all():
        return PairedDifference(nan, nan)
    both = one - other
    return PairedDifference(float(both.mean()), spread(both))


def require_tests() -> None:
    """Load what the tests need: an ImportError here comes before anything is trained."""
    import scipy.stats  # noqa: F401  # to see that it is there


def tested(one: Floats, other: Floats) -> PairedDifference:
    """The same with the p of the paired t-test; it needs scipy.

    The exact test of Wilcoxon cannot go below 1/16 with five seeds, whatever the difference is.
    """
    from scipy.stats import ttest_rel

    found = difference(one, other)
    if len(one) < 2 or not isfinite(found.spread) or found.spread == 0:
        return found
    return PairedDifference(found.mean, found.spread, float(ttest_rel(one, other).pvalue))


def spread(values: Floats) -> float:
    """The standard deviation of a sample; NaN of a single value, or where one is not finite."""
    return float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(values).all() else nan


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm 1979), in their order; those that are NaN stay so."""
    known = sorted((p, place) for place, p in enumerate(ps) if isfinite(p))
    found, least = [nan] * len(ps), 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        found[place] = least
    return found
