"""Loss streams that bring a run where a trace says, found by trying simple shapes on the real Controller.

A stay is played with losses that fall, lie flat or rise, and for its last observations with others, until one shape is
found under which the Controller does what the trace says, and nothing else. What was found has thereby happened.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from plateau_rule.controller.binding import binding_of
from plateau_rule.controller.controller import Controller, UnguardedController
from plateau_rule.controller.errors import BindingWarning, NonFiniteLoss
from plateau_rule.controller.guards import Reached, leaves
from plateau_rule.controller.guards.word import Hint
from plateau_rule.controller.horizon import FastForward
from plateau_rule.controller.language.consistency import walk
from plateau_rule.controller.language.curriculum import Curriculum, Guard, word_of
from plateau_rule.controller.language.metrics import LOSS
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.plan import Decision, length_over
from plateau_rule.controller.state import SILENT, RunState
from plateau_rule.controller.verifier.budget import Budget, Part
from plateau_rule.controller.verifier.coverage import Coverage
from plateau_rule.controller.verifier.shapes import Shape, shapes_of

WORTH_IT = 8  # steps, to be observed at once
MOST_SHAPES = 400  # of a metric's values in one stay
# In configurations: an observation for each transition that is looked at, one of many at once, one with an evaluation,
# which is kept for explain, and a guard that is restored.
LOOK, AT_ONCE, EVALUATION, RESTORE = 0.03, 0.006, 0.5, 1.2


class Visit(NamedTuple):
    """A stay in a state: from step `entered` on, until the transition at `place` is taken (None: none is).

    left: the first step of the next state, or one more than the last step that matters. over: whether the run is to be
    over then.
    """

    state: BoundState
    entered: int
    left: int
    place: int | None
    over: bool = False

    @property
    def transition(self) -> BoundTransition | None:
        """The transition that ends it."""
        return None if self.place is None else self.state.transitions[self.place]


def controller_of(machine: Machine) -> Controller:
    """A controller of the same curriculum, bound in the same way, that lets knobs fall."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)
        controller = UnguardedController(machine.curriculum, binding_of(machine))
        controller.run_state.said = SILENT  # nobody waits for what does not come
        return controller


Row = dict[str, Any]


class Player:
    """Plays trails on the real Controller; what it has played of one is where the next one goes on."""

    def __init__(self, machine: Machine, coverage: Coverage | None = None) -> None:
        self.machine, self.coverage = machine, coverage or Coverage(machine)
        self.controller = controller_of(machine)  # binding one anew for each trail would take longer than most trails
        self._played: list[tuple[Visit, Played, RunState]] = []  # stays, and the run after them
        self._start = self.controller.run_state.copy()

    def play(self, visits: Sequence[Visit], budget: Budget | Part) -> tuple[Played, ...] | None:
        """Observations that bring stays about, one after the other; None if none were found.

        The controller is left where they end. Raises BudgetSpent.
        """
        same = 0
        while same < min(len(visits), len(self._played)) and visits[same] == self._played[same][0]:
            same += 1
        del self._played[same:]
        before = self._played[-1][2] if same else self._start
        self.controller.run_state = before.copy()
        for visit in visits[same:]:
            played = self._stay(visit, before, budget)
            if played is None:
                return None
            before = self.controller.run_state.copy()
            self._played.append((visit, played, before))
        return tuple(played for _, played, _ in self._played)

    def _stay(self, visit: Visit, before: RunState, budget: Budget | Part) -> Played | None:
        """Observations that bring one stay about, from a snapshot on."""
        restored = self._restoring(visit.state)
        left = None if self.machine.run.epochs is None else self.machine.run.epochs - self.controller.run_state.epoch
        for number, way in enumerate(_ways(self.machine, visit, left)):
            if number:
                self.controller.run_state = before.copy()
            rows, cost = _attempt(self.controller, visit, self.coverage, *way)
            budget.spend(cost + restored)
            if rows is not None:
                return rows
        return None

    @staticmethod
    def _restoring(state: BoundState) -> float:
        """What it costs to begin a stay anew, in configurations."""
        return 1.0 + RESTORE * sum(len(t.guards) for t in state.transitions)

    def look_for(self, visits: Sequence[Visit], wanted: Callable[[], bool], budget: Budget | Part, most: int) -> None:
        """Play the last of some stays in several ways, until something was seen; the others as they are."""
        if visits[:-1] and self.play(visits[:-1], budget) is None:
            return
        if not visits[:-1]:
            self.controller.run_state = self._start.copy()
        before, last = self.controller.run_state.copy(), visits[-1]
        restored = self._restoring(last.state)
        for way in islice(_ways(self.machine, last, None), most):
            self.controller.run_state = before.copy()
            _, cost = _attempt(self.controller, last, self.coverage, *way)
            budget.spend(cost + restored)
            if wanted():
                break
        self._played = []


