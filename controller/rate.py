"""The learning rate: the shapes in which it falls, its clock, and what it is on a step.

The clock says where the current phase began and how long it is. It is a value; what happens to it (a restart, a
transition, the end of a cycle) gives another clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, pi
from typing import NamedTuple

from plateau_rule.controller.language.amounts import Amount, steps_in
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.tally import Counted, StayTally

LARGEST_SCALE = 1e100
FAR = 1 << 60  # steps; later than any run ends
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


class Counts(NamedTuple):
    """Where the meters of a run stand: what they had counted when the state was entered, and what a step in it counts.

    Attributes:
        step: the step on which the state was entered.
        entered: what each meter had counted by then.
        begun: the same on the step of phase 0; while the warm-up lasts, as if the state lasted as long.
        tally: what they count in this stay.
        meter: the place of the meter that measures the length in force; None where it is steps.
        length: that length, in the meter's whole units.
    """

    step: int
    entered: Counted
    begun: Counted
    tally: StayTally
    meter: int | None = None
    length: int = 0

    def at(self, meter: int, step: int) -> int:
        """What a meter has counted before a step of this stay."""
        return self.entered[meter] + self.tally.at(meter, step - self.step)

    def all_at(self, step: int) -> Counted:
        """What each meter has counted before a step of this stay."""
        return tuple(self.at(meter, step) for meter in range(len(self.entered)))

    def reaches(self, meter: int, count: int) -> int:
        """The first step before which a meter has counted so much, if the run stays in this state."""
        return self.step + self.tally.steps(meter, count - self.entered[meter])


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
        counts: where the meters stand; None where there are none.
    """

    anchor: int
    warm_steps: int
    cycle: int
    length_steps: int
    scale: float
    warm_from: float | None = None
    counts: Counts | None = None

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
    clock = RateClock(0, warm.steps, 0, 0, 1.0, warm.start)
    if machine.meters:
        nothing = (0,) * len(machine.meters)
        clock = replace(clock, counts=Counts(0, nothing, nothing, machine.tally(first, machine.length)))
        clock = begin(clock)
    return advance(measure(clock, machine, first), machine, first, 0)


def begin(clock: RateClock) -> RateClock:
    """The clock with what will have been counted on the step of phase 0, if the state lasts until then."""
    counts = clock.counts
    if counts is None:
        return clock
    return replace(clock, counts=counts._replace(begun=counts.all_at(clock.begun)))


def measure(clock: RateClock, machine: Machine, state: BoundState) -> RateClock:
    """The clock with the length of a state, or of its current cycle, from the step of phase 0 on."""
    amount, counts = amount_in_force(clock, state), clock.counts
    meter = None if counts is None else machine.meter_of(amount)
    if counts is None or meter is None:
        counts = None if counts is None else counts._replace(meter=None, length=0)
        return replace(clock, length_steps=length_steps(machine, state, clock.cycle, clock.begun), counts=counts)
    if amount.unit == "rest":
        length = max(0, (machine.length or 0) - counts.begun[meter])
    else:
        length = machine.count_in(amount, machine.length)
    return replace(clock, length_steps=0, counts=counts._replace(meter=meter, length=length))


def count_on(clock: RateClock, machine: Machine, state: BoundState, step: int, length: int | None) -> RateClock:
    """The clock in a state that is entered on `step`; while a warm-up lasts, what it counts is not known for sure.

    Args:
        clock: as it stands in the state before.
        machine: the bound curriculum.
        state: the state that is entered.
        step: its first step.
        length: of the run, on which the amounts of time in the state are measured.
    """
    counts = clock.counts
    if counts is None:
        return clock
    counts = counts._replace(step=step, entered=counts.all_at(step), tally=machine.tally(state, length))
    return replace(clock, counts=counts)


def counts_over(machine: Machine, clock: RateClock) -> int:
    """The first step that begins at or beyond where a meter ends the run, if it stays in its state."""
    counts = clock.counts
    assert counts is not None  # where there are meters
    return min((counts.reaches(meter, bound) for meter, bound in machine.bounds), default=FAR)


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
    if clock.counts is None:
        length = length_steps(machine, state, clock.cycle, step + warm.steps)
        return RateClock(step, warm.steps, clock.cycle, length, clock.scale, warm.start)
    begun = begin(RateClock(step, warm.steps, clock.cycle, 0, clock.scale, warm.start, clock.counts))
    return measure(begun, machine, state)


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
    return measure(clock, machine, state)


def advance(clock: RateClock, machine: Machine, state: BoundState, step: int) -> RateClock:
    """The clock on `step`, past every cycle that is over by then."""
    cycles = state.rate.cycles
    while clock.cycle + 1 < len(cycles) and step >= clock.end:
        length = length_steps(machine, state, clock.cycle + 1, clock.end)
        clock = begin(RateClock(clock.end, 0, clock.cycle + 1, length, clock.scale, None, clock.counts))
    return clock


def after_transition(clock: RateClock, machine: Machine, transition: BoundTransition, step: int) -> RateClock:
    """The clock on `step`, the first one of the state that a transition enters, its actions carried out in order."""
    old, new = machine.by_name[transition.source], machine.by_name[transition.target]
    # A cycle that is over by this step is over before any action: a restart then means the cycle that begins here.
    clock = advance(clock, machine, old, step)
    written = str(amount_in_force(clock, old))
    clock = carry_over(count_on(clock, machine, new, step, machine.length), machine, new, written)
    if clock.counts is not None and step < clock.begun:  # the warm-up goes on, and counts what this state does
        clock = begin(clock)
        if clock.counts is not None and clock.counts.meter is not None and amount_in_force(clock, new).unit == "rest":
            clock = measure(clock, machine, new)
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
        phase, length = passed - warm_steps, clock.length_steps
        if clock.counts is not None:
            phase, length = phase_of(clock, step)
        rate = top * multiplier(bound.shape, bound.floor, bound.decay, phase, length)
    return rate if rate >= machine.lowest else machine.lowest


def share_of_peak(clock: RateClock, state: BoundState, step: int) -> float:
    """The rate on `step` as a share of the peak in force: the warm-up, or the shape."""
    bound, passed, warm_steps = state.rate, step - clock.anchor, clock.warm_steps
    if passed < warm_steps:
        return warming(passed, warm_steps, clock.warm_from)
    return multiplier(bound.shape, bound.floor, bound.decay, *phase_of(clock, step))


def phase_of(clock: RateClock, step: int) -> tuple[int, int]:
    """The time since phase 0, and the length in force: in steps, or in whole units of the meter that measures it."""
    counts = clock.counts
    if counts is None or counts.meter is None:
        return step - clock.begun, clock.length_steps
    return counts.at(counts.meter, step) - counts.begun[counts.meter], counts.length


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
