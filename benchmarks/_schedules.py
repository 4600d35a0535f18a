"""The tasks and the schedules of benchmarks/study.py: what docs/study.md describes, as curricula."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise
from math import ceil

from plateau_rule import Curriculum, UnsoundError, bind, loads, require_sound
from plateau_rule.trials.budget import TrainingBudget, bounded

SHAPES = {
    "decay": 'shape = "wsd", decay = 0.4, floor = 0.05, length = "rest"',
    "cosine": 'shape = "cosine", floor = 0.05, length = "rest"',
}
EACH_RUNG, FALL = "each-rung", "0.2 run"  # the rate falls on each rung, in so much time; on the last one until the end
WHEN_FLAT, SHORT_FALL = "when-flat", "0.1 run"  # it falls where the loss is flat, before a raise; in the end likewise
RATES = {
    **SHAPES,
    EACH_RUNG: f'shape = "cosine", floor = 0.1, length = "{FALL}"',
    WHEN_FLAT: 'shape = "constant"',
}
LAST = {EACH_RUNG: 'floor = 0.05, length = "rest"', WHEN_FLAT: SHAPES["decay"]}  # on the last rung
LOW = f'shape = "linear", floor = 0.1, length = "{SHORT_FALL}"'  # in a state in which the rate falls
UNDER_COSINE, RESTARTED = ("fixed", "trend", "returns"), ("fixed", "trend")
PATIENCE = 3  # evaluations at the last rung's setting without a new best
TOTALS, WEIGHTS = (0.3, 0.6, 0.9), {"even": 1.0, "halving": 0.5}  # of the search for a fixed ladder


@dataclass(frozen=True)
class Task:
    """Something to be trained, with a knob that makes steps cheaper.

    Attributes:
        name: of its files.
        trainer: as `plateau compare --trainer` takes it.
        knob: that has the ladder.
        ladder: its rungs, easiest first.
        prices: of a step on each rung, one on the last being 1; measured once.
        step_s: seconds of a step on the last rung, measured once.
        peak: of the rate, the same in every run.
        steps_per_epoch: after which a trainer scores that scores by epochs.
        seconds: of the budget 1×.
        score: what is scored.
        most: the last rung as a number.
        near: scores that differ by less than this are as good as one another: a share of the lower one, or an amount.
        thresholds: that triggers are chosen among: relative improvements in 100 steps.
        target: the metric that the trainer brings as the score at the last rung.
    """

    name: str
    trainer: str
    knob: str
    ladder: tuple[int | str, ...]
    prices: tuple[float, ...]
    step_s: float
    peak: float
    steps_per_epoch: int
    seconds: float
    score: str
    most: int
    near: str
    thresholds: tuple[float, ...]
    target: str

    @property
    def top(self) -> int:
        """The place of the last rung."""
        return len(self.ladder) - 1

    def budget(self, times: int) -> TrainingBudget:
        """Of one training, in steps on the last rung."""
        return TrainingBudget(Fraction(round(times * self.seconds / self.step_s)), "cost")


@dataclass(frozen=True)
class Schedule:
    """How a training climbs.

    Attributes:
        kind: what decides: "held", "uniform", "fixed", "probed", or a kind of trigger.
        rungs: places of the rungs that it climbs; one that comes twice has a state of its own in which the rate falls.
        guards: what lets it leave each of them but the last.
        shape: of the rate, a key of SHAPES, EACH_RUNG or WHEN_FLAT.
        restart: whether the rate starts over with each raise.
        number: of a candidate of this kind, from 1; 0 where it is the chosen one.
        metric: of evaluations, that the guards watch; where there is none, they watch the loss.
    """

    kind: str
    rungs: tuple[int, ...]
    guards: tuple[str, ...] = ()
    shape: str = "decay"
    restart: bool = False
    number: int = 0
    metric: str = ""

    @property
    def name(self) -> str:
        """In tables, and of its curriculum."""
        held = f"rung-{self.rungs[0] + 1}" if self.kind == "held" else self.kind
        return f"{held}{f'-{self.number}' * bool(self.number)}-{self.shape}{'-restarts' * self.restart}"

    def curriculum(self, task: Task) -> Curriculum:
        """The curriculum of it; its run ends where its budget is spent."""
        return loads(self.text(task))

    def text(self, task: Task) -> str:
        """Its curriculum, as it is written."""
        names = [f"rung-{rung + 1}{'-low' * (rung == last)}" for last, rung in pairwise((-1, *self.rungs))]
        looks = ', at = "eval"' * bool(self.metric) + ', actions = ["lr_restart"]' * self.restart
        raises = ",\n".join(
            f'{{ from = "{old}", to = "{new}", guards = [{guard}]{looks} }}'
            for old, new, guard in zip(names, names[1:], self.guards, strict=False)
        )
        return f"""
