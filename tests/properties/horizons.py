"""Whether `horizon()` and `ahead(k)` say what is true: held against every stream that can follow on a moment of a run.

`python -m tests.properties.horizons 2000` draws so many curricula, and tells how many streams were followed. It ends
with 1 where a plan changed within the horizon, or none could just beyond it. How far that is, is exact as long as no
two detectors of a state watch the same metric (what one of them needs may keep the other one from what it needs) and
every guard on an evaluation is looked at with one (another look may count one that comes too late for it). Elsewhere a
horizon may be too short, and those that are, are counted.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from math import nan
from typing import Any

from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.evaluation import take_observation
from plateau_rule.controller.guards.gap import Apart
from plateau_rule.controller.guards.level import Beside
from plateau_rule.controller.horizon import certain_steps, plan_ahead
from plateau_rule.controller.language.consistency import walk
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.plan import plan_of
from plateau_rule.controller.state import RunState
from plateau_rule.controller.step import start_run
from tests.properties.small_curricula import small_machine

MOST = 1500  # runs at one step; beyond, some of them, drawn from a seed, are followed
LEADS: tuple[Any, ...] = (0, 0, 1, 2, 3, {"cutoff": 2}, {"cutoff": 1, "size": 3})
FAR_OUT = 1e3  # times the largest value that was seen


@dataclass
class Held:
    """What was seen.

    moments: of runs at which the horizon was asked. whole: those on which every stream was followed. steps: of streams.
    short: horizons that were too short where that is known to happen. wrong: what was wrong.
    """

    moments: int = 0
    whole: int = 0
    steps: int = 0
    short: int = 0
    wrong: list[str] = field(default_factory=list)


def held(seed: int, most: int = MOST) -> Held:
    """A curriculum of a seed, looked at from moments of one run of it."""
    rng, found = random.Random(seed), Held()
    try:
        machine = small_machine(seed, rng.choice(LEADS))
    except AssertionError:  # no knob of that name in any draft
        machine = small_machine(seed)
    run = start_run(machine)
    while plan_of(machine, run).stop is None and run.step < 20:
        if rng.random() < 0.5:
            _hold(machine, run, rng, most, found)
        if _after(machine, run, rng.choice(list(_observations(machine, run, False)))) is None:
            break
    return found


def _after(machine: Machine, run: RunState, said: dict[str, Any]) -> tuple[str, str | None] | None:
    """The plan after an observation, and the transition that it brought; None where the run died."""
    try:
        decision = take_observation(machine, run, **said)
    except NonFiniteLoss:
        return None
    return _shown(machine, plan_of(machine, run)), decision and decision.transition


def _hold(machine: Machine, run: RunState, rng: random.Random, most: int, found: Held) -> None:
    """Follow every stream to the first step beyond the horizon."""
    horizon, step = certain_steps(machine, run, 10_000), run.step
    here, whole = {_key(run): run}, True
    found.moments += 1
    for ahead in range(1, horizon + 1):
        there: dict[Any, RunState] = {}
        plans = set()
        if len(here) > most:
            whole, here = False, dict(rng.sample(list(here.items()), most))
        for one in here.values():
            if plan_of(machine, one).stop is not None:
                continue
            for said in _observations(machine, one, True):
                twin = one.copy()
                plan = _after(machine, twin, said)
                found.steps += 1
                if plan is not None:
                    there[_key(twin)] = twin
                    plans.add(plan)
        planned = plan_ahead(machine, run, ahead)
        moved = {plan for plan, _ in plans} - {_shown(machine, planned)}
        if ahead < horizon and moved:
            found.wrong.append(f"step {step}, horizon {horizon}: step {step + ahead} is {planned}, or {moved}")
        if ahead == horizon and len(plans) == 1 and planned.stop is None:
            if any(_is_entangled(machine, one) for one in here.values()):
                found.short += 1
            else:
                found.wrong.append(f"step {step}: beyond a horizon of {horizon} there is only {plans}")
        here = there
    found.whole += whole


def _is_entangled(machine: Machine, run: RunState) -> bool:
    """Whether two detectors watch one metric, or one that no look with an evaluation asks watches evaluations."""
    watched = Counter(metric for metric, _ in run.stay.detectors.values())
    seldom = all(way.at == "eval" for way in run.state.transitions)
    return max(watched.values(), default=0) > 1 or (not seldom and bool(machine.evaluated & watched.keys()))


def _shown(machine: Machine, plan: Any) -> str:
    """A plan, but for the number of its epoch where the trainer closes them."""
    return repr(plan._replace(epoch=0) if machine.steps_per_epoch is None else plan)


def _key(run: RunState) -> Any:
    """All that what follows depends on."""
    contents = repr([detector.contents() for _, detector in run.stay.detectors.values()])
    hands = (run.state.name, run.step, run.epoch, run.time, run.closings, run.nonfinite, run.rate, *run.sustained)
    return hands, contents, tuple(sorted(run.taken.items())), run.waiting and run.waiting[:3], run.due, run.since


def _observations(machine: Machine, run: RunState, wide: bool) -> Iterator[dict[str, Any]]:
    """What a step can bring: a value in each stretch between the numbers that are asked for; `wide`: and far out."""
    curriculum = machine.curriculum
    guards = [curriculum.resolve(guard) for way in run.state.transitions for guard in way.guards]
    asked = [part for guard in guards for part, _ in walk(curriculum, guard, ()) if not isinstance(part, str)]
    levels: dict[str, list[float]] = {"loss": [2.0]}
    for name in {getattr(part.value, "metric", "loss") for part in asked}:
        near = [1.0, 2.0, 4.0, *_telling(run, name)]
        far = FAR_OUT * max(map(abs, [*near, *_seen(run)]))
        levels[name] = sorted({*near, *([-far, far] if wide and far < 1e200 else [])})
    losses: list[dict[str, Any]] = [{"loss": level} for level in levels.pop("loss")]
    losses += [{"loss": nan}] * any(part.word == "nonfinite" for part in asked)
    looks = any(way.at == "eval" for way in run.state.transitions)
    others: list[dict[str, Any]] = [{}, *[{"eval_end": True}] * looks]
    others += [{"eval_end": True, "metrics": ((name, level),)} for name, some in levels.items() for level in some]
    closes = [{}, *[{"epoch_end": True}] * (machine.steps_per_epoch is None)]
    for loss, other, close in product(losses, others, closes):
        yield {**loss, **other, **close}


def _seen(run: RunState) -> Iterator[float]:
    for _, detector in run.stay.detectors.values():
        contents = detector.contents()
        for value in contents["values"] if isinstance(contents, dict) else contents:
            if isinstance(value, float):
                yield value
        if isinstance(contents, dict):
            yield contents["best"] or 0.0


def _telling(run: RunState, metric: str) -> Iterator[float]:
    """Values on which a level or a gap turns, given what it has seen."""
    for name, detector in run.stay.detectors.values():
        if name != metric:
            continue
        if isinstance(detector, Beside):
            yield from (detector.spec.value - 0.25, detector.spec.value + 0.25)
        if isinstance(detector, Apart) and detector.block == 1:
            seen, size = detector.contents(), detector.needs // 2
            last = seen[-(2 * size - 1) :]
            if len(last) == 2 * size - 1:
                yield sum(last[:size]) - sum(last[size:])


def main(arguments: list[str] | None = None) -> int:
    """Draw curricula and tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curricula", type=int, nargs="?", default=2000)
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    options = parser.parse_args(arguments)
    every = Held()
    for seed in range(options.first, options.first + options.curricula):
        found = held(seed)
        for name in ("moments", "whole", "steps", "short", "wrong"):
            setattr(every, name, getattr(every, name) + getattr(found, name))
        for line in found.wrong:
            print(f"seed {seed}: {line}", flush=True)
    print(
        f"{options.curricula} curricula, {every.moments} moments, {every.whole} of them with every stream, "
        f"{every.steps} steps of streams; {every.short} horizons too short, {len(every.wrong)} wrong"
    )
    return 1 if every.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
