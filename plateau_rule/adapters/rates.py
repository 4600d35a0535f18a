"""The rates of an optimizer's parameter groups: each its own ratio times the plan's."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.saved import SavedRule
from plateau_rule.adapters.watch import Watch
from plateau_rule.controller.plan import Plan

Groups = Sequence[MutableMapping[str, Any]]
"""An optimizer's parameter groups: `optimizer.param_groups`."""


class GroupRates:
    """What a run sets in the groups.

    Args:
        watch: says that something else sets them too.

    Attributes:
        ratios: each group's rate, divided by the largest group's.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.ratios: tuple[float, ...] = ()
        self._set: tuple[float, ...] = ()  # the last time

    def begin(self, ratios: tuple[float, ...]) -> None:
        """A run begins or goes on with these ratios."""
        self.ratios, self._set = ratios, ()

    def set(self, groups: Groups, plan: Plan) -> None:
        """Set every group's rate for the step of a plan."""
        wanted = tuple(ratio * plan.lr for ratio in self.ratios)
        for place, (group, rate) in enumerate(zip(groups, wanted, strict=True)):
            if hasattr(group["lr"], "fill_"):  # a tensor, which a compiled optimizer reads
                group["lr"].fill_(rate)
                continue
            if self._set and group["lr"] != self._set[place]:
                self._watch.rate_changed(plan.step, place, group["lr"], self._set[place])
            group["lr"] = rate
        self._set = wanted


def ratios_of(framework: str, groups: Groups, saved: SavedRule | None) -> tuple[float, ...]:
    """Each group's rate divided by the largest, as it was when the run began.

    A resumed optimizer's rates are decayed ones, so that only the saved ratios count then.

    Raises:
        WiringError: they cannot be known, or were saved of other groups.
    """
    if saved is None:
        rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
        highest = max(rates, default=0.0)
        if not highest > 0:
            raise WiringError(
                f"{framework}: every parameter group has the rate 0, so how they compare is unknown. Give the "
                "optimizer a rate above 0; the curriculum replaces it"
            )
        return tuple(rate / highest for rate in rates)
    if len(saved.ratios) != len(groups):
        raise WiringError(
            f"{framework}: the optimizer has {len(groups)} parameter groups, and had {len(saved.ratios)} when the "
            "checkpoint was made. Make the same groups in the same order"
        )
    return saved.ratios
