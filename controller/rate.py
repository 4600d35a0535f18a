"""The learning rate: the shapes in which it falls, its clock, and what it is on a step.

The clock says where the current phase began and how long it is. It is a value; what happens to it (a restart, a
transition, the end of a cycle) gives another clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, pi

from plateau_rule.controller.language.amounts import Amount, steps_in
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine

LARGEST_SCALE = 1e100
SMALLEST_PEAK = 1e-100


# Shapes: functions of the phase, which is 0 on the step of a restart and 1 at the end of `length`


def cosine(phase: float, decay: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, SGDR, equation 5)."""
    return 0.5 * (1.0 + cos(pi * phase))


def linear(phase: float, decay: float) -> float:
    """A straight line from 1 to 0."""
    return 1.0 - phase


def constant(phase: float, decay: float) -> float:
    """1 throughout; a floor has no effect."""
    return 1.0


def wsd(phase: float, decay: float) -> float:
    """Stable at 1, then a straight line to 0 over the last `decay` of the length (Hu et al. 2024, MiniCPM)."""
    return min(1.0, (1.0 - phase) / decay)


SHAPES = {"cosine": cosine, "linear": linear, "constant": constant, "wsd": wsd}


def multiplier(shape: str, floor: float, decay: float, phase_steps: int, length_steps: int) -> float:
    """What the peak is multiplied by.

    Args:
        shape: a key of SHAPES.
        floor: 0 to 1, reached at the end of the length and held from there.
        decay: the share of the length over which `wsd` falls.
        phase_steps: optimizer steps since the restart.
        length_steps: optimizer steps in the length.

    Returns:
        A number from the floor to 1.
    """
    if phase_steps <= 0:
        phase = 0.0
    elif phase_steps >= length_steps:
        phase = 1.0
    else:
        phase = phase_steps / length_steps
    return floor + (1.0 - floor) * SHAPES[shape](phase, decay)


# The clock


@dataclass(frozen=True, slots=True)
class RateClock:
    """Where the rate stands; explicit, small, and saved as it is.

    Args:
        anchor: the step on which the current phase, or the warm-up before it, began.
        warm_steps: steps of warm-up before phase 0.
        cycle: index into `cycles`.
        length_steps: the length in force.
        scale: the product of the `lr_scale`s taken.
        warm_from: the share of the peak that the warm-up begins with, if the curriculum says it.
    """

    anchor: int
    warm_steps: int
    cycle: int
    length_steps: int
    scale: float
    warm_from: float | None = None

    @property
    def begun(self) -> int:
        """The step of phase 0, after the warm-up."""
        return self.anchor + self.warm_steps

    @property
    def end(self) -> int:
        """The first step after the current length."""
        return self.anchor + self.warm_steps + self.length_steps


def start_clock(machine: Machine) -> RateClock:
    """The rate's clock on step 0."""
    first, warm = machine.states[0], machine.warmup
    clock = RateClock(0, warm.steps, 0, length_steps(machine, first, 0, warm.steps), 1.0, warm.start)
    return advance(clock, machine, first, 0)


def length_steps(machine: Machine, state: BoundState, cycle: int, begun: int) -> int:
    """How many steps the length of a cycle, or the state's one length, has if its phase 0 is on step `begun`."""
    rate = state.rate
    amount: Amount = rate.cycles[cycle] if rate.cycles else rate.length
    if amount.unit == "rest" and machine.total_steps is None:
        return 1  # only a constant rate may be bound without the run's length, and it has no phase
    return steps_in(amount, machine.run, machine.total_steps, begun)


def amount_in_force(clock: RateClock, state: BoundState) -> Amount:
    """What the length in force is written as."""
    return state.rate.cycles[clock.cycle] if state.rate.cycles else state.rate.length


def restart(clock: RateClock, machine: Machine, state: BoundState, step: int) -> RateClock:
    """The clock after `lr_restart`, whose first step is `step`; of several cycles, the current one starts over."""
    warm = state.rate.warmup
    length = length_steps(machine, state, clock.cycle, step + warm.steps)
    return RateClock(step, warm.steps, clock.cycle, length, clock.scale, warm.start)


def rescale(clock: RateClock, factor: float) -> RateClock:
    """The clock after `lr_scale`; the product stays a number that can be saved, however often it is taken."""
    return replace(clock, scale=min(clock.scale * factor, LARGEST_SCALE))


