"""Student's t distribution: one-sided quantiles, from the closed form of its integral."""

from __future__ import annotations

from functools import cache
from math import atan, pi, sqrt


def within(t: float, freedom: int) -> float:
    """The probability that |T| < t; t at least 0, freedom (degrees of freedom) at least 1.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4. Of an even `freedom` it takes only
    operations that every machine rounds alike.
    """
    root = sqrt(freedom + t * t)
    sine, cosine = t / root, sqrt(freedom) / root
    term = cosine if freedom % 2 else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if freedom % 2:
        return 2.0 / pi * (atan(t / sqrt(freedom)) + sine * total)
    return sine * total


@cache
def quantile(confidence: float, freedom: int) -> float:
    """The t that T stays below with probability `confidence`.

    Within 1e-9 of itself up to a confidence of 1 - 1e-6.

    Args:
        confidence: above 0.5, below 1.
        freedom: degrees of freedom, at least 1.

    Raises:
        ValueError: an argument is outside its range.
    """
    if not (0.5 < confidence < 1.0 and freedom >= 1):
        raise ValueError(f"confidence {confidence}, freedom {freedom}; expected 0.5 < confidence < 1, freedom >= 1")
    asked = 2.0 * confidence - 1.0
    low, high = 0.0, 1.0
    while high < 1e150 and within(high, freedom) < asked:
        low, high = high, 2.0 * high
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if within(middle, freedom) < asked else (low, middle)
    return high


def above(t: float, freedom: int) -> float:
    """The probability that T > t; t above 0, freedom even: exact to a few roundings, however small it is.

    One less the sum that `within` takes, which is the rest of the same series.
    """
    square = freedom / (freedom + t * t)
    term, total = 0.5 * t / sqrt(freedom + t * t), 0.0
    for k in range(1, freedom // 2):
        term *= square * (2 * k - 1) / (2 * k)
    k = freedom // 2
    while True:
        term *= square * (2 * k - 1) / (2 * k)
        if total + term == total:
            return total
        total += term
        k += 1


@cache
def quantile_above(share: float, freedom: int) -> float:
    """The t that T exceeds with probability `share`, by + - * / and square roots alone.

    The smallest `share` that a float can hold has a quantile too.

    Args:
        share: above 0, at most 0.25.
        freedom: degrees of freedom, even.
    """
    if not (0.0 < share <= 0.25 and freedom >= 2 and freedom % 2 == 0):
        raise ValueError(f"share {share}, freedom {freedom}; expected 0 < share <= 0.25 and an even freedom")
    low, high = 0.5, 1.0
    while above(high, freedom) > share:
        low, high = high, 2.0 * high
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if above(middle, freedom) > share else (low, middle)
    return high
