"""What is planned and what was decided; a plan is worked out from the state of the run, and changes nothing."""

from __future__ import annotations

from typing import NamedTuple

from plateau_rule.controller.frozen import KnobValues
from plateau_rule.controller.machine import Action, Knobs, Machine
from plateau_rule.controller.missing import after_the_end
from plateau_rule.controller.rate import counts_over, learning_rate
from plateau_rule.controller.readings import Way
from plateau_rule.controller.state import RunState


class Plan(NamedTuple):
    """What to do on the next optimizer step; a pure read."""

    step: int
    """The step about to be taken, from 0."""
    epoch: int
    """The epoch it belongs to, from 0."""
    state: str
    """The state's name."""
    knobs: Knobs
    """The value of every knob on this step; a dict that cannot be changed."""
    lr: float
    """The learning rate of this step."""
    requests: tuple[Action, ...]
    """What the trainer is asked to do before this step; handed over with this plan only."""
    stop: str | None
    """Why training should end here, or None."""
    lr_multiplier: float
    """The rate as a share of the run's peak, for optimizers whose groups of parameters have peaks of their own."""


class Decision(NamedTuple):
    """A transition that was taken, and why."""

    step: int
    """The first step that the new state applies to."""
    epoch: int
    """The epoch that this step belongs to."""
    from_state: str
    """The name of the state that was left."""
    to_state: str
    """The name of the state that was entered."""
    transition: str
    """The transition's name, or its number in the file."""
    knobs_before: Knobs
    """The knobs on the last step in the old state."""
    knobs: Knobs
    """The knobs on the first step in the new one."""
    lr_before: float
    """The learning rate on the last step in the old state."""
    lr: float
    """The learning rate on the first step in the new one."""
    loss: float | None
    """The loss whose observation brought it."""
    guards: tuple[str, ...]
    """Every guard that was looked at, one line each."""
    raises: tuple[str, ...] = ()
    """The knobs that it made harder."""
    readings: tuple[Way, ...] = ()
    """The transition as it stood at the look that took it: `guards` as numbers."""


def plan_of(machine: Machine, run: RunState) -> Plan:
    """What to do on the next step."""
    step, state = run.step, run.state
    knobs = knobs_at(run, run.time) if state.ramps else state.knobs
    lr = learning_rate(run.rate, machine, state, step)
    total = machine.sure_steps
    goes_on = state.stop is None and total is not None and step < total  # as nearly always: no call is needed
    stop = None if goes_on else stop_reason(machine, run)
    # A named tuple made as the tuple that it is: a call with the fields takes three times as long.
    return tuple.__new__(Plan, (step, run.epoch, state.name, knobs, lr, run.requests, stop, lr / machine.peak))


def knobs_at(run: RunState, time: int) -> Knobs:
    """The knobs after `time` steps in the present state."""
    ramps = run.stay.ramps
    if not ramps:
        return run.state.knobs
    return KnobValues({**run.state.knobs, **{name: ramp.value(time) for name, ramp in ramps.items()}})


def stop_reason(machine: Machine, run: RunState) -> str | None:
    """Why training should end before the next step, or None."""
    total, epochs = machine.total_steps, machine.run.epochs
    if run.state.stop is not None:
        why, late = run.state.stop, run.time > 0
    elif total is not None and run.step >= total:
        why, late = f"the run of {total} steps is over", run.step > total
    elif total is None and epochs is not None and run.epoch >= epochs:
        why, late = f"the run of {epochs} epochs is over", run.epoch > epochs
    elif machine.bounds and (end := count_ends(machine, run)) <= run.step:
        why, late = f"the run of {_shown(machine, run)} is over", run.step > end
    else:
        return None
    if late:
        after_the_end(run, why)
    return why


def count_ends(machine: Machine, run: RunState) -> int:
    """The first step that begins at or beyond where a meter ends the run, if it stays in this state."""
    return counts_over(machine, run.rate)


def length_over(machine: Machine, run: RunState) -> bool:
    """Whether the run's length is reached, in steps or in what is counted."""
    end = run_ends(machine, run)
    return end is not None and run.step >= end


def run_ends(machine: Machine, run: RunState) -> int | None:
    """The first step after the run, if it stays in this state, by steps or by what is counted; None where unknown."""
    ends = [] if machine.total_steps is None else [machine.total_steps]
    return min([*ends, *([count_ends(machine, run)] if machine.bounds else [])], default=None)


def _shown(machine: Machine, run: RunState) -> str:
    counts = run.rate.counts
    assert counts is not None
    first = min(machine.bounds, key=lambda bound: counts.reaches(*bound))
    return machine.meters[first[0]].shown(first[1])
