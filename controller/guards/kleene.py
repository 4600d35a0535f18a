"""Kleene's three-valued logic: true, false, and None for unknown.

Too little data is unknown, `not unknown` is unknown, and only true lets a transition be taken. `any` and `all` are one
function: each has a verdict that decides it whatever the other parts say, true for `any` and false for `all`.

Whoever asks what *could* be said (the verifier, adoption) works with sets of verdicts, kept as bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

Verdict = bool | None
TRUE: Final = 1  # members of a set of verdicts, as bits
FALSE: Final = 2
UNKNOWN: Final = 4


def negate(verdict: Verdict) -> Verdict:
    """The verdict of `not`."""
    return None if verdict is None else not verdict


def join(decisive: bool, verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of `any` (decisive: True) or `all` (decisive: False); no more parts are asked than decide it."""
    joined: Verdict = not decisive
    for verdict in verdicts:
        if verdict is decisive:
            return decisive
        if verdict is None:
            joined = None
    return joined


def negate_set(bits: int) -> int:
    """What `not` could say, where its part could say any of these."""
    return (bits & UNKNOWN) | (TRUE if bits & FALSE else 0) | (FALSE if bits & TRUE else 0)


def join_sets(decisive: bool, parts: Sequence[int]) -> int:
    """What `any` or `all` could say, where each part could say any of its own set.

    Parts are taken as independent; where they share a detector this says too much, never too little.
    """
    deciding, other = (TRUE, FALSE) if decisive else (FALSE, TRUE)
    joined = deciding if any(bits & deciding for bits in parts) else 0
    if all(bits & other for bits in parts):
        joined |= other
    if any(bits & UNKNOWN for bits in parts) and all(bits & (UNKNOWN | other) for bits in parts):
        joined |= UNKNOWN
    return joined


def set_of(verdict: Verdict) -> int:
    """The set that holds one verdict."""
    return UNKNOWN if verdict is None else TRUE if verdict else FALSE


def spelled(verdict: Verdict) -> str:
    """A verdict as a word."""
    return "unknown" if verdict is None else "true" if verdict else "false"