def carry_over(clock: RateClock, machine: Machine, state: BoundState, written: str) -> RateClock:
    """The clock in a state that was entered, or edited, without a restart: the phase goes on.

    The length stays the same where it is written alike. Otherwise it is this state's, measured from where the phase
    began. A state with a length of its own keeps the number of the current cycle.

    Args:
        clock: as it was.
        machine: the bound curriculum.
        state: the state in which the phase goes on.
        written: how the length that was in force was written.
    """
    clock = replace(clock, cycle=min(clock.cycle, max(0, len(machine.cycles) - 1)))
    if str(amount_in_force(clock, state)) == written:
        return clock
    return replace(clock, length_steps=length_steps(machine, state, clock.cycle, clock.begun))


def advance(clock: RateClock, machine: Machine, state: BoundState, step: int) -> RateClock:
    """The clock on `step`, past every cycle that is over by then."""
    cycles = state.rate.cycles
    while clock.cycle + 1 < len(cycles) and step >= clock.end:
        length = length_steps(machine, state, clock.cycle + 1, clock.end)
        clock = RateClock(clock.end, 0, clock.cycle + 1, length, clock.scale)
    return clock


def after_transition(clock: RateClock, machine: Machine, transition: BoundTransition, step: int) -> RateClock:
    """The clock on `step`, the first one of the state that a transition enters, its actions carried out in order."""
    old, new = machine.by_name[transition.source], machine.by_name[transition.target]
    # A cycle that is over by this step is over before any action: a restart then means the cycle that begins here.
    clock = advance(clock, machine, old, step)
    clock = carry_over(clock, machine, new, str(amount_in_force(clock, old)))
    for action in transition.actions:
        if action.name == "lr_restart":
            clock = restart(clock, machine, new, step)
        elif action.name == "lr_scale":
            clock = rescale(clock, float(action.argument or 1.0))
    return advance(clock, machine, new, step)


def learning_rate(clock: RateClock, machine: Machine, state: BoundState, step: int) -> float:
    """The rate on `step`: peak * scale * state.peak * peaks * follow * multiplier, in this order; not below lowest."""
    top = machine.peak * clock.scale * state.rate.peak
    if machine.moves_peak:
        top = _moved(top, clock, machine, state)
    bound, passed, warm_steps = state.rate, step - clock.anchor, clock.warm_steps
    if passed < warm_steps:
        rate = top * warming(passed, warm_steps, clock.warm_from)
    else:  # share_of_peak without its call, which every step would pay for
        rate = top * multiplier(bound.shape, bound.floor, bound.decay, passed - warm_steps, clock.length_steps)
    return rate if rate >= machine.lowest else machine.lowest


def share_of_peak(clock: RateClock, state: BoundState, step: int) -> float:
    """The rate on `step` as a share of the peak in force: the warm-up, or the shape."""
    bound, passed, warm_steps = state.rate, step - clock.anchor, clock.warm_steps
    if passed < warm_steps:
        return warming(passed, warm_steps, clock.warm_from)
    return multiplier(bound.shape, bound.floor, bound.decay, passed - warm_steps, clock.length_steps)


def peak_in_force(clock: RateClock, machine: Machine, state: BoundState) -> float:
    """What the shape of the rate is multiplied by."""
    return _moved(machine.peak * clock.scale * state.rate.peak, clock, machine, state)


def _moved(top: float, clock: RateClock, machine: Machine, state: BoundState) -> float:
    """A peak, moved by the cycle and by the knobs that the rate follows."""
    if machine.peaks is not None:
        top *= peak_of_cycle(machine.peaks, clock.cycle)
    return top * state.rate.follow


def peak_of_cycle(factor: float, cycle: int) -> float:
    """The peak of a cycle as a share of the first one's; it stays a number that can be divided by."""
    return max(factor**cycle, SMALLEST_PEAK)


def warming(passed: int, steps: int, start: float | None) -> float:
    """The share of the peak on a step of a warm-up, from 0.

    Args:
        passed: the steps of it that are over.
        steps: how long it is.
        start: the share on its first step, by torch's LinearLR and Transformers' rule; None for one part of steps + 1.
    """
    if start is None:
        return (passed + 1) / (steps + 1)
    return start + (1.0 - start) * passed / steps
