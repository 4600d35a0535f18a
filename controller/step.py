"""The order of one step, in one function: `take_step`.

It changes the run's state in place, for a new one at each step would take two and a half times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isfinite

from plateau_rule.controller.certainty import first_certain, is_clockwork
from plateau_rule.controller.errors import NonFiniteLoss, StepError
from plateau_rule.controller.guards import answers_nonfinite
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.missing import after_epoch, note_given
from plateau_rule.controller.plan import Decision, knobs_at, plan_of
from plateau_rule.controller.rate import advance, after_transition, learning_rate, start_clock
from plateau_rule.controller.readings import Way
from plateau_rule.controller.state import RunState, Seen, Waiting

OWN_ACTIONS = ("lr_restart", "lr_scale")
AT_STEP, AT_EPOCH, AT_EVAL = ("step",), ("step", "epoch"), ("eval",)  # transitions that a look asks


def start_run(machine: Machine) -> RunState:
    """The state of a run before its first step."""
    first, length = machine.states[0], machine.length
    run = RunState(first, machine.stay(first, length), start_clock(machine), length)
    raise_floors(machine, run, 0)
    if machine.lead:
        settle(machine, run, None)
    return run


def take_step(
    machine: Machine,
    run: RunState,
    loss: float | None,
    epoch_end: bool = False,
    skipped: bool = False,
    metrics: Sequence[tuple[str, float]] = (),
) -> Decision | None:
    """Take in what the planned step has brought; `run` is changed.

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
        run.epoch, run.closings = run.epoch + 1, run.closings + 1
    run.requests = ()
    # 2. Non-finite values are counted and go no further; 3. finite ones enter this state's detectors. A late loss
    #    belongs to the state before until as many observations were made as it is late.
    if loss is not None and run.time > machine.lag:
        if isfinite(loss):
            run.nonfinite = 0
            for push in () if skipped else run.stay.pushes:
                push(loss)
        else:
            run.nonfinite += 1
            run.skipped_values += 1
    if metrics:
        note_given(machine, run, (name for name, _ in metrics))
        push_metrics(run, metrics)
    # 4. Transitions that are looked at here, in file order; the first whose guards hold, often enough, is taken.
    state, dead = run.state, run.nonfinite >= machine.nonfinite_limit
    if state.asks_each_step or closes or dead or machine.lead:
        asked = AT_EPOCH if closes else AT_STEP
        place = find_ahead(machine, run, loss, asked, dead) if machine.lead else find_transition(run, asked, dead)
        if place is not None:
            return take_transition(machine, run, place, loss)  # 5. and 6.
        if closes and state.asks_seldom:
            remember_look(run)
        if closes and machine.waits:
            after_epoch(machine, run)
    # 6. The rate and the ramps go on to the next step.
    if state.rate.cycles:
        go_on(machine, run, run.step)
    if state.ramps:
        raise_floors(machine, run, run.time)
    if dead:
        raise NonFiniteLoss(_death(machine, run))
    return None


def go_on(machine: Machine, run: RunState, step: int) -> None:
    """Bring the rate's cycles to a step; an evaluation may still ask what the rate was on the one before."""
    if advance(run.rate, machine, run.state, step) is run.rate:  # as nearly always
        return
    before = advance(run.rate, machine, run.state, step - 1)
    run.rate = advance(before, machine, run.state, step)
    if run.rate is not before:
        run.lr_before = learning_rate(before, machine, run.state, step - 1)


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


def push_metrics(run: RunState, metrics: Sequence[tuple[str, float]]) -> None:
    """Finite values of metrics enter the detectors that watch them; names that no guard asks for are passed over."""
    for name, value in metrics:
        if not isfinite(value):
            run.skipped_values += 1
            continue
        for metric, detector in run.stay.detectors.values():
            if metric == name:
                detector.push(value)


def find_transition(
    run: RunState, asked: tuple[str, ...], dead: bool, among: Iterable[tuple[int, BoundTransition]] | None = None
) -> int | None:
    """The place, among this state's transitions, of the one to take, or None; looks in a row are counted.

    Args:
        run: the state of the run, its clocks advanced.
        asked: which transitions are looked at, by their `at`.
        dead: too many losses were not finite; only a transition that asks for them may be taken.
        among: the transitions that are looked at, with their places; None for all.
    """
    sustained, guards = run.sustained, run.stay.guards
    for place, transition in enumerate(run.state.transitions) if among is None else among:
        if transition.at not in asked:
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
    ways: tuple[Way, ...]
    if run.waiting is None:
        way = way_at(run, place)
        lines, ways = tuple(way.lines()), (way,)
    else:
        loss, lines, ways = _as_decided(run, loss)
    remember_look(run)
    knobs_before = knobs_at(run, run.time - 1)
    # The rate's clock has gone on to this step already where an evaluation comes after it.
    begun = run.lr_before if run.rate.anchor == step else None
    lr_before = learning_rate(run.rate, machine, old, step - 1) if begun is None else begun
    run.rate, run.lr_before = after_transition(run.rate, machine, transition, step), None
    _count(run, transition)
    if transition.regress:
        run.floors.clear()
    since = _known_since(machine, run) if machine.lead else None
    enter(machine, run, machine.by_name[transition.target], machine.length)
    if machine.lead:
        settle(machine, run, since)
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
        machine.harder(plan.knobs, knobs_before),
        ways,
    )


def enter(machine: Machine, run: RunState, state: BoundState, length: int | None) -> None:
    """Enter a state: time 0, detectors and sustains empty, but for detectors of the whole run.

    Args:
        machine: the bound curriculum.
        run: the state of the run; it is changed, but for the rate.
        state: the state to enter.
        length: of the run, as the machine's, on which the amounts of time in this state are measured.
    """
    run.state, run.stay, run.entered_length = state, machine.stay(state, length, run.stay.kept), length
    run.sustained = [0] * len(state.transitions)
    run.time = run.closings = run.nonfinite = 0
    run.waiting = run.due = None
    raise_floors(machine, run, 0)


