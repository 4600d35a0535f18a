"""A curriculum simulated: learners are drawn, put through it shard by shard, and the same ones through its rivals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.sure import Sure
from plateau_rule.controller.guards.plateau.trend import Trend
from plateau_rule.controller.language.amounts import RunLength, parse_amount, steps_in
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.language.ladders import ranks_of
from plateau_rule.controller.language.metrics import metric_of
from plateau_rule.controller.machine import Machine
from plateau_rule.sim.curves import Bounds
from plateau_rule.sim.shards import Engine, cores, cut, spread
from plateau_rule.sim.simulator.evaluations import Evaluations
from plateau_rule.sim.simulator.evaluations import SimulateError as SimulateError
from plateau_rule.sim.simulator.learner import PARAMETERS, Floats, Learners, ranges
from plateau_rule.sim.simulator.loop import Outcome, Truth, together, train
from plateau_rule.sim.simulator.rivals import oracle, without

RIVALS = 1000  # learners that are also put through the rivals; each is compared with itself, so fewer are enough
_RATE = re.compile(r"^\s*([0-9.]+(?:e-?[0-9]+)?)\s*%\s+per\s+(.+?)\s*$")


@dataclass(frozen=True)
class Settings:
    """How to simulate.

    learners: how many. seed: of everything that is drawn. ranges: in place of those that learners are drawn from. flat:
    the improvement under which the true loss is flat, such as "2% per 1000 steps"; by default what the curriculum's own
    plateau asks for. evaluate_every: an amount of time, for evaluations of which the file does not say how often they
    come; by default, when an epoch closes. workers: processes. engine: `processes` or `ray`. binding: limits, lengths
    and peak.
    """

    learners: int = 10_000
    seed: int = 0
    ranges: Mapping[str, Bounds] = field(default_factory=dict)
    flat: str | None = None
    workers: int | None = None
    engine: Engine = "processes"
    binding: Binding = field(default_factory=Binding)
    evaluate_every: str | None = None


@dataclass(frozen=True)
class Simulation:
    """A simulation's result.

    machine: the curriculum as it was bound. settings: what was asked for. truth: what was called flat. outcome: of all
    learners. oracle: of the first RIVALS of them, under raises at the right moment; None where there is nothing to
    raise. full_steps, full_cost: the true final loss of those without a curriculum, for as many steps as they took
    here, and for as much as those cost.
    """

    machine: Machine
    settings: Settings
    truth: Truth
    outcome: Outcome
    oracle: Outcome | None
    full_steps: Floats
    full_cost: Floats

    def hardness(self, place: int) -> list[float]:
        """How hard every knob is in a state."""
        return [self.machine.hardness(*knob) for knob in self.machine.states[place].knobs.items()]

    @property
    def evaluations(self) -> str:
        """When evaluations come, in words; empty where nothing waits for one."""
        evaluations = Evaluations.of(self.machine, self.machine.guarded, self.settings.evaluate_every)
        return evaluations.in_words(self.machine)

    @property
    def listens(self) -> frozenset[str]:
        """The metrics that transitions watch; none where clocks alone decide."""
        stays = (self.machine.stay(state, self.machine.length) for state in self.machine.states)
        return frozenset(metric for stay in stays for metric, _ in stay.detectors.values())


@dataclass(frozen=True)
class _Shard:
    curriculum: Curriculum
    binding: Binding
    truth: Truth
    ranges: Mapping[str, Bounds]
    seed: int
    first: int
    count: int
    evaluate_every: str | None

    def learners(self) -> Learners:
        return Learners.drawn(self.ranges, self.count, self.seed, self.first)


def simulate(
    curriculum: Curriculum, settings: Settings, progress: Callable[[int, int], None] | None = None
) -> Simulation:
    """Simulate a curriculum and its rivals.

    progress: called with the learners that are done, and how many there are.
    Raises SimulateError where it cannot be simulated, BindingError where it does not fit.
    """
    binding = filled(curriculum, settings.binding)
    machine = bind(curriculum, binding)
    if machine.run.total_steps is None and machine.bounds:
        raise SimulateError(
            f'how many steps a run of "{curriculum.name}" has depends on its knobs. Give more than it can have, as '
            "--epochs and --steps-per-epoch: its tokens, or its cost, end it all the same"
        )
    if machine.run.total_steps is None:
        raise SimulateError(
            f'"{curriculum.name}" does not say how long a run is, and nothing else does. '
            "Add epochs and steps_per_epoch to its [run], or give --epochs and --steps-per-epoch"
        )
    if scores := sorted(name for name in machine.guarded if metric_of(curriculum, name).goal == "max"):
        raise SimulateError(
            f'"{curriculum.name}" watches {scores[0]}, of which more is better. Simulated learners have a loss and no '
            "score, so it cannot be simulated. Replay logs through it, or write scenarios for plateau test"
        )
    if settings.learners < 1:
        raise SimulateError(f"{settings.learners} learners; expected at least 1")
    Evaluations.of(machine, machine.guarded, settings.evaluate_every)  # what is wrong with them is said at once
    truth = truth_of(machine, settings.flat)
    bounds = {**ranges(machine.run.total_steps, machine.peak), **settings.ranges}
    if unknown := sorted(bounds.keys() - PARAMETERS.keys()):
        raise SimulateError(f"a learner has no {', '.join(unknown)}; it has {', '.join(PARAMETERS)}")
    workers = settings.workers or cores()

    def shards(of: Curriculum, learners: int) -> list[_Shard]:
        pieces = cut(learners, workers)
        every = settings.evaluate_every
        return [_Shard(of, binding, truth, bounds, settings.seed, first, count, every) for first, count in pieces]

    done, parts = 0, []
    for part in spread(_simulated, shards(curriculum, settings.learners), workers, settings.engine):
        parts.append(part)
        done += len(part.steps)
        if progress is not None:
            progress(done, settings.learners)
    outcome = together(parts)
    few = min(settings.learners, RIVALS)
    ideal = oracle(curriculum)
    raised = None
    if ideal is not None:
        raised = together(list(spread(_simulated, shards(ideal, few), workers, settings.engine)))
    learners = Learners.drawn(bounds, few, settings.seed)
    affordable = np.maximum(1, outcome.cost[:few]).astype(np.int64)
    full = without(machine, learners.twice(), np.concatenate((outcome.steps[:few], affordable)))
    return Simulation(machine, settings, truth, outcome, raised, full[:few], full[few:])


def _simulated(shard: _Shard) -> Outcome:
    return train(shard.curriculum, shard.learners(), shard.binding, shard.truth, shard.evaluate_every)


def filled(curriculum: Curriculum, binding: Binding) -> Binding:
    """A binding with a limit for every knob: twice the largest number of its values where none is given."""
    limits = dict(binding.limits or {})
    for name, knob in curriculum.knob.items():
        if name not in limits:
            values = [*(knob.ladder or ()), *((knob.range.min, knob.range.max) if knob.range else ())]
            if name in ranks_of(curriculum):
                limits[name] = None
                continue
            numbers = [hardness(value) for value in values if hardness(value) < float("inf")]
            limits[name] = 2 * max(numbers) if len(numbers) < len(values) and numbers else max(numbers, default=1.0)
    return replace(binding, limits=limits)


def truth_of(machine: Machine, flat: str | None) -> Truth:
    """What is called flat: what was asked for, else what the curriculum's first plateau asks for, else 1 / run.

    A raise is late after an epoch, or in a run of few epochs after a fiftieth of it.
    """
    total = machine.run.total_steps or 1
    epochs, per_epoch = machine.run.epochs or 1, machine.run.steps_per_epoch or 1
    late = per_epoch if epochs >= 5 else max(1, total // 50)
    rate = rate_of(flat, machine.run) if flat is not None else _own_rate(machine) or 1.0 / total
    return Truth(rate, max(10, late // 10), late)


def rate_of(flat: str, run: RunLength) -> float:
    """Read "2% per 1000 steps" as a share for each step. Raises SimulateError where it says something else."""
    found = _RATE.match(flat)
    try:
        if found is None:
            raise ValueError('expected a rate such as "2% per 1000 steps"')
        rate = float(found[1]) / 100 / steps_in(parse_amount(found[2]), run, run.total_steps)
    except (ValueError, ZeroDivisionError) as error:
        raise SimulateError(f"--flat {flat!r}: {error}") from None
    if rate <= 0:
        raise SimulateError(f"--flat {flat!r}: expected more than 0 %")
    return rate


def _own_rate(machine: Machine) -> float | None:
    for state in machine.states:
        for _, detector in machine.stay(state, machine.length).detectors.values():
            if isinstance(detector, Halves):
                return 2.0 * detector.threshold / detector.window
            if isinstance(detector, Trend | Sure):
                return detector.max_rate
    return None
