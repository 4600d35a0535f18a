"""The order of one step, in one function: `take_step`.

It changes the run's state in place, for a new one at each step would take two and a half times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

from plateau_rule.controller.errors import NonFiniteLoss, StepError
from plateau_rule.controller.guards import answers_nonfinite
from plateau_rule.controller.language.consistency import hardness
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.plan import Decision, knobs_at, plan_of
from plateau_rule.controller.rate import advance, after_transition, learning_rate, start_clock
from plateau_rule.controller.state import RunState

OWN_ACTIONS = ("lr_restart", "lr_scale")
_WHEN = {"step": "at every step", "epoch": "when an epoch closes", "eval": "at an evaluation"}


def start_run(machine: Machine) -> RunState:
    """The state of a run before its first step."""
    first, total = machine.states[0], machine.total_steps
    run = RunState(first, machine.stay(first, total), start_clock(machine), total)
    raise_floors(run, 0)
    return run


def take_step(
    machine: Machine,
    run: RunState,
    loss: float | None,
    epoch_end: bool = False,
    eval_end: bool = False,
    skipped: bool = False,
    metrics: Sequence[tuple[str, float]] = (),
) -> Decision | None:
    """Take in what the planned step has brought: what `Controller.observe` takes, as numbers; `run` is changed.

    Returns:
        The decision if a transition was taken.

    Raises:
        StepError: the observation does not belong to this step; nothing was changed.
        NonFiniteLoss: the run is dead; the step was taken.
    """
    per_epoch = machine.steps_per_epoch
    closes = epoch_end if per_epoch is None else (run.step + 1) % per_epoch == 0
    if (epoch_end and not closes) or (loss is None and run.time >= machine.lag):
        raise StepError(_misplaced(machine, run, loss))
    # 1. Clocks advance.
    run.step += 1
    run.time += 1
    if closes:
        run.epoch += 1
        run.closings += 1
    run.requests = ()
    # 2. Non-finite values are counted and go no further; 3. finite ones enter this state's detectors. A late loss
    #    belongs to the state before until as many observations were made as it is late.
    if loss is not None and run.time > machine.lag:
        if isfinite(loss):
            run.nonfinite = 0
            if not skipped:
                for push in run.stay.pushes:
                    push(loss)
        else:
            run.nonfinite += 1
            run.skipped_values += 1
    if metrics:
        _push_metrics(run, metrics)
    # 4. Transitions that are looked at here, in file order; the first whose guards hold, often enough, is taken.
    state = run.state
    dead = run.nonfinite >= machine.nonfinite_limit
    if state.asks_each_step or closes or eval_end or dead:
        place = find_transition(run, closes, eval_end, dead)
        if place is not None:
            return take_transition(machine, run, place, loss)  # 5. and 6.
        if state.asks_seldom and (closes or eval_end):
            remember_look(run)
    # 6. The rate and the ramps go on to the next step.
    if state.rate.cycles:
        run.rate = advance(run.rate, machine, state, run.step)
    if state.ramps:
        raise_floors(run, run.time)
    if dead:
        raise NonFiniteLoss(_death(machine, run))
    return None


def _misplaced(machine: Machine, run: RunState, loss: float | None) -> str:
    if loss is None and run.time >= machine.lag:
        return (
            f"step {run.step}: no loss; only the first `lag` observations in a state may come without one "
            f"(lag is {machine.lag})"
        )
    return (
        f"step {run.step}: epoch_end in the middle of an epoch of {machine.steps_per_epoch} steps. Bind the number of "
        f"optimizer steps that an epoch really has, or leave epoch_end to the controller"
    )


def _death(machine: Machine, run: RunState) -> str:
    return (
        f'step {run.step - 1}: {run.nonfinite} NaN or infinite losses in a row in state "{run.state.name}", and no '
        "transition answers them. Resume from the last checkpoint with a lower peak rate, or clip gradients; "
        f"[nonfinite] limit = {machine.nonfinite_limit} is where a run is given up"
    )


def _push_metrics(run: RunState, metrics: Sequence[tuple[str, float]]) -> None:
    for name, value in metrics:
        if not isfinite(value):
            run.skipped_values += 1
            continue
        for metric, detector in run.stay.detectors.values():
            if metric == name:
                detector.push(value)


def find_transition(run: RunState, closes: bool, eval_end: bool, dead: bool) -> int | None:
    """The place, among this state's transitions, of the one to take, or None; looks in a row are counted.

    Args:
        run: the state of the run, its clocks advanced.
        closes: an epoch closes.
        eval_end: an evaluation came.
        dead: too many losses were not finite; only a transition that asks for them may be taken.
    """
    sustained, guards = run.sustained, run.stay.guards
    for place, transition in enumerate(run.state.transitions):
        at = transition.at
        if at != "step" and not (closes if at == "epoch" else eval_end):
            continue
        if transition.at_most is not None and run.taken.get(transition.key, 0) >= transition.at_most:
            continue
        guard = guards[place]
        if dead and not answers_nonfinite(guard):
            continue
        if guard.verdict(run) is not True:
            sustained[place] = 0
            continue
        sustained[place] += 1
        if sustained[place] >= transition.sustain:
            return place
    return None


def take_transition(machine: Machine, run: RunState, place: int, loss: float | None) -> Decision:
    """5. The actions, left to right; then the new state is entered. 6. The next plan is made."""
    transition, old, step = run.state.transitions[place], run.state, run.step
    lines = tuple(_lines_of(run, place))
    remember_look(run)
    knobs_before = knobs_at(run, run.time - 1)
    lr_before = learning_rate(run.rate, machine, old, step - 1)
    run.rate = after_transition(run.rate, machine, transition, step)
    run.taken[transition.key] = run.taken.get(transition.key, 0) + 1
    if transition.regress:
        run.floors.clear()
    enter(machine, run, machine.by_name[transition.target], machine.total_steps)
    run.requests = tuple(action for action in transition.actions if action.name not in OWN_ACTIONS)
    plan = plan_of(machine, run)
    return Decision(
        plan.step,
        plan.epoch,
        old.name,
        plan.state,
        transition.title,
        knobs_before,
        plan.knobs,
        lr_before,
        plan.lr,
        loss,
        lines,
    )


def enter(machine: Machine, run: RunState, state: BoundState, total_steps: int | None) -> None:
    """Enter a state: time 0, detectors and sustains empty.

    Args:
        machine: the bound curriculum.
        run: the state of the run; it is changed, but for the rate.
        state: the state to enter.
        total_steps: the run's length, on which the amounts of time in this state are measured.
    """
    run.state, run.stay, run.entered_total_steps = state, machine.stay(state, total_steps), total_steps
    run.sustained = [0] * len(state.transitions)
    run.time = run.closings = run.nonfinite = 0
    raise_floors(run, 0)


def raise_floors(run: RunState, time: int) -> None:
    """No resume may go below the knobs after `time` steps in the present state."""
    for name, value in knobs_at(run, time).items():
        run.floors[name] = max(run.floors.get(name, -inf), hardness(value))


# Why


def remember_look(run: RunState) -> None:
    """Keep what is seen now, for `explain` to tell later."""
    run.looks.append((run.step, tuple(explain(run))))


def explain(run: RunState) -> list[str]:
    """Why the last observation moved or held: a line for each transition out of this state and each of its guards."""
    if not run.state.transitions:
        return [f'step {run.step}: "{run.state.name}" is a final state']
    return [line for place in range(len(run.state.transitions)) for line in _lines_of(run, place)]


def _lines_of(run: RunState, place: int) -> list[str]:
    transition = run.state.transitions[place]
    often = f", {run.sustained[place]} of {transition.sustain} looks in a row" if transition.sustain > 1 else ""
    left = ""
    if transition.at_most is not None:
        left = f", taken {run.taken.get(transition.key, 0)} of {transition.at_most} times"
    head = f"{transition.title}: {transition.source} -> {transition.target}, asked {_WHEN[transition.at]}{often}{left}"
    parts = run.stay.guards[place].parts
    return [head, *(line for part in parts for line in part.lines(run, "  "))]
