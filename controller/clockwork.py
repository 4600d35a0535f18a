"""The learning rate's clock: where the current phase began, how long it is, and what the rate is on a step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from plateau_rule.controller.language.amounts import Amount, steps_in
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.rates import multiplier

LARGEST_SCALE = 1e100


@dataclass(frozen=True, slots=True)
class RateClock:
    """Where the rate stands; explicit, small, and saved as it is.

    anchor: the step on which the current phase (or the warm-up before it) began; warm_steps: steps of warm-up before
    phase 0; cycle: index into `cycles`; length_steps: the length in force; scale: product of the `lr_scale`s taken.
    """

    anchor: int
    warm_steps: int
    cycle: int
    length_steps: int
    scale: float


def start(machine: Machine, state: BoundState, total_steps: int | None) -> RateClock:
    """The rate's clock on step 0."""
    return RateClock(0, machine.warmup_steps, 0, _length(machine, state, 0, 0, total_steps), 1.0)


def _length(machine: Machine, state: BoundState, cycle: int, anchor: int, total_steps: int | None) -> int:
    rate = state.rate
    amount: Amount = rate.cycles[cycle] if rate.cycles else rate.length
    if amount.unit == "rest" and total_steps is None:
        return 1  # only a constant rate may be bound without the run's length, and it has no phase
    return steps_in(amount, machine.run, total_steps, anchor)


def restarted(clock: RateClock, machine: Machine, state: BoundState, step: int, total_steps: int | None) -> RateClock:
    """The clock after `lr_restart`, of which `step` is the first step; in cycles, the current one starts over."""
    warm = machine.warmup_steps if machine.curriculum.lr.rewarm else 0
    return RateClock(step, warm, clock.cycle, _length(machine, state, clock.cycle, step, total_steps), clock.scale)


def scaled(clock: RateClock, factor: float) -> RateClock:
    """The clock after `lr_scale`; the product stays a number that can be saved, however often it is taken."""
    return replace(clock, scale=min(clock.scale * factor, LARGEST_SCALE))


def amount_in_force(clock: RateClock, state: BoundState) -> Amount:
    """What the length in force is written as."""
    return state.rate.cycles[clock.cycle] if state.rate.cycles else state.rate.length


def carried(clock: RateClock, machine: Machine, state: BoundState, written: str, total_steps: int | None) -> RateClock:
    """The clock in a state that was entered, or edited, without a restart: the phase goes on.

    It goes on over the same length where that is written alike (`written` was in force), else over this state's,
    measured from where the phase began. The number of the current cycle is kept where a state has a length of its own.
    """
    cycles = machine.curriculum.lr.cycles or [""]
    clock = replace(clock, cycle=min(clock.cycle, len(cycles) - 1))
    if str(amount_in_force(clock, state)) == written:
        return clock
    return replace(clock, length_steps=_length(machine, state, clock.cycle, clock.anchor, total_steps))


def advanced(clock: RateClock, machine: Machine, state: BoundState, step: int, total_steps: int | None) -> RateClock:
    """The clock on `step`, past every cycle that is over by then."""
    cycles = state.rate.cycles
    while clock.cycle + 1 < len(cycles) and step >= clock.anchor + clock.warm_steps + clock.length_steps:
        anchor = clock.anchor + clock.warm_steps + clock.length_steps
        length = _length(machine, state, clock.cycle + 1, anchor, total_steps)
        clock = RateClock(anchor, 0, clock.cycle + 1, length, clock.scale)
    return clock


def after(
    clock: RateClock, machine: Machine, transition: BoundTransition, step: int, total_steps: int | None
) -> RateClock:
    """The clock on `step`, the first one of the state that a transition enters, its actions carried out in order."""
    old, new = machine.by_name[transition.source], machine.by_name[transition.target]
    # A cycle that is over by this step is over before any action: a restart then means the cycle that begins here.
    clock = advanced(clock, machine, old, step, total_steps)
    clock = carried(clock, machine, new, str(amount_in_force(clock, old)), total_steps)
    for action in transition.actions:
        if action.name == "lr_restart":
            clock = restarted(clock, machine, new, step, total_steps)
        elif action.name == "lr_scale":
            clock = scaled(clock, float(action.argument or 1.0))
    return advanced(clock, machine, new, step, total_steps)


def rate(clock: RateClock, machine: Machine, state: BoundState, step: int) -> float:
    """The learning rate on `step`: peak * scale * state.peak * multiplier, in this order."""
    bound = state.rate
    top = machine.peak * clock.scale * bound.peak
    passed = step - clock.anchor
    if passed < clock.warm_steps:
        return top * ((passed + 1) / (clock.warm_steps + 1))
    return top * multiplier(bound.shape, bound.floor, bound.decay, passed - clock.warm_steps, clock.length_steps)
