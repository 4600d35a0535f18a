"""What `[lr]`, and `lr` of a state, become once the run is known: amounts in one form, warm-ups in steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.guards.word import AmountAsked
from plateau_rule.controller.language.amounts import Amount, parse_amount
from plateau_rule.controller.language.curriculum import FULL, Curriculum, State
from plateau_rule.controller.language.rates import GrowingCycles
from plateau_rule.controller.machine import BoundRate, BoundState, Limits, Machine, Warmup

ENDLESS = 2**31  # cycles that are all as long as the first one
DOUBLED = 64  # cycles, each at least twice as long as the one before it: they go beyond any run


@dataclass(frozen=True, slots=True)
class EndlessCycles(Sequence[Amount]):
    """The lengths of cycles, each `factor` times as long as the one before it; no run gets to the end of them."""

    first: Amount
    factor: int

    def __len__(self) -> int:
        return ENDLESS if self.factor == 1 else DOUBLED

    @overload
    def __getitem__(self, place: int) -> Amount: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Amount]: ...
    def __getitem__(self, place: int | slice) -> Amount | Sequence[Amount]:
        """The length of one cycle, from 0."""
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        return Amount(self.first.count * self.factor**place, self.first.unit)


def bound_cycles(curriculum: Curriculum) -> Sequence[Amount]:
    """The lengths of the cycles of the run's rate, none where it has one length."""
    written = curriculum.lr.cycles
    if isinstance(written, GrowingCycles):
        return EndlessCycles(parse_amount(written.first), written.factor)
    return tuple(map(parse_amount, written or ()))


def warmup_at_start(machine: Machine) -> Warmup:
    """The warm-up at the start of a run: that of the first state, if it has one, else the run's."""
    rate, own = machine.curriculum.lr, machine.curriculum.state[0].lr
    start = own.warmup_from if own.warmup_from is not None else rate.warmup_from
    return _warmup(machine, machine.states[0], own.warmup or rate.warmup, start)


def follow_factor(follow: Mapping[str, float], first: Mapping[str, Any], knobs: Mapping[str, Any]) -> float:
    """What the knobs that the rate follows multiply it by.

    Args:
        follow: their exponents.
        first: the knobs of the first state.
        knobs: the knobs of the state.
    """
    factor = 1.0
    for name, exponent in follow.items():
        factor *= (knobs[name] / first[name]) ** exponent
    return factor


def bound_rate(curriculum: Curriculum, state: State, follow: float = 1.0) -> BoundRate:
    """The rate of one state, as yet without its warm-up: how many steps that is may depend on the state's knobs.

    Args:
        curriculum: the curriculum.
        state: the state.
        follow: what `follow_factor` gives.
    """
    rate, own = curriculum.lr, state.lr
    return BoundRate(
        own.peak,
        own.shape or rate.shape,
        rate.floor if own.floor is None else own.floor,
        rate.decay if own.decay is None else own.decay,
        parse_amount(own.length or rate.length or "rest"),
        () if own.length is not None else bound_cycles(curriculum),
        Warmup(),
        own.warmup is not None,
        follow,
    )


def with_warmups(machine: Machine) -> Machine:
    """The machine with every warm-up in steps, those that it takes in the state that it begins in."""
    rate, states = machine.curriculum.lr, []
    for state in machine.states:
        own = machine.curriculum.state[state.index].lr
        amount = own.warmup if own.warmup is not None else rate.warmup if rate.rewarm else None
        start = rate.warmup_from if own.warmup_from is None else own.warmup_from
        warmup = _warmup(machine, state, amount, start)
        states.append(replace(state, rate=replace(state.rate, warmup=warmup)) if warmup.steps else state)
    by_name = FrozenDict({state.name: state for state in states})
    return replace(machine, states=tuple(states), by_name=by_name, warmup=warmup_at_start(machine))


def _warmup(machine: Machine, state: BoundState, amount: str | None, start: float | None) -> Warmup:
    steps = 0 if amount is None else machine.steps_of(parse_amount(amount), state, machine.length)
    return Warmup(steps, start if steps else None)


# What does not fit a run


def rate_amounts(curriculum: Curriculum) -> Iterator[AmountAsked]:
    """Every amount of time that the rate asks for."""
    rate = curriculum.lr
    if isinstance(rate.cycles, GrowingCycles):
        yield AmountAsked(rate.cycles.first, ("lr", "cycles", "first"))
    else:
        yield from (AmountAsked(cycle, ("lr", "cycles", i)) for i, cycle in enumerate(rate.cycles or ()))
    falls = [(state.lr.shape or rate.shape) != "constant" and state.lr.length is None for state in curriculum.state]
    if rate.length is None and rate.cycles is None and any(falls):
        yield AmountAsked("rest", ("lr",), in_state=True)
    tables = [(rate, ("lr",)), *((state.lr, ("state", i, "lr")) for i, state in enumerate(curriculum.state))]
    for table, path in tables:
        for key in ("length", "warmup"):
            if (text := getattr(table, key)) is not None:
                yield AmountAsked(text, (*path, key), in_state=True)


def follow_faults(curriculum: Curriculum, limits: Limits | None) -> Iterator[Fault]:
    """Values that the rate cannot follow: `full`, where nobody says how much that is."""
    for name in curriculum.lr.follow:
        at = next((i for i, state in enumerate(curriculum.state) if state.set[name] == FULL), None)
        if at is not None and (limits is None or limits.get(name) is None):
            found = f"{name} = full, and the rate follows {name}"
            expected = f"a limit that says how much it is, such as --limit {name}=NUMBER"
            yield Fault("unresolved-follow", ("state", at, "set", name), found, expected)


def peak_faults(curriculum: Curriculum, peak: float | None) -> list[Fault]:
    """A peak that a trainer binds, below the lowest rate of the file."""
    lowest = curriculum.lr.lowest
    if peak is None or peak >= lowest:
        return []
    return [Fault("lowest-above-peak", ("lr", "lowest"), f"lowest {lowest:g} above the peak {peak:g} that is bound",
                  "a rate below the peak")]  # fmt: skip
