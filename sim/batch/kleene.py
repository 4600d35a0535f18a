"""Kleene's logic over many runs at once: what `controller.guards.kleene` says, a number for each run.

False is 0, unknown 1 and true 2, so that `all` is the minimum, `any` the maximum and `not` the distance from 2. An
answer that is the same in every run is a plain number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.batch.history import Mask

FALSE, UNKNOWN, TRUE = 0, 1, 2
Verdicts = NDArray[np.int8]
Answer = Verdicts | int  # one verdict for each run, or one for all
Ask = Callable[[], Answer]


def spelled(true: Mask, known: Mask) -> Verdicts:
    """Verdicts of what is true, and of what is known at all."""
    found: Verdicts = np.where(known, true.view(np.int8) * np.int8(TRUE), np.int8(UNKNOWN))
    return found


def negate(part: Ask) -> Answer:
    """The verdicts of `not`."""
    return TRUE - part()


def join(decisive: bool, parts: Sequence[Ask]) -> Answer:
    """The verdicts of `any` (decisive: True) or `all`; no more parts are asked than decide it in every run."""
    combine, deciding = (np.maximum, TRUE) if decisive else (np.minimum, FALSE)
    joined: Answer = TRUE + FALSE - deciding
    for part in parts:
        joined = combine(joined, part())
        if np.ndim(joined) == 0:
            joined = int(joined)
            if joined == deciding:
                break
    return joined


def all_hold(of: Verdicts, parts: list[Ask]) -> Verdicts | None:
    """In which runs all parts are true; None where in none, which ends the asking early.

    of: TRUE for the runs that are meant, FALSE for the others.
    """
    holding = of
    for part in parts:
        answer = part()
        if isinstance(answer, int):
            if answer != TRUE:
                return None
            continue
        holding = np.minimum(holding, answer)
        if not (holding == TRUE).any():
            return None
    return holding
