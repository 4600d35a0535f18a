"""Every loss stream of a short run, followed step by step: what the verifier's bounds must agree with.

At each step the losses take every level of an alphabet around the numbers that the curriculum asks for, or are not
finite, or are withheld; evaluations come or do not, with every level; the trainer closes an epoch or does not. Streams
that lead to the same configuration are followed once, so that all of them are covered. Nothing here is taken from the
verifier: what a property means is written down once more, as the language has it.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple
from unittest import mock

from plateau_rule.controller import evaluation
from plateau_rule.controller import step as steps
from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.evaluation import take_observation
from plateau_rule.controller.guards import GuardInState, Joined, Opposite
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.consistency import walk
from plateau_rule.controller.language.curriculum import State
from plateau_rule.controller.language.metrics import asked as every_guard
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.plan import Decision, knobs_at, plan_of
from plateau_rule.controller.rate import RateClock
from plateau_rule.controller.state import RunState

LATE = 0.05  # of the run, in which a restart over `rest` is not judged for ending with it
LONGEST = 60  # steps of a run that ends with what is counted
BY_HAND = 12  # steps that are followed where the trainer closes the epochs


class Observation(NamedTuple):
    """What one step may bring."""

    loss: float
    skipped: bool
    closes: bool
    evaluates: bool
    metrics: tuple[tuple[str, float], ...]


@dataclass
class Found:
    """What some stream does.

    covered: whether every stream was followed. entered: the first steps of stays, by state. missed: states that some
    run ends without. taken: transitions by place in the file. stays: whether a run ends without its goal. exhausted:
    states that were entered with nothing left of what leads out of them. fallen, low: transitions on which a knob falls
    unmarked, that raise one into a low rate. rounds: whether a state was entered again without a counted transition on
    the way. vanished: whether the peak in force was no number any more. verdicts: of each guard of each transition and
    of each guard inside it, at looks, by where they stand. spent: what whole runs took, by clock.
    """

    covered: bool = True
    entered: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    missed: set[str] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    stays: bool = False
    exhausted: set[str] = field(default_factory=set)
    fallen: set[int] = field(default_factory=set)
    low: set[int] = field(default_factory=set)
    rounds: bool = False
    vanished: bool = False
    verdicts: dict[tuple[int | str, ...], set[bool | None]] = field(default_factory=lambda: defaultdict(set))
    spent: dict[str, set[float]] = field(default_factory=lambda: defaultdict(set))


class Raised(NamedTuple):
    """A raise whose rate is still judged: the transition, its first step, whether the rate was restarted since."""

    way: int
    step: int
    restarted: bool


class Point(NamedTuple):
    """A configuration: all that what follows depends on, and what a property remembers of the way."""

    state: int
    hands: tuple[int, ...]
    contents: str
    sustained: tuple[int, ...]
    taken: tuple[tuple[str, int], ...]
    rate: Any
    ahead: Any  # what waits and what clocks have in store
    entered: frozenset[int]
    since: frozenset[int]  # states since the last counted transition
    raised: Raised | None


class EveryStream:
    """Follows all streams of a machine, as far as `most` observations allow; beyond, some, drawn from a seed."""

    def __init__(self, machine: Machine, most: int = 1500, seed: int = 0) -> None:
        self.machine, self.most, self.found = machine, most, Found()
        self.rng = random.Random(seed)
        self.total = machine.total_steps
        self.goal = goal(machine)
        self.places = {state.name: place for place, state in enumerate(machine.states)}
        self.stays = [machine.stay(state, machine.length) for state in machine.states]
        self.ends = self.total is not None or bool(machine.bounds)  # whether steps or counts end a run
        self.alphabets = [list(self._alphabet(place)) for place in range(len(machine.states))]

    def follow(self) -> Found:
        """Follow them to the end of the run."""
        noting = _noting(self.found, self.machine)
        with (
            mock.patch.object(steps, "find_transition", noting),
            mock.patch.object(evaluation, "find_transition", noting),
        ):
            run = steps.start_run(self.machine)
            self.found.entered[run.state.name].add(0)
            self._judge_entry(run)
            first = frozenset([0])
            points = {self._point(run, first, first, None): None}
            end = self.total if self.total is not None else LONGEST if self.machine.bounds else BY_HAND
            for number in range(end):
                points = self._step(points, end - number)
            for point in points:
                if self.ends and self.machine.states[point.state].stop is None:
                    self._over(point)
        return self.found

    def _step(self, points: dict[Point, None], left: int) -> dict[Point, None]:
        allowed = max(20, self.most // max(1, left))
        following: dict[Point, None] = {}
        chosen = list(points)
        per_point = max(map(len, self.alphabets))
        if len(chosen) * per_point > 3 * allowed:
            self.found.covered = False
            chosen = self.rng.sample(chosen, min(len(chosen), max(4, 3 * allowed // per_point)))
        for point in chosen:
            if self.machine.states[point.state].stop is not None:
                self.found.missed |= self._others(point.entered)
                self._spent(point)
                continue
            by_hand = self.total is None and point.hands[1] >= (self.machine.run.epochs or 10**9)
            if by_hand or used_up(self.machine, point.rate, point.hands[0]):
                self._over(point)
                continue
            for observation in self.alphabets[point.state]:
                self.most -= 1
                after = self._observed(point, observation)
                if after is not None:
                    following[after] = None
        return following

    def _over(self, point: Point) -> None:
        self.found.stays |= not point.entered & self.goal
        self.found.missed |= self._others(point.entered)
        self._spent(point)

    def _spent(self, point: Point) -> None:
        """Note what a run that is over has taken."""
        step, number = point.hands[0], self.machine.run.tokens_per_step
        if isinstance(number, int):
            self.found.spent["tokens"].add(step * number)
        for place, meter in enumerate(self.machine.meters):
            self.found.spent[meter.name].add(point.rate.counts.at(place, step) / meter.scale)

    def _others(self, entered: frozenset[int]) -> set[str]:
        return {state.name for place, state in enumerate(self.machine.states) if place not in entered}

    # One observation

    def _observed(self, point: Point, given: Observation) -> Point | None:
        machine = self.machine
        run = self._run(point)
        raised = self._judged(run, point.raised)
        there, old = knobs_at(run, run.time + 1), run.state
        loss = None if run.time < machine.lag and given.loss != given.loss else given.loss
        try:
            decision = take_observation(machine, run, loss, given.closes, given.evaluates, given.skipped, given.metrics)
        except NonFiniteLoss:
            return None
        if decision is None:
            return self._point(run, point.entered, point.since, raised)
        over = used_up(self.machine, run.rate, run.step) or (self.total is not None and run.step >= self.total)
        if over:  # no step is left for the new state
            return self._point(run, point.entered, point.since, None)
        return self._taken(run, point, old, decision, raised, there)

    def _taken(
        self, run: RunState, point: Point, old: BoundState, decision: Decision, raised: Raised | None, there: Any
    ) -> Point:
        found = self.found
        way = next(t for t in old.transitions if (t.title, t.target) == (decision.transition, decision.to_state))
        place = self.places[decision.to_state]
        found.taken.add(way.index)
        found.entered[decision.to_state].add(run.step)
        if not way.regress and any(
            harder(self.machine, k, v) < harder(self.machine, k, decision.knobs_before[k])
            for k, v in decision.knobs.items()
        ):
            found.fallen.add(way.index)
        names = {action.name for action in way.actions}
        rises = any(harder(self.machine, k, v) > harder(self.machine, k, there[k]) for k, v in decision.knobs.items())
        if rises and run.state.stop is None:
            raised = Raised(way.index, run.step, "lr_restart" in names)
        elif way.regress or "lr_scale" in names or run.state.stop is not None or rises:
            raised = None
        elif raised is not None and "lr_restart" in names:
            raised = raised._replace(restarted=True)
        own = self._written(run.state.name).lr.warmup
        if raised is not None and "lr_restart" in names and own is not None:  # meant, so judged from its end
            raised = raised._replace(step=run.step + run.rate.warm_steps)
        since = frozenset([place])
        if way.at_most is None:
            found.rounds |= place in point.since
            since |= point.since
        self._judge_entry(run)
        return self._point(run, point.entered | {place}, since, raised)

    def _written(self, name: str) -> State:
        """A state as the file has it."""
        return next(state for state in self.machine.curriculum.state if state.name == name)

    def _peak(self, run: RunState) -> float:
        """The peak in force."""
        peaks = self.machine.curriculum.lr.peaks
        shrunk = peaks.factor**run.rate.cycle if peaks else 1.0
        top = self.machine.peak * run.rate.scale * self._written(run.state.name).lr.peak * shrunk
        return top * followed(self.machine, run)

    def _judge_entry(self, run: RunState) -> None:
        state = run.state
        if state.stop is None:
            self.found.vanished |= max(self.machine.curriculum.lr.lowest, self._peak(run)) < 2.0**-1022
            counted = [t for t in state.transitions if t.at_most is not None and run.taken.get(t.key, 0) >= t.at_most]
            if (
                state.transitions
                and run.waiting is None
                and len(counted) == len(state.transitions)
                and self.places[state.name] not in self.goal
            ):
                self.found.exhausted.add(state.name)

    def _judged(self, run: RunState, raised: Raised | None) -> Raised | None:
        """Measure the rate of the step to come against [check] align; the raise, while there is more to measure."""
        if raised is None:
            return None
        align = self.machine.curriculum.check.align
        within, since = int(parse_amount(align.within).count), run.step - raised.step
        held = min(50, 50 if self.total is None else -(-self.total // 20)) if align.steps is None else align.steps
        if since > max(held, within - 1):
            return None
        asked = align.min if since == within - 1 else align.hold if since >= within else 0.0
        asked = 0.0 if since >= within and since > held else asked
        peak = self._peak(run)
        late = 0 if self.total is None else int(LATE * self.total)
        if align.steps is None and self.total is not None:
            late = min(self.total - 1, max(late, 4 * held))
        ending = raised.restarted and self.total is not None and run.rate.anchor >= self.total - late
        ending = ending or (raised.restarted and self._ends_with_what_is_counted(run))
        if not ending and peak >= 2.0**-1022 and plan_of(self.machine, run).lr / peak < asked - 1e-9:
            self.found.low.add(raised.way)
            return None
        return raised

    def _ends_with_what_is_counted(self, run: RunState) -> bool:
        """Whether the rate falls over the rest of what may be counted, and was restarted when little of it was left."""
        counts, rate = run.rate.counts, run.state.rate
        if counts is None or counts.meter is None or rate.length.unit != "rest":
            return False
        bound, prices = self.machine.length or 0, [self.machine.tally(s, self.machine.length).extremes(counts.meter)[1]
                                                   for s in self.machine.states]  # fmt: skip
        late = max(int(LATE * bound), 4 * self.machine.align.steps * max(prices))
        return counts.begun[counts.meter] > bound - min(late, bound - 1)

    # Configurations

    def _point(self, run: RunState, entered: frozenset[int], since: frozenset[int], raised: Raised | None) -> Point:
        hands = (run.step, run.epoch, run.time, run.closings, run.nonfinite)
        contents = repr([detector.contents() for _, detector in run.stay.detectors.values()])
        taken = tuple(sorted(run.taken.items()))
        ahead = (
            run.waiting and run.waiting._replace(loss=None, lines=run.waiting.lines and (), readings=()),
            run.due,
            run.since,
        )
        return Point(self.places[run.state.name], hands, contents, tuple(run.sustained), taken, run.rate, ahead,
                     entered, since, raised)  # fmt: skip

    def _run(self, point: Point) -> RunState:
        """A run at a configuration. One stay serves all that are in a state: its detectors are filled anew."""
        state, stay = self.machine.states[point.state], self.stays[point.state]
        for (_, detector), contents in zip(stay.detectors.values(), _read(point.contents), strict=True):
            detector.restore(contents)
        run = RunState(state, stay, point.rate, self.machine.length)
        run.step, run.epoch, run.time, run.closings, run.nonfinite = point.hands
        run.sustained, run.taken = list(point.sustained), dict(point.taken)
        run.waiting, run.due, run.since = point.ahead
        return run

    def _alphabet(self, place: int) -> Iterator[Observation]:
        """What a step in a state may bring: values around the numbers that are asked for."""
        state, curriculum = self.machine.states[place], self.machine.curriculum
        guards = [curriculum.resolve(guard) for way in state.transitions for guard in way.guards]
        asked = [part for guard in guards for part, _ in walk(curriculum, guard, ()) if not isinstance(part, str)]
        asked += [part for part, _ in every_guard(curriculum) if getattr(part.value, "since", "state") == "run"]
        levels: dict[str, list[float]] = {"loss": [2.0]}
        for part in asked:
            metric = getattr(part.value, "metric", None)
            if metric is not None:
                levels[metric] = _levels([p for p in asked if getattr(p.value, "metric", None) == metric])
        counts = any(part.word == "nonfinite" for part in asked)
        losses: list[tuple[float, bool]] = [(level, False) for level in levels.pop("loss")]
        losses += [(nan, False)] * (counts or self.rng.random() < 0.3) + [(2.0, True)] * (self.rng.random() < 0.3)
        looks = any(way.at == "eval" for way in state.transitions)
        others: list[tuple[bool, tuple[tuple[str, float], ...]]] = [(False, ())]
        others += [(True, ())] * looks
        if levels:
            brought = [tuple(zip(levels, given, strict=True)) for given in itertools.product(*levels.values())]
            others += [(False, metrics) for metrics in brought]
        hand = self.machine.steps_per_epoch is None
        for (loss, skipped), (evaluates, metrics), closes in itertools.product(losses, others, (False, *[True] * hand)):
            yield Observation(loss, skipped, closes, evaluates, metrics)


def _levels(asked: list[Any]) -> list[float]:
    """A value in each stretch between the levels that are asked for; where it is about changes, some that change."""
    bounds = sorted({float(part.value.value) for part in asked if part.word in ("below", "above")})
    changes = any(part.word not in ("below", "above") for part in asked)
    found = [bounds[0] - 0.5, *(bound + 0.5 for bound in bounds)] if bounds else []
    return found[:4] if len(found) > 2 or not changes else [1.0, 2.0, 4.0]


_CONTENTS: dict[str, Any] = {}


def _read(contents: str) -> Any:
    """Detectors' contents, which are plain data: written and read as Python spells them."""
    if contents not in _CONTENTS:
        import ast

        _CONTENTS[contents] = ast.literal_eval(contents)
    return _CONTENTS[contents]


