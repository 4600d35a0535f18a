"""The tables that say what the learning rate is: `[lr]`, and `lr` of a state."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from plateau_rule.controller.language.values import (
    LARGEST,
    Amount,
    Asks,
    Decay,
    Duration,
    Name,
    Positive,
    Shape,
    Share,
    Table,
)


class GrowingCycles(Table):
    """Cycles without end, each of them longer than the one before it, or as long (SGDR)."""

    first: Duration
    """The length of the first cycle."""
    factor: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many times as long as the one before it each cycle is."""


class Peaks(Table):
    """Where each cycle begins."""

    factor: Annotated[float, Field(gt=0, le=1)]
    """The peak of each cycle, as a share of that of the cycle before it."""


def _list_or_table(written: Any) -> str:
    return "list" if isinstance(written, list) else "table"


CyclesWritten = Annotated[
    Annotated[list[Amount], Field(min_length=1, max_length=256), Tag("list")] | Annotated[GrowingCycles, Tag("table")],
    Discriminator(_list_or_table),
    Asks('a list of lengths, or a table such as { first = "10 epochs", factor = 2 }'),
]


class Rate(Table):
    """The learning rate of the whole run."""

    peak: Positive
    """The rate at the start, and after every `lr_restart`."""
    shape: Shape = "cosine"
    """How the rate falls from the peak to the floor; `wsd` stays at the peak and falls over the last part."""
    floor: Share = 0.0
    """Share of the peak that is reached at the end of `length` and held from there; `constant` has none."""
    lowest: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    """The rate never falls below this, whatever scales it."""
    length: Amount | None = None
    """How long the fall takes, from the start or the last restart on; `rest` where neither it nor `cycles` is."""
    cycles: CyclesWritten | None = None
    """Instead of `length`: the lengths of cycles, each of which starts at the peak; or the first, and a `factor`."""
    peaks: Peaks | None = None
    """With `cycles`: how the peak changes from one to the next."""
    follow: dict[Name, Annotated[float, Field(ge=-2, le=2)]] = Field(default_factory=dict)
    """Knobs with exponents: the rate is multiplied by (value / value in the first state) to this power."""
    decay: Decay = 0.2
    """With `wsd`: the last part of the length, over which the rate falls."""
    warmup: Duration | None = None
    """Linear rise to the peak at the start of the run, before the first step of the fall."""
    warmup_from: Share | None = None
    """Share of the peak on the first step of a warm-up, as torch counts it; one part of warmup + 1 without it."""
    rewarm: bool = False
    """Whether the warm-up is repeated after each `lr_restart`."""


class StateRate(Table):
    """What a state changes about the learning rate while it lasts."""

    peak: Positive = 1.0
    """A factor on the run's peak."""
    shape: Shape | None = None
    """How the rate falls in this state; as in `[lr]` where it is not given."""
    floor: Share | None = None
    """Share of the peak that is reached at the end of the length; as in `[lr]` where it is not given."""
    length: Amount | None = None
    """How long the fall takes, from the last restart on; replaces the length or the cycles of `[lr]`."""
    decay: Decay | None = None
    """With `wsd`: the last part of the length, over which the rate falls; as in `[lr]` where it is not given."""
    warmup: Duration | None = None
    """A warm-up on entering this state by `lr_restart`, in place of that of `[lr]`; `aligned` counts from its end."""
    warmup_from: Share | None = None
    """With `warmup`: share of the peak on its first step; as in `[lr]` where it is not given."""