def raise_floors(machine: Machine, run: RunState, time: int) -> None:
    """No resume may go below the knobs after `time` steps in the present state."""
    for name, value in knobs_at(run, time).items():
        if machine.signs[name]:
            run.floors[name] = max(run.floors.get(name, -inf), machine.hardness(name, value))


# Why


def remember_look(run: RunState) -> None:
    """Keep what is seen now, for `explain` to tell later."""
    run.looks.append(_seen(run))


def explain(run: RunState) -> list[str]:
    """Why the last observation moved or held: a line for each transition out of this state and each of its guards."""
    return _seen(run).lines()


def _seen(run: RunState) -> Seen:
    before: str | None = None
    if not run.state.transitions:
        before = f'step {run.step}: "{run.state.name}" is a final state'
    elif run.waiting is not None:
        before = _says(run, run.waiting)
    after = None if run.remark is None or run.remark[0] != run.step else run.remark[1]
    return tuple.__new__(Seen, (run.step, before, readings(run), after))


def _says(run: RunState, waiting: Waiting) -> str:
    way = run.state.transitions[waiting.place]
    rest = "up to then nothing else is looked at" + (" but what stops or rolls back" if run.state.at_once else "")
    return f"{way.title}: {way.source} -> {way.target}, decided, applies from step {waiting.step}; {rest}"


def readings(run: RunState) -> tuple[Way, ...]:
    """How near each transition out of this state is to being taken, in the order of the file."""
    return tuple([way_at(run, place) for place in range(len(run.state.transitions))])


def way_at(run: RunState, place: int) -> Way:
    """How near one transition out of this state is to being taken."""
    way, taken = run.state.transitions[place], run.taken
    parts = tuple([part.reading(run) for part in run.stay.guards[place].parts])
    often, row = taken.get(way.key, 0), run.sustained[place]
    said = (way.title, way.source, way.target, way.at, way.sustain, row, way.at_most, often, parts)
    # A named tuple made as the tuple that it is: a call with the fields takes twice as long.
    return tuple.__new__(Way, said)


# Under a lead


def find_ahead(machine: Machine, run: RunState, loss: float | None, asked: tuple[str, ...], dead: bool) -> int | None:
    """As `find_transition`: the place of the transition that applies now; what is decided for later waits."""
    state, waiting, due = run.state, run.waiting, run.due
    if waiting is not None:
        place = find_transition(run, asked, dead, state.at_once)
        if place is not None:
            run.waiting = None
            return place
        answered = not dead or answers_nonfinite(run.stay.guards[waiting.place])
        return waiting.place if run.step >= waiting.step and answered else None
    place = find_transition(run, asked, dead)
    if due is not None and run.time >= due.time - state.transitions[due.place].lead:
        answered = not dead or answers_nonfinite(run.stay.guards[due.place])
        if answered and (place is None or place >= due.place):
            take_due(machine, run, run.step - 1)
            return None
    if place is None or not state.transitions[place].lead:
        return place
    way = way_at(run, place)
    step = run.step + state.transitions[place].lead
    _wait(run, Waiting(place, step, run.step - 1, loss, tuple(way.lines()), (way,)))
    remember_look(run)
    return None


def take_due(machine: Machine, run: RunState, decided: int) -> None:
    """Let what clocks have in store wait; `decided` is the step whose observation closes every other way."""
    assert run.due is not None
    since = run.since if is_clockwork(machine, run.state, run.stay) else decided
    _wait(run, Waiting(run.due.place, run.step - run.time + run.due.time, since))


def _as_decided(run: RunState, loss: float | None) -> tuple[float | None, tuple[str, ...], tuple[Way, ...]]:
    """The loss, the lines and the readings of the transition that waits, which is taken now."""
    waiting = run.waiting
    assert waiting is not None
    way = run.state.transitions[waiting.place]
    run.taken[way.key] -= 1  # it was counted when it was decided
    if waiting.lines is not None:
        return waiting.loss, waiting.lines, waiting.readings
    run.sustained[waiting.place] = way.sustain  # the looks that clocks had decided
    decided = way_at(run, waiting.place)
    return loss, tuple(decided.lines()), (decided,)


def settle(machine: Machine, run: RunState, since: int | None) -> None:
    """Find out what clocks decide in a stay; what they decide within a lead waits from now on.

    Args:
        machine: the bound curriculum.
        run: the state of the run.
        since: the step whose observation made this stay certain; None where it was so before the run.
    """
    run.since, run.due = since, None
    due = first_certain(machine, run)
    lead = 0 if due is None else run.state.transitions[due.place].lead
    if due is None or not lead:
        return
    if run.time < due.time - lead:
        run.due = due
        return
    step = run.step - run.time + due.time
    # A knob's values that somebody was told already stay what they are.
    _wait(run, Waiting(due.place, step if since is None else max(step, since + 1 + lead), since))


def _known_since(machine: Machine, run: RunState) -> int | None:
    """The step whose observation made the transition certain that is taken now."""
    if run.waiting is not None:
        return run.waiting.since
    return run.since if is_clockwork(machine, run.state, run.stay) else run.step - 1


def _wait(run: RunState, waiting: Waiting) -> None:
    run.waiting, run.due = waiting, None
    _count(run, run.state.transitions[waiting.place])


def _count(run: RunState, transition: BoundTransition) -> None:
    run.taken[transition.key] = run.taken.get(transition.key, 0) + 1