def followed(machine: Machine, run: RunState) -> float:
    """What the knobs that the rate follows multiply it by."""
    factor = 1.0
    for knob, exponent in machine.curriculum.lr.follow.items():
        factor *= (run.state.knobs[knob] / machine.states[0].knobs[knob]) ** exponent
    return factor


def harder(machine: Machine, knob: str, value: Any) -> float:
    """How hard a value of a knob is, as the file has it."""
    table = machine.curriculum.knob[knob]
    if table.order == "none":
        return 0.0
    if value != "full" and not isinstance(value, int | float):
        assert table.ladder is not None
        return float(table.ladder.index(value))
    number = float("inf") if value == "full" else float(value)
    return {"up": number, "down": -number}[table.order]


def goal(machine: Machine) -> frozenset[int]:
    """The states that a run is to get to."""
    training = [i for i, state in enumerate(machine.states) if state.stop is None]
    final = [i for i in training if not machine.states[i].transitions or machine.states[i].final]
    return frozenset(final or training[-1:] or range(len(machine.states)))


def used_up(machine: Machine, rate: RateClock, step: int) -> bool:
    """Whether a run has counted as much as it may."""
    counts = rate.counts
    return counts is not None and any(counts.at(meter, step) >= bound for meter, bound in machine.bounds)


