"""Every loss stream of a small run, step by step: the real Controller, with a script in the place of each detector.

What the verifier computes with bounds is found here by trying: at each step every detector says each verdict that it
has seen enough for, the loss is a number or not, an evaluation comes or not. Runs that have come to the same point are
followed once.
"""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from plateau_rule.controller import Controller, Curriculum, Decision, NonFiniteLoss
from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.consistency import hardness
from plateau_rule.controller.machine import BoundState, BoundTransition, Stay, _GuardMaker

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
    """Controllers that are made in here have scripted detectors."""
    real = _GuardMaker._new_detector
    with mock.patch.object(_GuardMaker, "_new_detector", lambda self, word, spec: Scripted(real(self, word, spec))):
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
    """Where a run is: controller, non-finite losses in this stay, the states that were entered, the last raise."""

    controller: Controller
    lost: int
    entered: frozenset[str]
    raised: tuple[int, int] | None  # the transition and its step, while its rate is still judged

    @property
    def key(self) -> tuple[Any, ...]:
        """What the future depends on."""
        c = self.controller
        hands = (c.clock.step, c.clock.epoch, c.clock.time, c.clock.closings, c.clock.nonfinite)
        rate = (c._rate.anchor, c._rate.warm_steps, c._rate.cycle, c._rate.length_steps)
        taken = tuple(sorted(c.taken.items()))
        return (c._state.name, *hands, self.lost, *c._sustained, taken, rate, self.entered, self.raised)

    @property
    def done(self) -> bool:
        """Whether a final state was entered."""
        return any(final(self.controller.machine.by_name[name]) for name in self.entered)


def final(state: BoundState) -> bool:
    """Whether a run may end in a state: it stops the training, or only retreats leave it."""
    return state.stop is not None or all(transition.regress for transition in state.transitions)


def every_stream(curriculum: Curriculum, most: int = 3000) -> Found | None:
    """Follow every stream to the end of the run; None where that takes more than so many observations."""
    found = Found()
    with scripted(), mock.patch.object(Controller, "_look", _noting(found)):
        controller = Controller(curriculum)
        found.entered[controller._state.name].add(0)
        states = frozenset(state.name for state in controller.machine.states)
        points = [Point(controller, 0, frozenset([controller._state.name]), None)]
        while points:
            following: dict[tuple[Any, ...], Point] = {}
            for point in points:
                if point.controller.clock.step >= (controller.total_steps or 0):
                    found.stays |= not point.done
                    found.missed |= states - point.entered
                elif point.controller._state.stop is not None:
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
    controller = point.controller
    raised = _judged(point, found)
    stay, clock = controller._stay, controller.clock
    detectors = list(stay.detectors.values())
    counts = any(isinstance(p, Reached) and p.hand == "nonfinite" for guard in stay.guards for p in parts(guard))
    evaluations = any(transition.at == "eval" for transition in controller._state.transitions)
    for loss in (1.0, NAN) if counts else (1.0,):
        lost = point.lost + (loss != loss)
        choices = []
        for metric, detector in detectors:
            seen = clock.time + 1 - (lost if metric == "loss" else 0)
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
    old = point.controller._state
    controller = _copied(point.controller)
    try:
        decision = controller.observe(loss, eval_end=evaluates)
    except NonFiniteLoss:
        return None
    if decision is None:
        return Point(controller, lost, point.entered, raised)
    if controller.clock.step >= (controller.total_steps or 0):  # no step is left for the new state
        return Point(controller, 0, point.entered, None)
    transition = next(t for t in old.transitions if (t.title, t.target) == (decision.transition, decision.to_state))
    found.taken.add(transition.index)
    found.entered[decision.to_state].add(controller.clock.step)
    if not transition.regress and any(
        hardness(v) < hardness(decision.knobs_before[k]) for k, v in decision.knobs.items()
    ):
        found.fallen.add(transition.index)
    rises = _rises(point.controller, decision)
    return Point(
        controller, 0, point.entered | {decision.to_state}, (transition.index, decision.step) if rises else None
    )


def _noting(found: Found) -> Any:
    """The controller's look, writing down every guard's verdict first."""
    look = Controller._look

    def noting(self: Controller, closes: bool, eval_end: bool, dead: bool) -> int | None:
        if self.clock.step < (self.total_steps or 0):
            for transition, guard in zip(self._state.transitions, self._stay.guards, strict=True):
                if _looked_at(self, transition, closes, eval_end):
                    for j, part in enumerate(guard.parts):
                        for where, inner in placed(part, (transition.index, j)):
                            found.verdicts[where].add(inner.verdict(self.clock))
        return look(self, closes, eval_end, dead)

    return noting


def _looked_at(controller: Controller, transition: BoundTransition, closes: bool, eval_end: bool) -> bool:
    used_up = transition.at_most is not None and controller.taken.get(transition.key, 0) >= transition.at_most
    return not used_up and {"step": True, "epoch": closes, "eval": eval_end}[transition.at]


def _rises(before: Controller, decision: Decision) -> bool:
    """Whether a knob rises by the transition, beyond where its ramp would have taken it by then."""
    there = before._knobs_at(before.clock.time + 1)
    return any(hardness(value) > hardness(there[name]) for name, value in decision.knobs.items())


def _judged(point: Point, found: Found) -> tuple[int, int] | None:
    """Measure the rate of the step to come against [check] align; the raise, while there is more to measure."""
    if point.raised is None:
        return None
    controller, (index, step) = point.controller, point.raised
    align = controller.machine.curriculum.check.align
    within, since = int(parse_amount(align.within).count), controller.clock.step - step
    peak = controller.machine.peak * controller._rate.scale * controller._state.rate.peak
    asked = align.min if since == within - 1 else align.hold if since >= within else 0.0
    if controller.plan.lr / peak < asked - 1e-9:
        found.low.add(index)
        return None
    return point.raised if since < max(align.steps, within) else None


def _copied(controller: Controller) -> Controller:
    """A controller at the same point; scripted detectors hold nothing, so the stay is shared."""
    copied = object.__new__(Controller)
    copied.__dict__.update(controller.__dict__)
    copied.clock = copy.copy(controller.clock)
    copied.taken, copied.floors = dict(controller.taken), dict(controller.floors)
    copied._sustained = list(controller._sustained)
    copied._looks = copy.copy(controller._looks)
    copied._seldom = False  # nothing is explained afterwards
    return copied


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
