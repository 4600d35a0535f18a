"""Adopting a run that has no controller state: the state that it must be in, never an easier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from heapq import heappop, heappush
from math import inf
from typing import SupportsFloat

from plateau_rule.controller.arguments import kind_of, python_number, whole_number
from plateau_rule.controller.certainty import time_of, times_that_tell
from plateau_rule.controller.errors import RegressionError, SnapshotError
from plateau_rule.controller.given_values import value_given
from plateau_rule.controller.guards import TRUE, Clock
from plateau_rule.controller.language.consistency import nearest
from plateau_rule.controller.language.curriculum import Rung
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.rate import RateClock, advance, carry_over, count_on, restart, start_clock
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import enter, settle, start_run


def adopt(
    machine: Machine,
    epoch: int | None,
    step: int | None,
    knobs: Mapping[str, float | str] | None,
    counted: Mapping[str, SupportsFloat | None] | None = None,
) -> tuple[RunState, str]:
    """Enter the state that a run without controller state must be in, never an easier one.

    Args:
        machine: the bound curriculum.
        epoch: how many epochs are complete.
        step: how many optimizer steps are complete.
        knobs: the values it was trained with, where they are known.
        counted: tokens and cost, as far as the curriculum counts them.

    Returns:
        The state of the run, and a sentence that says which state was entered, and why.

    Raises:
        SnapshotError: the position does not fit the run.
        RegressionError: no state is as hard as the knobs.
    """
    step, epoch = _position(machine, _complete("epoch", epoch), _complete("step", step))
    if knobs:
        known = _known(machine, knobs)
        state, why = _at_least_as_hard(machine, known), f"the first state at least as hard as {known}"
    else:
        state, why = (
            hardest(machine, step, epoch),
            "the hardest state that this curriculum could have reached by then",
        )
    run = start_run(machine)
    enter(machine, run, state, machine.length)
    run.step, run.epoch = step, epoch
    rate = advance(start_clock(machine), machine, machine.states[0], step)
    rate = carry_over(_counting(rate, machine, state, step, counted or {}), machine, state, "")
    rate = advance(rate, machine, state, step)
    entering = [t for s in machine.states for t in s.transitions if t.target == state.name]
    if state.index and any(action.name == "lr_restart" for t in entering for action in t.actions):
        rate = restart(rate, machine, state, step)
    run.rate = rate
    if machine.lead:
        run.taken.clear()  # what clocks had in store for the first state
        settle(machine, run, None)
    return run, f'adopted at step {step}, epoch {epoch}: entered "{state.name}", {why}'


def _counting(
    rate: RateClock, machine: Machine, state: BoundState, step: int, counted: Mapping[str, SupportsFloat | None]
) -> RateClock:
    """The rate's clock with what was counted by a step."""
    counts = count_on(rate, machine, state, step, machine.length).counts
    if counts is None:
        return rate
    entered = []
    for meter in machine.meters:
        number = python_number(counted.get(meter.name))
        if number is None or not 0 <= number < inf:
            told = "nothing was said of them" if counted.get(meter.name) is None else f"{counted[meter.name]!r}"
            raise SnapshotError(f"the curriculum counts {meter.name}, and {told}: give adopt {meter.name}=NUMBER")
        entered.append(meter.units(Fraction(str(number))))
    return replace(rate, counts=counts._replace(entered=tuple(entered)))


