"""Loss streams that bring a run where a trace says, found by trying simple shapes on the real Controller.

A stay is played with losses that fall, lie flat or rise, and for its last observations with others, until one shape is
found under which the Controller does what the trace says, and nothing else. What was found has thereby happened.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import inf, log, nan
from typing import Any, NamedTuple

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import BindingWarning, NonFiniteLoss
from plateau_rule.controller.guards import Reached, leaves
from plateau_rule.controller.guards.word import Hint
from plateau_rule.controller.language.amounts import Amount, steps_in
from plateau_rule.controller.language.consistency import walk
from plateau_rule.controller.language.curriculum import Curriculum, Guard, word_of
from plateau_rule.controller.machine import BoundState, BoundTransition, Machine
from plateau_rule.controller.plan import Decision

MOST_SHAPES = 400  # of a metric's values in one stay
COST_OF_EVALUATION = 30  # as many looks, since each is kept for explain
LARGEST_LOG = 500.0  # of a ratio between the first and the last value of a stay


class Visit(NamedTuple):
    """A stay in a state: from step `entered` on, until the transition at `place` is taken (None: none is).

    left: the first step of the next state, or one more than the last step that matters.
    """

    state: BoundState
    entered: int
    left: int
    place: int | None

    @property
    def transition(self) -> BoundTransition | None:
        """The transition that ends it."""
        return None if self.place is None else self.state.transitions[self.place]


class Shape(NamedTuple):
    """The values of one metric in one stay: a body, and other values for the last observations."""

    body: str
    level: float
    per_step: float
    tail: str
    tail_steps: int

    def values(self, steps: int) -> list[float]:
        """So many values."""
        left = steps - self.tail_steps
        found = [_BODIES[self.body](self.level, self.per_step, i, left) for i in range(left)]
        last = found[-1] if found else self.level
        return found + [_TAILS[self.tail](last, self.level)] * self.tail_steps


_BODIES: dict[str, Callable[[float, float, int, int], float]] = {
    "flat": lambda level, by, i, n: level,
    "falls": lambda level, by, i, n: level * by ** (n - i),
    "slides": lambda level, by, i, n: level + (by - 1.0) * level * (n - i),
    "sinks": lambda level, by, i, n: -level * by**i,
    "rises": lambda level, by, i, n: level * by**i,
}
_TAILS: dict[str, Callable[[float, float], float]] = {
    "flat": lambda last, level: last,
    "up": lambda last, level: max(abs(last), 1.0) * 1e3,
    "down": lambda last, level: -max(abs(last), 1.0) * 1e3,
    "level": lambda last, level: level,
    "nan": lambda last, level: nan,
}


@dataclass
class Budget:
    """How much may still be tried, in looks: about one for each transition that is looked at, and one for each step."""

    looks: int


def controller_of(machine: Machine) -> Controller:
    """A controller of the same curriculum, bound in the same way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)
        run = machine.run
        return Controller(
            machine.curriculum,
            machine.limits,
            epochs=run.epochs,
            steps_per_epoch=run.steps_per_epoch,
            tokens_per_step=run.tokens_per_step,
            peak=machine.peak,
        )


Row = dict[str, Any]


def stream_of(controller: Controller, visits: Sequence[Visit], budget: Budget) -> list[Row] | None:
    """Observations, by the names of `Controller.observe` and with the plan they belong to; None if none were found.

    controller: at the start of a run; it is left where the trying ended.
    """
    rows: list[Row] = []
    for visit in visits:
        found = _played(controller.machine, controller, visit, budget)
        if found is None:
            return None
        rows += found
    return rows


def _played(machine: Machine, controller: Controller, visit: Visit, budget: Budget) -> list[Row] | None:
    before = controller.run_state.copy()
    steps = visit.left - visit.entered
    for number, (shapes, evaluated, closed) in enumerate(_ways(machine, visit)):
        cost = 1 + sum(t.at == "step" for t in visit.state.transitions)
        if budget.looks < cost * steps + COST_OF_EVALUATION * evaluated:
            return None
        if number:
            controller.run_state = before.copy()
        rows, seen = _attempt(controller, visit, shapes, evaluated, closed)
        budget.looks -= cost * seen + COST_OF_EVALUATION * min(evaluated, seen)
        if rows is not None:
            return rows
    return None


def _attempt(
    controller: Controller, visit: Visit, shapes: dict[str, Shape], evaluated: int, closed: int
) -> tuple[list[Row] | None, int]:
    """Play one way; None where something else happens, and how many steps were observed.

    evaluated, closed: how many of the last steps bring an evaluation, close an epoch.
    """
    steps, wanted = visit.left - visit.entered, visit.transition
    values = {metric: shape.values(steps) for metric, shape in shapes.items()}
    losses = values.pop("loss")
    by_hand = controller.machine.run.steps_per_epoch is None
    rows = []
    for i in range(steps):
        evaluates, closes = i >= steps - evaluated, by_hand and i >= steps - closed
        metrics: dict[str, Any] = {metric: series[i] for metric, series in values.items()} if evaluates else {}
        plan = controller.plan
        try:
            decision = controller.observe(losses[i], epoch_end=closes, eval_end=evaluates, **metrics)
        except NonFiniteLoss:
            return None, i + 1
        row: Row = {"step": plan.step, "epoch": plan.epoch, "state": plan.state, "lr": plan.lr, "loss": losses[i]}
        rows.append(row | metrics | ({"eval_end": True} if evaluates else {}) | ({"epoch_end": True} if closes else {}))
        last = i + 1 == steps
        if decision is not None and not last:
            return None, i + 1
        if last and not _is(decision, wanted, controller):
            return None, i + 1
    return rows, steps


