"""Ready checks of a curriculum over a stream: aligned, never regresses, finishes, resumes as if nothing had been."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise, zip_longest
from typing import Any, NamedTuple

from plateau_rule.controller.controller import Controller, UnguardedController
from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.machine import Limits
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.controller.rate import amount_in_force, peak_in_force
from plateau_rule.controller.state import SILENT
from plateau_rule.controller.verifier.structure import goals
from plateau_rule.sim.strategies.interruptions import Cut

Observation = float | Mapping[str, Any]
"""What one step brings: a loss, or the arguments of `Controller.observe` by name."""

TOLERANCE = 1e-9  # of a share of the peak


class PlayedRun(NamedTuple):
    """A run as it was in the end.

    Attributes:
        plans: the plan of every step.
        decisions: the transitions, in order.
        ended: why it ended early, if it did.
        resumed: for every cut, the plan that was saved and the plan that was made of it.
    """

    plans: list[Plan]
    decisions: list[Decision]
    ended: NonFiniteLoss | None
    resumed: list[tuple[Plan, Plan]]


def observe(controller: Controller, said: Observation) -> Decision | None:
    """Hand a controller what a step brought."""
    return controller.observe(**said) if isinstance(said, Mapping) else controller.observe(said)


def trace(
    curriculum: Curriculum,
    losses: Iterable[Observation],
    cuts: Iterable[Cut] = (),
    *,
    limits: Limits | None = None,
    **binding: Any,
) -> PlayedRun:
    """Run a curriculum over a stream, dying and resuming on the way, as a trainer would that saves all the time.

    Args:
        curriculum: the curriculum.
        losses: what each step brings.
        cuts: where the run dies and resumes.
        limits: as for Controller.
        binding: as for Controller.

    Returns:
        What the steps were in the end: what was done again after a cut takes the place of what was lost.
    """
    stream, todo = list(losses), sorted(cuts, reverse=True)
    wanted = {max(0, min(cut.step, len(stream)) - cut.lost) for cut in todo}
    saves: dict[int, str] = {}
    controller = _silent(curriculum, limits=limits, **binding)
    plans, decisions, resumed = [controller.plan], list[Decision](), list[tuple[Plan, Plan]]()
    while True:
        step = controller.plan.step
        if step in wanted:
            saves[step] = json.dumps(controller.state_dict())
        while todo and todo[-1].step <= step:
            step = max(0, step - todo.pop().lost)
            controller = _silent(curriculum, limits=limits, **binding)
            controller.load_state_dict(json.loads(saves[step]))
            resumed.append((plans[step], controller.plan))
            plans = [*plans[:step], controller.plan]
            decisions = [decision for decision in decisions if decision.step <= step]
        if step == len(stream):
            return PlayedRun(plans, decisions, None, resumed)
        try:
            decision = observe(controller, stream[step])
        except NonFiniteLoss as error:
            return PlayedRun(plans, decisions, error, resumed)
        plans.append(controller.plan)
        decisions += [decision] if decision else []


def assert_resume_identical(
    curriculum: Curriculum, losses: Iterable[Observation], cuts: Iterable[Cut] | None = None, **binding: Any
) -> None:
    """Fail if a run that is cut and resumed differs in any plan or decision from one that is not.

    Args:
        curriculum: the curriculum.
        losses: what each step brings.
        cuts: where the run is cut; after every single step unless given.
        binding: as for Controller, with limits.
    """
    __tracebackhide__ = True  # pytest then shows the call, not what is behind it
    stream = list(losses)
    uncut = trace(curriculum, stream, **binding)
    every = [Cut(step, 0) for step in range(len(stream) + 1)]
    resumed = trace(curriculum, stream, every if cuts is None else cuts, **binding)
    for one, other in zip(uncut.plans, resumed.plans, strict=False):
        if one != other:
            raise AssertionError(f"step {one.step}: the uncut run plans {one}, the resumed one {other}")
    if len(uncut.plans) != len(resumed.plans):
        raise AssertionError(f"the uncut run has {len(uncut.plans)} plans, the resumed one {len(resumed.plans)}")
    for decision, again in zip_longest(uncut.decisions, resumed.decisions):
        if decision != again:
            raise AssertionError(f"the uncut run decides {decision}, the resumed one {again}")


def assert_never_regresses(
    curriculum: Curriculum, losses: Iterable[Observation], cuts: Iterable[Cut] = (), **binding: Any
) -> None:
    """Fail if a knob falls, on a resume or from one step to the next, other than by a transition marked `regress`.

    Args:
        curriculum: the curriculum.
        losses: what each step brings.
        cuts: where the run dies and resumes.
        binding: as for Controller, with limits.
    """
    __tracebackhide__ = True  # pytest then shows the call, not what is behind it
    run = trace(curriculum, losses, cuts, **binding)
    machine = _silent(curriculum, **binding).machine
    marked = {(t.source, t.title) for state in machine.states for t in state.transitions if t.regress}
    allowed = {decision.step for decision in run.decisions if (decision.from_state, decision.transition) in marked}
    for before, after in [*run.resumed, *pairwise(run.plans)]:
        for knob, value in after.knobs.items():
            falls = machine.hardness(knob, value) < machine.hardness(knob, before.knobs[knob])
            if falls and not (after.step in allowed and after.step > before.step):
                fall = f"from {before.knobs[knob]} ({before.state}) to {value} ({after.state})"
                raise AssertionError(f"step {after.step}: {knob} falls {fall}")


def _silent(curriculum: Curriculum, **binding: Any) -> Controller:
    """A controller of a drawn run, in which nobody needs to be told what does not come."""
    controller = UnguardedController(curriculum, **binding)
    controller.run_state.said = SILENT
    return controller


def assert_aligned(curriculum: Curriculum, losses: Iterable[Observation], **binding: Any) -> None:
    """Fail if a knob rises into a low rate, as [check] align measures it: `min` on the first step, `hold` for `steps`.

    The peak is the one in force, scale included. A raise is judged until its state is left, from the end of a warm-up
    that the state has of its own. What a ramp would have done by itself is no raise.

    Args:
        curriculum: the curriculum.
        losses: what each step brings.
        binding: as for Controller, with limits.
    """
    __tracebackhide__ = True  # pytest then shows the call, not what is behind it
    controller = _silent(curriculum, **binding)
    align, within = controller.machine.align, controller.machine.align.within_steps
    entered, judged_from, raised = 0, 0, list[str]()
    decision: Decision | None = None
    for said in losses:
        try:
            taken = observe(controller, said)
        except NonFiniteLoss:
            return
        plan = controller.plan
        if plan.stop is not None:
            return
        run = controller.run_state
        if taken is not None:
            decision, raised, entered = taken, _raised(controller, taken, taken.step - entered), taken.step
            meant = run.state.rate.own_warmup and run.rate.anchor == entered
            judged_from = entered + run.rate.warm_steps if meant else entered
        peak = peak_in_force(run.rate, controller.machine, run.state)
        since = plan.step - judged_from
        if decision is None or not raised or since > align.steps or _ends_with_the_run(controller):
            continue
        share = plan.lr / peak
        due = align.min if since == within - 1 else align.hold if since >= within else 0.0
        if share < due - TOLERANCE:
            raise AssertionError(
                f"{decision.from_state} -> {decision.to_state} at step {entered} raises {', '.join(raised)}; on step "
                f"{plan.step} the rate is {plan.lr:g}, {share:.0%} of the peak {peak:g}, and {due:.0%} was asked"
            )


def _ends_with_the_run(controller: Controller) -> bool:
    """Whether the rate was restarted so late that its fall over `rest` is no fault of the file, as `check` sees it."""
    total, run = controller.total_steps, controller.run_state
    if total is None or amount_in_force(run.rate, run.state).unit != "rest":
        return False
    return run.rate.anchor >= max(1, total - controller.machine.align.late_steps)


def _raised(controller: Controller, decision: Decision, time: int) -> list[str]:
    """The knobs that a transition raised above what they would have been without it."""
    state = controller.machine.by_name[decision.from_state]
    ramps = controller.machine.ramps(state, controller.machine.length)
    ramped = {name: ramp.value(time) for name, ramp in ramps.items()}
    without = {**state.knobs, **ramped}
    return list(controller.machine.harder(decision.knobs, without))


def assert_finishes(curriculum: Curriculum, losses: Iterable[Observation], **binding: Any) -> None:
    """Fail if the run ends in a state that is not final; a stream that is too short goes on with its last loss.

    A run that ends by NonFiniteLoss says nothing about the curriculum, and passes.

    Args:
        curriculum: the curriculum.
        losses: what each step brings.
        binding: as for Controller, with limits.
    """
    __tracebackhide__ = True  # pytest then shows the call, not what is behind it
    controller = _silent(curriculum, **binding)
    total, stream = controller.total_steps, list(losses)
    if total is None:
        raise AssertionError("the length of the run is unknown; bind epochs and steps_per_epoch")
    last: Observation = stream[-1] if stream else 1.0
    while not controller.plan.stop:
        step = controller.plan.step
        try:
            observe(controller, stream[step] if step < len(stream) else last)
        except NonFiniteLoss:
            return
    machine, name = controller.machine, controller.plan.state
    ends = {machine.states[place].name for place in goals(machine)}  # as `check` sees them
    if machine.by_name[name].stop is None and name not in ends:
        raise AssertionError(f'the run of {total} steps ends in "{name}", which is not a final state')
