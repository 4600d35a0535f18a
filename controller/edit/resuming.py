"""Whether a run that stands in a state can go on under an edited curriculum, tried by the Controller's own loading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from plateau_rule.controller import snapshot
from plateau_rule.controller.adoption import adopt
from plateau_rule.controller.errors import PlateauError, SnapshotError
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.plan import plan_of
from plateau_rule.controller.rate import carry_over, count_on
from plateau_rule.controller.step import enter, raise_floors, start_run
from plateau_rule.controller.verifier.findings import Report


class Resumption(NamedTuple):
    """What becomes of a run that stands in a state, if it is resumed under the new file.

    Attributes:
        state: by its name in the old file.
        step: at which it was tried: on the first step of the state, or once its ramps are over.
        goes_on: whether the Controller loads what was saved.
        accept: whether it takes on_change = "accept".
        knobs: those that change at once, each with its old and new value.
        why: the Controller's sentence where it refuses.
        adopted: the state that `adopt` would enter instead, where the old one is gone.
    """

    state: str
    step: int
    goes_on: bool
    accept: bool = False
    knobs: tuple[tuple[str, Any, Any], ...] = ()
    why: str = ""
    adopted: str | None = None


def resumptions(old: Report, new: Machine) -> Iterator[Resumption]:
    """One for each state that a run can be in; the worse of two where it depends on how far its ramps are."""
    machine = old.machine
    entered = {entry.state: entry.earliest for entry in old.entries}
    for state in machine.states:
        step = entered.get(state.name)
        if step is None or state.stop is not None:
            continue
        longest = max((ramp.steps for ramp in machine.ramps(state, machine.length).values()), default=0)
        tried = [_tried(machine, new, state, step, time) for time in dict.fromkeys((0, longest))]
        yield next((one for one in tried if not one.goes_on), tried[-1])


def _tried(old: Machine, new: Machine, state: BoundState, entered: int, time: int) -> Resumption:
    """Save a run that has been in a state for some time, and load it under the new file."""
    last = old.total_steps
    step = entered + time if last is None else min(entered + time, last - 1)
    saved = _saved(old, state, entered, step)
    before = saved["plan"]["knobs"]
    why = ""
    for on_change in ("refuse", "accept"):
        try:
            run, _ = snapshot.load(new, saved, on_change)
        except SnapshotError as error:
            why = str(error)
            continue
        now = plan_of(new, run).knobs
        changed = tuple((name, value, now.get(name)) for name, value in before.items() if now.get(name) != value)
        return Resumption(state.name, step, True, on_change == "accept", changed)
    return Resumption(state.name, step, False, why=why, adopted=_adopted(new, state, step, before))


def _saved(machine: Machine, state: BoundState, entered: int, step: int) -> dict[str, Any]:
    """What the Controller saves of a run that entered a state on one step and stands at another."""
    run = start_run(machine)
    rate = run.rate
    enter(machine, run, state, machine.length)
    run.rate = carry_over(count_on(rate, machine, state, entered, machine.length), machine, state, "")
    run.step, run.time = step, step - entered
    run.epoch = step // machine.steps_per_epoch if machine.steps_per_epoch else 0
    raise_floors(machine, run, run.time)
    return snapshot.save(machine, run)


def _adopted(new: Machine, state: BoundState, step: int, knobs: dict[str, Any]) -> str | None:
    """The state that `adopt` would enter, if it is another one than what was refused."""
    if state.name in new.by_name:
        return None
    try:
        run, _ = adopt(new, None, step, {name: value for name, value in knobs.items() if name in new.curriculum.knob})
    except PlateauError:
        return None
    return run.state.name