def _is(decision: Decision | None, wanted: BoundTransition | None, controller: Controller) -> bool:
    """Whether a stay ended as it should; what is decided on the last step of the run has no step to apply to."""
    if decision is not None and controller.total_steps == decision.step:
        return wanted is None
    if decision is None or wanted is None:
        return decision is None and wanted is None
    return (decision.transition, decision.to_state) == (wanted.title, wanted.target)


def _ways(machine: Machine, visit: Visit) -> Iterator[tuple[dict[str, Shape], int, int]]:
    """Ways to play a stay, the likeliest first: the metrics' shapes, the evaluations, the ends of epochs."""
    steps = visit.left - visit.entered
    asked = _asked(machine, visit.state)
    nonfinite = _counts(machine, visit.state)
    metrics = sorted({"loss", *asked})
    evaluates = len(metrics) > 1 or any(t.at == "eval" for t in visit.state.transitions)
    span, closings = _looks(machine, visit)
    evaluations = list(dict.fromkeys((min(span, steps), steps, 0))) if evaluates else [0]
    if visit.transition is not None and visit.transition.at != "eval":
        evaluations = evaluations[::-1] if evaluates else evaluations
    ends = list(dict.fromkeys(min(end, steps) for end in (closings, 0, span, closings + span)))
    for shapes in _combined([list(islice(_shapes(asked.get(m, []), nonfinite if m == "loss" else [], steps, span),
                                         MOST_SHAPES)) for m in metrics]):  # fmt: skip
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
    """Steps from the first to the last of the looks at which a transition must hold; epochs that its guards ask for."""
    transition = visit.transition
    if transition is None:
        return 1, 0
    closings = 0
    for condition in transition.guards:
        for guard in _inner(machine.curriculum, condition):
            closings = max(closings, word_of(guard).closings(guard.value))
    rhythm = machine.run.steps_per_epoch or 1 if transition.at == "epoch" else 1
    return (transition.sustain - 1) * rhythm + 1, closings


def _inner(curriculum: Curriculum, condition: Guard | str) -> Iterator[Guard]:
    for part, _ in walk(curriculum, curriculum.resolve(condition), ()):
        if isinstance(part, str):
            yield from _inner(curriculum, part)
        else:
            yield part


def _asked(machine: Machine, state: BoundState) -> dict[str, list[Hint]]:
    """What could decide the guards of a state's transitions, by the metric that they watch."""

    def steps(amount: Amount) -> int:
        return steps_in(amount, machine.run, machine.run.total_steps)

    found: dict[str, list[Hint]] = {}
    for transition in state.transitions:
        for condition in transition.guards:
            for guard in _inner(machine.curriculum, condition):
                word = word_of(guard)
                metric, hint = word.metric(guard.value), word.hint(guard.value, steps)
                if metric is not None and hint is not None:
                    found.setdefault(metric, []).append(hint)
    return found


def _counts(machine: Machine, state: BoundState) -> list[int]:
    """How many non-finite losses in a row the guards of a state's transitions ask for, in the order of the file."""
    guards = machine.stay(state, machine.run.total_steps).guards
    asked = (leaf for guard in guards for leaf in leaves(guard))
    return [leaf.need for leaf in asked if isinstance(leaf, Reached) and leaf.hand == "nonfinite"]


def _shapes(asked: list[Hint], nonfinite: list[int], steps: int, span: int) -> Iterator[Shape]:
    """Shapes of a metric over a stay, the simplest first."""
    bounds = sorted({float(level) for hint in asked for level in hint.levels})
    levels = _levels(bounds)
    ratios = [ratio for ratio in _ratios(asked) if steps * log(ratio) < LARGEST_LOG] or [1.0]
    moving = [(body, ratio) for ratio in ratios for body in ("falls", "slides", "sinks", "rises")]
    lengths = {span, *(span - 1 + need for hint in asked for need in (hint.needs, hint.needs // 2, hint.needs - 1))}
    lengths |= {hint.needs + extra for hint in asked for extra in (-1, 0)}
    ended = [(tail, length) for tail in ("up", "down", "flat", "level") if asked for length in sorted(lengths)]
    ended = [("nan", span - 1 + count) for count in nonfinite] + ended
    fitting = [(tail, length) for tail, length in ended if 0 < length <= steps]
    yield from (Shape("flat", level, 1.0, "flat", 0) for level in levels)
    # A flat body shows at once where it does not hold a stay.
    turning = [end for end in fitting if end[0] not in ("flat", "level")]
    yield from (Shape("flat", level, 1.0, *end) for end in turning for level in levels)
    yield from (Shape(body, level, ratio, "flat", 0) for body, ratio in moving for level in levels)
    yield from (Shape(body, level, ratio, *end) for body, ratio in moving for end in fitting for level in levels)


def _levels(bounds: list[float]) -> list[float]:
    """A value above, between and below some bounds."""
    if not bounds:
        return [4.0]
    edges = [-inf, *bounds, inf]
    found = []
    for low, high in pairwise(edges):
        if low == -inf:
            found.append(high / 2 if high > 0 else high * 2 - 1)
        elif high == inf:
            found.append(low * 2 if low > 0 else low / 2 + 1)
        else:
            found.append((low + high) / 2)
    return found[::-1]


def _ratios(asked: list[Hint]) -> list[float]:
    """How fast a metric falls, as a ratio for each step: surely an improvement for every guard, then gentler."""
    found = [1.001, *(hint.ratio for hint in asked if hint.ratio is not None)]
    return sorted({max(found), found[0], found[-1]}, reverse=True)