def _noting(found: Found, machine: Machine) -> Any:
    """`find_transition`, writing down every guard's verdict first."""
    look = steps.find_transition

    def noting(run: RunState, asked: tuple[str, ...], dead: bool, among: Any = None) -> int | None:
        total = machine.total_steps
        if (total is None or run.step < total) and not used_up(machine, run.rate, run.step):
            for place, (transition, guard) in enumerate(zip(run.state.transitions, run.stay.guards, strict=True)):
                if (among is None or (place, transition) in among) and _looked_at(run, transition, asked):
                    for j, part in enumerate(guard.parts):
                        for where, inner in placed(part, (transition.index, j)):
                            found.verdicts[where].add(inner.verdict(run))
        return look(run, asked, dead, among)

    return noting


def _looked_at(run: RunState, transition: BoundTransition, asked: tuple[str, ...]) -> bool:
    used_up = transition.at_most is not None and run.taken.get(transition.key, 0) >= transition.at_most
    return not used_up and transition.at in asked


def placed(guard: GuardInState, where: tuple[int | str, ...]) -> Iterator[tuple[tuple[int | str, ...], GuardInState]]:
    """A guard and everything inside it, with where it stands: places in lists, and `not`."""
    yield where, guard
    if isinstance(guard, Joined):
        for i, part in enumerate(guard.parts):
            yield from placed(part, (*where, i))
    elif isinstance(guard, Opposite):
        yield from placed(guard.part, (*where, "not"))
