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

    confidence: above 0.5, below 1. freedom: degrees of freedom, at least 1. Within 1e-9 of itself up to a confidence
    of 1 - 1e-6. Raises ValueError outside.
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
