"""How rough the means of blocks are, and by how much correlation makes longer blocks rougher: what `sure` measures."""

from __future__ import annotations


def roughness(a: float, b: float, c: float, d: float, e: float) -> float:
    """The relative variance of means, by the fourth difference of five neighbours, which is blind to a curve.

    At most 1, which is also the answer where there is none.
    """
    if c == 0.0:
        return 1.0
    fourth = a / c - 4.0 * (b / c) + 6.0 - 4.0 * (d / c) + e / c
    found = fourth * fourth / 70.0
    return found if found < 1.0 else 1.0


def inflation_of(own: float, double: float, fourfold: float) -> float:
    """By how much correlation makes the mean of many blocks noisier than independent blocks would be, at least 1.

    own: the roughness of a level; double, fourfold: of the next two, whose blocks are twice and four times as long; 0
    where it is not known.
    """
    seen = 2.0 * double if 2.0 * double > 4.0 * fourfold else 4.0 * fourfold
    return seen / own if seen > own and seen < 1e9 * own else 1e9 if seen > own else 1.0
