"""Guards asked at many looks of one stay at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from plateau_rule.sim.batch.along.base import Counts
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts

Detected = Callable[[Watched, "StayLooks"], Verdicts]


class StayLooks(NamedTuple):
    """Some looks of a stay, as the clocks stand at each of them.

    Attributes:
        step: [look], rising: how many steps of the run are complete.
        nonfinite: [look], how many losses in a row were not finite; None where none of them was.
        entered: the step on which the state was entered.
        per_epoch: steps in an epoch; None where no epoch is ever closed.
    """

    step: Counts
    nonfinite: Counts | None
    entered: int
    per_epoch: int | None

    def __len__(self) -> int:
        return len(self.step)

    def among(self, places: NDArray[np.intp]) -> StayLooks:
        """Some of them."""
        nonfinite = None if self.nonfinite is None else self.nonfinite[places]
        return StayLooks(self.step[places], nonfinite, self.entered, self.per_epoch)

    def reached(self, hand: str, need: int) -> Verdicts:
        """Where a clock, named as in controller.guards.Clock, has reached a number."""
        per_epoch = self.per_epoch
        if hand == "step":
            true = self.step >= need
        elif hand == "time":
            true = self.step >= need + self.entered
        elif hand in ("epoch", "closings"):
            closed = 0 if hand == "epoch" or per_epoch is None else self.entered // per_epoch
            true = self.step >= (need + closed) * per_epoch if per_epoch else np.full(len(self), need <= 0)
        elif self.nonfinite is None:
            true = np.full(len(self), need <= 0)
        else:
            true = self.nonfinite >= need
        spelled: Verdicts = true.view(np.int8) * np.int8(TRUE)
        return spelled


def ask(guard: GuardInState, looks: StayLooks, detected: Detected, cost: Callable[[GuardInState], int]) -> Verdicts:
    """What a guard says at each look, by Kleene's logic; a part is asked only where the others leave it open.

    Args:
        guard: of the stay.
        looks: at which it is asked.
        detected: what a guard with a detector says at some looks.
        cost: of asking a guard, to ask the cheap ones first.
    """
    if isinstance(guard, Reached):
        return looks.reached(guard.hand, guard.need)
    if isinstance(guard, Watched):
        return detected(guard, looks)
    if isinstance(guard, Opposite):
        opposite: Verdicts = np.int8(TRUE) - ask(guard.part, looks, detected, cost)
        return opposite
    if not isinstance(guard, Joined):
        raise NotImplementedError(type(guard).__name__)
    deciding, other = (TRUE, FALSE) if guard.decisive else (FALSE, TRUE)
    found = np.full(len(looks), other, dtype=np.int8)
    open_, places = looks, np.arange(len(looks))
    for part in sorted(guard.parts, key=cost):
        if not len(places):
            break
        said = ask(part, open_, detected, cost)
        found[places[said == deciding]] = deciding
        unknown = places[said == UNKNOWN]
        found[unknown] = UNKNOWN
        left = said != deciding
        if not left.all():
            places = places[left]
            open_ = looks.among(places)
    return found