class Played(NamedTuple):
    """The observations of one stay.

    losses: one a step. evaluated, closed: how many of the last steps bring an evaluation, close an epoch that the
    trainer closes. metrics: of those evaluations.
    """

    losses: list[float]
    evaluated: int
    closed: int
    metrics: list[dict[str, Any]]


def rows_of(machine: Machine, stays: Sequence[Played]) -> Iterator[Row]:
    """The observations of a run, by the names of `Controller.observe` and with the plan they belong to."""
    controller = controller_of(machine)
    for stay in stays:
        first = len(stay.losses) - stay.evaluated
        for i, loss in enumerate(stay.losses):
            plan = controller.plan
            evaluates, closes = i >= first, i >= len(stay.losses) - stay.closed
            metrics: dict[str, Any] = stay.metrics[i - first] if evaluates else {}
            row: Row = {"step": plan.step, "epoch": plan.epoch, "state": plan.state, "lr": plan.lr, "loss": loss}
            yield row | metrics | ({"eval_end": True} if evaluates else {}) | ({"epoch_end": True} if closes else {})
            controller.observe(loss, epoch_end=closes, eval_end=evaluates, **metrics)


def _attempt(
    controller: Controller, visit: Visit, coverage: Coverage, shapes: dict[str, Shape], evaluated: int, closed: int
) -> tuple[Played | None, float]:
    """Play one way; None where something else happens, and what it cost.

    evaluated, closed: how many of the last steps bring an evaluation, close an epoch.
    """
    steps, wanted = visit.left - visit.entered, visit.transition
    values = {metric: shape.values(steps) for metric, shape in shapes.items()}
    losses = values.pop("loss")
    closed = closed if controller.machine.run.steps_per_epoch is None else 0
    played = Played([], min(evaluated, steps), closed, [])
    quiet = steps - max(1, evaluated, closed, shapes["loss"].tail_steps)  # so many bring no more than a finite loss
    looked_at, cost = 1 + sum(t.at == "step" for t in visit.state.transitions), 0.0
    i = 0
    while i < steps:
        ahead = uneventful(controller, quiet - i) if i else 0
        if ahead:
            found = list(islice(losses, ahead))
            for series in values.values():
                next(islice(series, ahead, ahead), None)
            seen, decision = FastForward(controller.machine, controller.run_state).observe_all(found)
            played.losses.extend(found)
            cost += AT_ONCE * looked_at * seen
            if decision is not None:
                coverage.note_decision(visit.state, decision, controller, False, False)
                return None, cost
            i += ahead
            continue
        evaluates, closes, last = i >= steps - evaluated, i >= steps - closed, i + 1 == steps
        cost += LOOK * looked_at + EVALUATION * evaluates
        loss, given = next(losses), {metric: next(series) for metric, series in values.items()}
        metrics: dict[str, Any] = given if evaluates else {}
        try:
            decision = _observed(controller, visit.state, coverage, loss, closes, metrics, evaluates, last)
        except NonFiniteLoss:
            return None, cost
        played.losses.append(loss)
        if evaluates:
            played.metrics.append(metrics)
        if decision is not None and not last:
            return None, cost
        if last and not _is(decision, wanted, controller):
            return None, cost
        i += 1
    if visit.over and controller.plan.stop is None:
        return None, cost
    return played, cost


def _observed(
    controller: Controller,
    state: BoundState,
    coverage: Coverage,
    loss: float,
    closes: bool,
    metrics: dict[str, Any],
    evaluates: bool,
    last: bool,
) -> Decision | None:
    """Observe one step and, where there is one, its evaluation; what both looks show is noted."""
    evaluated = controller.machine.evaluated
    decision = controller.observe(loss, closes, **{name: metrics[name] for name in metrics if name not in evaluated})
    for late in (False, True) if evaluates and decision is None else (False,):
        if late:
            decision = controller.evaluated(**{name: metrics[name] for name in metrics if name in evaluated})
        if decision is not None:
            coverage.note_decision(state, decision, controller, closes, late)
        elif last or coverage.is_new(state, controller, closes, late):
            coverage.note_look(state, controller, closes, late)
    return decision


def uneventful(controller: Controller, most: int) -> int:
    """How many steps may be observed at once: up to the end of the epoch, if they are worth it."""
    per_epoch = controller.machine.run.steps_per_epoch
    ahead = most if per_epoch is None else min(most, per_epoch - 1 - controller.run_state.step % per_epoch)
    return ahead if ahead >= WORTH_IT else 0


