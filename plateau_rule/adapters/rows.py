"""Knobs that choose the rows of a batch, given as `rows`: how many it has, or which.

Each knob has a function. It is given the rows that are left in the epoch, as an iterator over their indices, and the
knob's value in the step that the batch is for; it gives those that the batch may have. It takes from the iterator no
more than is asked of it, so it is best a generator expression:

    CurriculumCallback(
        "mine.toml",
        rows={"batch_size": count_rows, "difficulty": lambda rows, most: (row for row in rows if score[row] <= most)},
    )

A row that is passed over does not come again in that epoch. Several functions are asked in turn, each on what the one
before gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from plateau_rule.adapters.errors import WiringError

Choose = Callable[[Iterator[Any], Any], Iterable[Any]]
"""(the rows left in the epoch, the knob's value) -> those that a batch may have, drawn as they are asked for."""


def count_rows(rows: Iterator[Any], number: object) -> Iterator[Any]:
    """A micro-batch has so many rows: the knob is the batch size, in place of the loader's own.

    Args:
        rows: those that are left in the epoch.
        number: a whole number of at least 1.

    Raises:
        WiringError: it is none.
    """
    if not isinstance(number, int) or number < 1:
        raise WiringError(f"{number!r} is no number of rows; expected a whole number of at least 1")
    return islice(rows, number)