name = "{self.name}"
run  = {{ steps_per_epoch = {task.steps_per_epoch} }}
lr   = {{ peak = {task.peak}, {RATES[self.shape]} }}
knob = {{ {task.knob} = {{ ladder = {json.dumps(task.ladder)}, cost = {list(task.prices)} }} }}
{f'metric = {{ {self.metric} = {{ at = "eval" }} }}' if self.metric else ""}
{f"transition = [{raises}]" if self.guards else ""}
{'check = { waive = { aligned = "what the rate is to be at a raise is a question here" } }' if self.guards else ""}
{"".join(map(partial(self._state, task), names, self.rungs))}
"""

    def _state(self, task: Task, name: str, rung: int) -> str:
        rate = LOW if name.endswith("-low") else LAST.get(self.shape, "") if rung == self.rungs[-1] else ""
        own = f"lr = {{ {rate} }}\n" if rate else ""
        return f'[[state]]\nname = "{name}"\nset = {{ {task.knob} = {json.dumps(task.ladder[rung])} }}\n{own}'


def held(rung: int, shape: str) -> Schedule:
    """One rung throughout."""
    return Schedule("held", (rung,), shape=shape)


def climb(task: Task, kind: str, guards: Sequence[str], number: int = 0) -> Schedule:
    """All rungs, one after the other; one guard alone lets it leave each of them."""
    whole = tuple(guards) * task.top if len(guards) == 1 else tuple(guards)
    return Schedule(kind, tuple(range(len(task.ladder))), whole, number=number)


def dwells(shares: Sequence[float]) -> list[str]:
    """Guards that leave each rung after a share of the budget."""
    return [f'{{ dwell = "{share:.4f} run" }}' for share in shares]


def refusal(task: Task, schedule: Schedule, times: int) -> str | None:
    """Why `plateau check` calls a schedule broken at a budget, such as a state that it can never reach."""
    simplest = replace(schedule, shape="decay", restart=True)  # the rate decides nothing, and this is proved at once
    return _broken(simplest.text(task), task.budget(times), min(task.prices), (task.knob, task.most))


@cache
def _broken(text: str, budget: TrainingBudget, cheapest: float, limit: tuple[str, int]) -> str | None:
    curriculum = bounded(loads(text), budget, ceil(budget.amount / Fraction(cheapest)))
    try:
        require_sound(bind(curriculum, limits=dict([limit])))
    except UnsoundError as error:
        return str(error).splitlines()[1].partition(". ")[0]
    return None


def uniform(task: Task) -> Schedule:
    """Each rung for an equal share of the budget."""
    return climb(task, "uniform", dwells([1 / len(task.ladder)] * task.top))


def candidates(task: Task) -> dict[str, list[Schedule]]:
    """What is chosen among, for each kind; the rate is constant, then decays, but for rungs that are held."""
    found = {"held": [held(rung, shape) for shape in SHAPES for rung in range(len(task.ladder))], "fixed": []}
    for total in TOTALS:
        for weight in WEIGHTS.values():
            parts = [weight**place for place in range(task.top)]
            shares = [total * part / sum(parts) for part in parts]
            found["fixed"].append(climb(task, "fixed", dwells(shares), len(found["fixed"]) + 1))
    for kind, guards in triggers(task).items():
        found[kind] = [climb(task, kind, [guard], number) for number, guard in enumerate(guards, 1)]
    return found


def triggers(task: Task) -> dict[str, list[str]]:
    """Kinds of triggers, each with the guards to choose among."""
    halves = [f"{{ plateau = {{ window = 100, threshold = {threshold} }} }}" for threshold in task.thresholds]
    trend = [slow(threshold, 100) for threshold in task.thresholds]
    return {"halves": halves, "trend": trend, "returns": ['{ plateau = { method = "returns" } }']}


def slow(threshold: float, steps: int) -> str:
    """A guard: the loss surely improves by less than this in so many steps."""
    return f'{{ plateau = {{ method = "trend", threshold = {threshold}, per = "{steps} steps" }} }}'


def knowing(task: Task, threshold: float) -> list[Schedule]:
    """Triggers that know more than the loss: what a step costs, where the rate is, how the last rung would score."""
    flat = slow(threshold, 100)
    per_cost = [slow(threshold, round(100 / price)) for price in task.prices[:-1]]
    low_rate = climb(task, "low-rate", [f'{{ dwell = "{FALL}" }}, {flat}'])
    twice = tuple(rung for rung in range(task.top) for _ in range(2))
    falling = (flat, f'{{ dwell = "{SHORT_FALL}" }}, {flat}') * task.top
    spent = f'{{ patience = {{ metric = "{task.target}", steps = {PATIENCE} }} }}'
    return [
        climb(task, "per-cost", per_cost),
        replace(low_rate, shape=EACH_RUNG, restart=True),
        Schedule("after-decay", (*twice, task.top), falling, WHEN_FLAT, restart=True),
        replace(climb(task, "on-target", [spent]), metric=task.target),
    ]


def reported(task: Task, chosen: Mapping[str, Schedule], probed: Schedule | None) -> list[Schedule]:
    """The rows of a table: each constant, each ladder while the rate is constant, then decays, and some in other ways.

    Args:
        task: whose they are.
        chosen: of each kind that was chosen among.
        probed: the ladder that a probe advised, where it advised one.
    """
    ladders = [uniform(task), *(replace(chosen[kind], number=0) for kind in chosen if kind != "held")]
    more = knowing(task, task.thresholds[chosen["trend"].number - 1])
    return [
        *(held(rung, shape) for shape in SHAPES for rung in reversed(range(len(task.ladder)))),
        *ladders,
        *more,
        *(replace(each, shape="cosine") for each in ladders if each.kind in UNDER_COSINE),
        *(replace(each, shape=shape, restart=True) for shape in SHAPES for each in ladders if each.kind in RESTARTED),
        *([] if probed is None else [probed]),
    ]


TASKS = {
    "operator": Task(
        name="operator",
        trainer="examples/fourier_operator.py:train",
        knob="grid",
        ladder=(64, 256, 512),
        prices=(0.38, 0.7, 1.0),
        step_s=0.0255,
        peak=2e-3,
        steps_per_epoch=100,
        seconds=10,
        score="relative error on 512 points",
        most=512,
        near="2 %",
        thresholds=(0.12, 0.06, 0.03),
        target="error",
    ),
    "bytes": Task(
        name="bytes",
        trainer="fftcore --device cpu --d-model 64 --layers 4 --seq-len 128 --batch-size 8 --kernel-len 64 --peak 6e-3"
        " --kernel-groups 4 --no-memory --feed gelu --draft-every 16 --weight-decay 5e-4",
        knob="depth",
        ladder=(1, 2, "full"),
        prices=(0.37, 0.57, 1.0),
        step_s=0.0353,
        peak=6e-3,
        steps_per_epoch=100,
        seconds=15,
        score="bits per byte",
        most=4,
        near="0.01",
        thresholds=(0.04, 0.02, 0.01),
        target="val_bpb_target",
    ),
}