def _position(machine: Machine, epoch: int | None, step: int | None) -> tuple[int, int]:
    per_epoch = machine.run.steps_per_epoch
    if step is None:
        if epoch and per_epoch is None:
            raise SnapshotError("adopt(epoch=...) needs step= as well where steps_per_epoch is not bound")
        step = epoch * per_epoch if epoch and per_epoch else 0
    if epoch is None:
        epoch = step // per_epoch if per_epoch else 0
    if step < 0 or epoch < 0 or (per_epoch is not None and step // per_epoch != epoch):
        raise SnapshotError(f"step {step} is not in epoch {epoch} of {per_epoch} steps each; both count from 0")
    return step, epoch


def _complete(name: str, given: object) -> int | None:
    number = whole_number(given)
    if given is not None and number is None:
        raise SnapshotError(f"{name} is {kind_of(given)}; expected how many are complete, a whole number")
    return number


def _known(machine: Machine, knobs: object) -> dict[str, Rung]:
    """The values of knobs, numbers as Python's."""
    if not isinstance(knobs, Mapping):
        raise SnapshotError(f'knobs is {kind_of(knobs)}; expected their values by name, such as {{"cutoff": 256}}')
    known: dict[str, Rung] = {}
    for name, value in knobs.items():
        if name not in machine.curriculum.knob:
            raise SnapshotError(f'the curriculum has no knob "{name}". {nearest(str(name), machine.curriculum.knob)}')
        try:
            known[name] = value_given(machine, name, value)
        except ValueError as error:
            raise SnapshotError(str(error)) from None
    return known


def _at_least_as_hard(machine: Machine, knobs: Mapping[str, Rung]) -> BoundState:
    least = {name: _within(machine, name, value) for name, value in knobs.items()}
    for state in machine.states:
        if all(machine.hardness(name, state.knobs[name]) >= value for name, value in least.items()):
            return state
    raise RegressionError(
        f"no state is as hard as {dict(knobs)}: a knob never falls on a resume. Add a state, or start a new run"
    )


def _within(machine: Machine, name: str, value: Rung) -> float:
    """How hard a value is within the trainer's limit."""
    limit = None if machine.limits is None else machine.limits[name]
    return machine.hardness(name, value if limit is None or hardness(value) <= limit else limit)


def hardest(machine: Machine, step: int, epoch: int) -> BoundState:
    """The hardest state that some loss stream could have brought a run to by then.

    Where knobs disagree about which of two states is harder, it is the later one in the file. No run goes on in a state
    that stops it.
    """
    reached = earliest(machine, step, epoch)
    best = machine.states[0]
    for state in machine.states:
        if state.name in reached and state.stop is None and not _easier(machine, state, best):
            best = state
    return best


def _easier(machine: Machine, one: BoundState, other: BoundState) -> bool:
    return one.knobs != other.knobs and all(
        machine.hardness(name, value) <= machine.hardness(name, other.knobs[name]) for name, value in one.knobs.items()
    )


def earliest(machine: Machine, step: int, epoch: int) -> dict[str, int]:
    """The first step that each state could have applied to, for the states that could have been entered by `step`.

    Every guard holds as soon as some loss stream could make it hold; transitions that may lower a knob are left out.
    Where steps_per_epoch is not bound, any observation may have closed an epoch, `epoch` of them at most.
    """
    reached: dict[str, int] = {}
    todo = [(0, machine.states[0].name)]
    while todo:
        entered, name = heappop(todo)
        if name not in reached:
            reached[name] = entered
            for way in _ways_out(machine, machine.by_name[name], entered, step, epoch):
                heappush(todo, way)
    return reached


def _ways_out(machine: Machine, state: BoundState, entered: int, step: int, epoch: int) -> Iterator[tuple[int, str]]:
    """The first step that each state that can follow on this one can apply to."""
    per_epoch, clock = machine.run.steps_per_epoch, Clock()
    stay = machine.stay(state, machine.length)
    ways = [(way, stay.guards[place]) for place, way in enumerate(state.transitions) if not way.regress]
    may, must = [0] * len(ways), [0] * len(ways)  # looks in a row
    left = {way.target for way, _ in ways}
    turns = {1, *(time_of(*turn, entered, per_epoch) for _, guard in ways for turn in guard.turns())}
    for clock.time in times_that_tell([way for way, _ in ways], turns, entered, step - entered, per_epoch):
        clock.step = entered + clock.time
        clock.epoch = clock.step // per_epoch if per_epoch else min(clock.step, epoch)
        clock.closings = min(clock.time, epoch)  # asked for only where the trainer closes the epochs
        for place, (way, guard) in enumerate(ways):
            if way.at == "epoch" and per_epoch and clock.step % per_epoch:
                continue
            bits = guard.possible(clock, clock.time)
            may[place] = may[place] + 1 if bits & TRUE else 0
            must[place] = must[place] + 1 if bits == TRUE else 0
            if may[place] >= way.sustain and way.target in left:
                left.remove(way.target)
                yield clock.step, way.target
            known = way.at == "step" or (way.at == "epoch" and per_epoch is not None)
            if known and way.at_most is None and must[place] >= way.sustain:
                return  # no stream stays any longer
        if not left:
            return
