"""Every loss stream of a small run, by the real order of one step, with a script in the place of each detector.

What the verifier computes with bounds is found here by trying: at each step every detector says each verdict that it
has seen enough for, the loss is a number or not, an evaluation comes or not. Runs that have come to the same point are
followed once.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from plateau_rule import Curriculum, Decision, NonFiniteLoss
from plateau_rule.controller.binding import bind
from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.consistency import hardness
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine, Stay, StayBuilder
from plateau_rule.controller.plan import knobs_at, plan_of
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import find_transition, start_run, take_step

NAN = float("nan")


class Scripted:
    """A detector that says what it is told to; one script for all detectors."""

    script: dict[int, bool | None] = {}  # noqa: RUF012  # meant to be shared

    def __init__(self, real: Any) -> None:
        self.knows, self.needs = real.knows, real.needs

    def push(self, value: float) -> None:
        """Nothing is remembered: how much was seen follows from the clocks."""

    def verdict(self) -> bool | None:
        """What the script says."""
        return self.script.get(id(self))

    def describe(self) -> str:
        """Only for explain."""
        return "scripted"


@contextmanager
def scripted() -> Iterator[None]:
    """Runs that begin in here have scripted detectors, which hold nothing, so that copies of a run share them."""
    real = StayBuilder.new_detector
    with (
        mock.patch.object(StayBuilder, "new_detector", lambda self, word, spec: Scripted(real(self, word, spec))),
        mock.patch.object(Stay, "copy", lambda stay: stay),
    ):
        yield


@dataclass
class Found:
    """What some stream does.

    entered: the first steps of stays, by state. missed: states that some run ends without. taken: transitions by place
    in the file. stays: whether a run can end without a final state. fallen, low: transitions on which a knob falls
    unmarked, that raise one into a low rate. verdicts: of each guard of each transition and of each guard inside it, at
    looks, by where they stand.
    """

    entered: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    missed: set[str] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    stays: bool = False
    fallen: set[int] = field(default_factory=set)
    low: set[int] = field(default_factory=set)
    verdicts: dict[tuple[int | str, ...], set[bool | None]] = field(default_factory=lambda: defaultdict(set))


@dataclass(frozen=True)
class Point:
    """Where a run is: its state, non-finite losses in this stay, the states that were entered, the last raise."""

    machine: Machine
    run: RunState
    lost: int
    entered: frozenset[str]
    raised: tuple[int, int] | None  # the transition and its step, while its rate is still judged

    @property
    def key(self) -> tuple[Any, ...]:
        """What the future depends on."""
        run = self.run
        hands = (run.step, run.epoch, run.time, run.closings, run.nonfinite)
        rate = (run.rate.anchor, run.rate.warm_steps, run.rate.cycle, run.rate.length_steps)
        taken = tuple(sorted(run.taken.items()))
        return (run.state.name, *hands, self.lost, *run.sustained, taken, rate, self.entered, self.raised)

    @property
    def done(self) -> bool:
        """Whether a final state was entered."""
        return any(final(self.machine.by_name[name]) for name in self.entered)


def final(state: BoundState) -> bool:
    """Whether a run may end in a state: it stops the training, or only retreats leave it."""
    return state.stop is not None or all(transition.regress for transition in state.transitions)


def every_stream(curriculum: Curriculum, most: int = 3000) -> Found | None:
    """Follow every stream to the end of the run; None where that takes more than so many observations."""
    found, step = Found(), "plateau_rule.controller.step"
    machine = bind(curriculum)
    noted = mock.patch(f"{step}.find_transition", _noting(machine, found))
    with scripted(), noted, mock.patch(f"{step}.remember_look"):  # nothing is explained afterwards
        run = start_run(machine)
        found.entered[run.state.name].add(0)
        states = frozenset(state.name for state in machine.states)
        points = [Point(machine, run, 0, frozenset([run.state.name]), None)]
        while points:
            following: dict[tuple[Any, ...], Point] = {}
            for point in points:
                if point.run.step >= (machine.total_steps or 0):
                    found.stays |= not point.done
                    found.missed |= states - point.entered
                elif point.run.state.stop is not None:
                    found.missed |= states - point.entered
                else:
                    for after in _after(point, found):
                        following[after.key] = after
                        most -= 1
                if most < 0:
                    return None
            points = list(following.values())
    return found


def _after(point: Point, found: Found) -> Iterator[Point]:
    """Every point that one observation can lead to."""
    run, stay = point.run, point.run.stay
    raised = _judged(point, found)
    detectors = list(stay.detectors.values())
    counts = any(isinstance(p, Reached) and p.hand == "nonfinite" for guard in stay.guards for p in parts(guard))
    evaluations = any(transition.at == "eval" for transition in run.state.transitions)
    for loss in (1.0, NAN) if counts else (1.0,):
        lost = point.lost + (loss != loss)
        choices = []
        for metric, detector in detectors:
            seen = run.time + 1 - (lost if metric == "loss" else 0)
            choices.append([None, *[False] * (seen >= detector.knows), *[True] * (seen >= detector.needs)])
        for verdicts in itertools.product(*choices):
            Scripted.script = {id(d): verdict for (_, d), verdict in zip(detectors, verdicts, strict=True)}
            for evaluates in (False, True) if evaluations else (False,):
                after = _observed(point, loss, lost, evaluates, raised, found)
                if after is not None:
                    yield after


def _observed(
    point: Point, loss: float, lost: int, evaluates: bool, raised: tuple[int, int] | None, found: Found
) -> Point | None:
    machine, old, run = point.machine, point.run.state, point.run.copy()
    try:
        decision = take_step(machine, run, loss, eval_end=evaluates)
    except NonFiniteLoss:
        return None
    if decision is None:
        return Point(machine, run, lost, point.entered, raised)
    if run.step >= (machine.total_steps or 0):  # no step is left for the new state
        return Point(machine, run, 0, point.entered, None)
    transition = next(t for t in old.transitions if (t.title, t.target) == (decision.transition, decision.to_state))
    found.taken.add(transition.index)
    found.entered[decision.to_state].add(run.step)
    if not transition.regress and any(
        hardness(v) < hardness(decision.knobs_before[k]) for k, v in decision.knobs.items()
    ):
        found.fallen.add(transition.index)
    rises = _rises(point.run, decision)
    return Point(
        machine, run, 0, point.entered | {decision.to_state}, (transition.index, decision.step) if rises else None
    )


def _noting(machine: Machine, found: Found) -> Any:
    """The search for a transition, writing down every guard's verdict first."""

    def noting(run: RunState, closes: bool, eval_end: bool, dead: bool) -> int | None:
        if run.step < (machine.total_steps or 0):
            for transition, guard in zip(run.state.transitions, run.stay.guards, strict=True):
                if _looked_at(run, transition, closes, eval_end):
                    for j, part in enumerate(guard.parts):
                        for where, inner in placed(part, (transition.index, j)):
                            found.verdicts[where].add(inner.verdict(run))
        return find_transition(run, closes, eval_end, dead)

    return noting


