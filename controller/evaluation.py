"""An evaluation, which comes after its step: a look of its own."""

from __future__ import annotations

from collections.abc import Sequence

from plateau_rule.controller.errors import StepError
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.missing import after_evaluation, note_given
from plateau_rule.controller.plan import Decision
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import (
    AT_EVAL,
    find_ahead,
    find_transition,
    push_metrics,
    remember_look,
    take_step,
    take_transition,
)


def take_observation(
    machine: Machine,
    run: RunState,
    loss: float | None,
    epoch_end: bool = False,
    eval_end: bool = False,
    skipped: bool = False,
    metrics: Sequence[tuple[str, float]] = (),
) -> Decision | None:
    """Take in what `Controller.observe` takes, as numbers: a step and then, where there was one, its evaluation."""
    values = [(name, value) for name, value in metrics if name in machine.evaluated]
    others = [(name, value) for name, value in metrics if name not in machine.evaluated]
    decision = take_step(machine, run, loss, epoch_end, skipped, others)
    if eval_end or values:
        return take_evaluation(machine, run, values) or decision
    return decision


def take_evaluation(machine: Machine, run: RunState, metrics: Sequence[tuple[str, float]]) -> Decision | None:
    """Take in an evaluation after a step: a look of its own, at the transitions that ask for one; no clock moves.

    Before the first step of a state no transition is taken, and the values enter no detector: they belong to the state
    that was left.

    Returns:
        The decision if a transition was taken.

    Raises:
        StepError: the step was evaluated already; nothing was changed.
    """
    if run.evaluated == run.step:
        raise StepError(_evaluated_twice(run))
    run.evaluated = run.step
    note_given(machine, run, (name for name, _ in metrics))
    if run.time == 0:
        run.remark = (run.step, _not_looked_at(run))
        return None
    push_metrics(run, metrics)
    if machine.guarded:
        after_evaluation(machine, run)
    if not run.state.asks_evaluations:
        return None
    if run.looks and run.looks[-1].step == run.step:
        run.looks.pop()  # what is remembered of this step's own look, which this one follows
    dead = run.nonfinite >= machine.nonfinite_limit
    place = find_ahead(machine, run, None, AT_EVAL, dead) if machine.lead else find_transition(run, AT_EVAL, dead)
    if place is not None:
        return take_transition(machine, run, place, None)
    remember_look(run)
    return None


def _evaluated_twice(run: RunState) -> str:
    if run.step == 0:
        return "a second evaluation before the first step; expected one at most"
    return f"a second evaluation of step {run.step - 1}; expected one at most, with all its metrics, after observe"


def _not_looked_at(run: RunState) -> str:
    if run.step == 0:
        return "the evaluation before the first step was not looked at, and enters no detector"
    return (
        f"the evaluation of step {run.step - 1} came when a transition had been taken: its values belong to the state "
        f'that was left, and enter no detector of "{run.state.name}"'
    )