def _is(decision: Decision | None, wanted: BoundTransition | None, controller: Controller) -> bool:
    """Whether a stay ended as it should; what is decided on the last step of the run has no step to apply to."""
    if decision is not None and length_over(controller.machine, controller.run_state):
        return wanted is None
    if decision is None or wanted is None:
        return decision is None and wanted is None
    return (decision.transition, decision.to_state) == (wanted.title, wanted.target)


def _ways(machine: Machine, visit: Visit, epochs_left: int | None) -> Iterator[tuple[dict[str, Shape], int, int]]:
    """Ways to play a stay, the likeliest first: the metrics' shapes, the evaluations, the ends of epochs."""
    steps = visit.left - visit.entered
    asked = _asked(machine, visit.state)
    nonfinite = _counts(machine, visit.state)
    nonfinite += [machine.nonfinite_limit] if nonfinite else []  # where those that do not ask for it are passed over
    metrics = sorted({"loss", *asked})
    evaluates = len(metrics) > 1 or any(t.at == "eval" for t in visit.state.transitions)
    span, closings = _looks(machine, visit)
    # As many as fill a metric's window are played far sooner than all.
    late = visit.transition is not None and visit.transition.at != "eval"  # it does not see that of the last step
    filled = [span - 1 + hint.needs + late for metric, hints in asked.items() if metric != "loss" for hint in hints]
    evaluations = list(dict.fromkeys(min(n, steps) for n in (span, *filled, steps, 0))) if evaluates else [0]
    if visit.transition is not None and visit.transition.at != "eval":
        evaluations = evaluations[::-1] if evaluates else evaluations
    ends = list(dict.fromkeys(min(end, steps) for end in (closings, 0, span, closings + span)))
    if visit.over and epochs_left is not None:
        ends = [min(epochs_left, steps)]
    lost = {"loss": (nonfinite, machine.nonfinite_limit - 1)}  # counts that are asked for, and the most that may be
    series = [shapes_of(asked.get(m, []), steps, span, *lost.get(m, ([], 0))) for m in metrics]
    for shapes in _combined([list(islice(some, MOST_SHAPES)) for some in series]):
        for evaluated in evaluations:
            for end in ends if machine.run.steps_per_epoch is None else [0]:
                yield dict(zip(metrics, shapes, strict=True)), evaluated, end


def _combined(series: list[list[Shape]]) -> Iterator[tuple[Shape, ...]]:
    """Every combination of one from each list, those of early ones first."""
    if len(series) == 1:
        yield from ((shape,) for shape in series[0])
        return
    first, rest = series[0], list(islice(_combined(series[1:]), MOST_SHAPES))
    for total in range(len(first) + len(rest) - 1):
        for i in range(max(0, total - len(rest) + 1), min(total + 1, len(first))):
            yield (first[i], *rest[total - i])


def _looks(machine: Machine, visit: Visit) -> tuple[int, int]:
    """Steps from the first of the looks at which a transition must hold up to where it applies; epochs asked for."""
    transition = visit.transition
    if transition is None:
        return 1, 0
    closings = 0
    for condition in transition.guards:
        for guard in _inner(machine.curriculum, condition):
            closings = max(closings, word_of(guard).closings(guard.value))
    rhythm = machine.run.steps_per_epoch or 1 if transition.at == "epoch" else 1
    return (transition.sustain - 1) * rhythm + 1 + transition.lead, closings


def _inner(curriculum: Curriculum, condition: Guard | str) -> Iterator[Guard]:
    for part, _ in walk(curriculum, curriculum.resolve(condition), ()):
        if isinstance(part, str):
            yield from _inner(curriculum, part)
        else:
            yield part


def _asked(machine: Machine, state: BoundState) -> dict[str, list[Hint]]:
    """What could decide the guards of a state's transitions, by the metric that they watch."""
    found: dict[str, list[Hint]] = {}
    for transition in state.transitions:
        for condition in transition.guards:
            for guard in _inner(machine.curriculum, condition):
                word = word_of(guard)
                metric = word.metric(guard.value)
                hint = word.hint(guard.value, machine.feed(metric or LOSS, machine.length))
                if metric is not None and hint is not None:
                    found.setdefault(metric, []).append(hint)
    return found


def _counts(machine: Machine, state: BoundState) -> list[int]:
    """How many non-finite losses in a row the guards of a state's transitions ask for, in the order of the file."""
    guards = machine.stay(state, machine.length).guards
    asked = (leaf for guard in guards for leaf in leaves(guard))
    return [leaf.need for leaf in asked if isinstance(leaf, Reached) and leaf.hand == "nonfinite"]