def _looked_at(run: RunState, transition: BoundTransition, closes: bool, eval_end: bool) -> bool:
    used_up = transition.at_most is not None and run.taken.get(transition.key, 0) >= transition.at_most
    return not used_up and {"step": True, "epoch": closes, "eval": eval_end}[transition.at]


def _rises(before: RunState, decision: Decision) -> bool:
    """Whether a knob rises by the transition, beyond where its ramp would have taken it by then."""
    there = knobs_at(before, before.time + 1)
    return any(hardness(value) > hardness(there[name]) for name, value in decision.knobs.items())


def _judged(point: Point, found: Found) -> tuple[int, int] | None:
    """Measure the rate of the step to come against [check] align; the raise, while there is more to measure."""
    if point.raised is None:
        return None
    machine, run, (index, step) = point.machine, point.run, point.raised
    align = machine.curriculum.check.align
    within, since = int(parse_amount(align.within).count), run.step - step
    peak = machine.peak * run.rate.scale * run.state.rate.peak
    asked = align.min if since == within - 1 else align.hold if since >= within else 0.0
    if plan_of(machine, run).lr / peak < asked - 1e-9:
        found.low.add(index)
        return None
    return point.raised if since < max(align.steps, within) else None


def parts(guard: GuardInState) -> Iterator[GuardInState]:
    """A guard and everything inside it."""
    yield guard
    if isinstance(guard, Joined):
        for part in guard.parts:
            yield from parts(part)
    elif isinstance(guard, Opposite):
        yield from parts(guard.part)


def placed(guard: GuardInState, where: tuple[int | str, ...]) -> Iterator[tuple[tuple[int | str, ...], GuardInState]]:
    """A guard and everything inside it, with where it stands: places in lists, and `not`."""
    yield where, guard
    if isinstance(guard, Joined):
        for i, part in enumerate(guard.parts):
            yield from placed(part, (*where, i))
    elif isinstance(guard, Opposite):
        yield from placed(guard.part, (*where, "not"))


__all__ = ["Found", "Stay", "every_stream", "final", "parts", "placed", "scripted"]
