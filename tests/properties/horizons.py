"""Whether `horizon()` and `ahead(k)` say what is true: held against every stream that can follow on a moment of a run.

`python -m tests.properties.horizons 2000` draws so many curricula, and tells how many streams were followed. It ends
with 1 where a plan changed within the horizon, or none could just beyond it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from math import nan
from typing import Any

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.guards.gap import Apart
from plateau_rule.controller.guards.level import Beside
from plateau_rule.controller.language.consistency import walk
from plateau_rule.controller.verifier.witness import controller_of
from tests.properties.small_curricula import small_machine

MOST = 4000  # controllers at one step; beyond, some of them, drawn from a seed, are followed
LEADS: tuple[Any, ...] = (0, 0, 1, 2, 3, {"cutoff": 2}, {"cutoff": 1, "size": 3})
FAR_OUT = 1e6


@dataclass
class Held:
    """What was seen: moments of runs, streams that followed on them, and what was wrong."""

    moments: int = 0
    streams: int = 0
    whole: int = 0  # moments on which every stream of the alphabet was followed
    wrong: list[str] = field(default_factory=list)


def held(seed: int, most: int = MOST) -> Held:
    """A curriculum of a seed, looked at from moments of one run of it."""
    rng = random.Random(seed)
    machine = small_machine(seed, rng.choice(LEADS))
    controller, found = controller_of(machine), Held()
    while controller.plan.stop is None and controller.plan.step < 20:
        if rng.random() < 0.5:
            _hold(controller, rng, most, found)
        try:
            controller.observe(**rng.choice(list(_observations(controller, rng.random() < 0.2))))
        except NonFiniteLoss:
            break
    return found


def _hold(controller: Controller, rng: random.Random, most: int, found: Held) -> None:
    """Follow every stream to the first step beyond the horizon."""
    horizon, step = controller.horizon(), controller.plan.step
    here, whole = {_key(controller): controller}, True
    found.moments += 1
    for ahead in range(1, horizon + 1):
        there: dict[Any, Controller] = {}
        plans = set()
        if len(here) > most:
            whole, here = False, dict(rng.sample(list(here.items()), most))
        for one in here.values():
            if one.plan.stop is not None:
                continue
            for said in _observations(one, True):
                twin = deepcopy(one)
                try:
                    decision = twin.observe(**said)
                except NonFiniteLoss:
                    continue
                found.streams += 1
                there[_key(twin)] = twin
                plans.add((_shown(twin), decision and decision.transition))
        planned = _shown(controller, ahead)
        moved = {plan for plan, _ in plans} - {planned}
        if ahead < horizon and moved:
            found.wrong.append(f"step {step}, horizon {horizon}: step {step + ahead} is {planned}, or {moved}")
        if ahead == horizon and len(plans) == 1 and controller.ahead(horizon).stop is None:
            found.wrong.append(f"step {step}: beyond a horizon of {horizon} there is only {plans}")
        here = there
    found.whole += whole


def _shown(controller: Controller, ahead: int = 0) -> str:
    """A plan, but for the number of its epoch where the trainer closes them."""
    plan = controller.ahead(ahead) if ahead else controller.plan
    by_hand = controller.machine.steps_per_epoch is None
    return repr(plan._replace(epoch=0) if by_hand else plan)


def _key(controller: Controller) -> Any:
    """All that what follows depends on."""
    run = controller.run_state
    contents = repr([detector.contents() for _, detector in run.stay.detectors.values()])
    hands = (run.state.name, run.step, run.epoch, run.time, run.closings, run.nonfinite, run.rate, *run.sustained)
    return hands, contents, tuple(sorted(run.taken.items())), run.waiting and run.waiting[:3], run.due, run.since


def _observations(controller: Controller, wide: bool) -> Iterator[dict[str, Any]]:
    """What a step can bring: a value in each stretch between the numbers that are asked for; `wide`: and far out."""
    run, curriculum = controller.run_state, controller.machine.curriculum
    guards = [curriculum.resolve(guard) for way in run.state.transitions for guard in way.guards]
    asked = [part for guard in guards for part, _ in walk(curriculum, guard, ()) if not isinstance(part, str)]
    levels: dict[str, list[float]] = {"loss": [2.0]}
    for name in {getattr(part.value, "metric", "loss") for part in asked}:
        levels[name] = sorted({1.0, 2.0, 4.0, *_telling(run, name), *([-FAR_OUT, FAR_OUT] if wide else [])})
    losses: list[dict[str, Any]] = [{"loss": level} for level in levels.pop("loss")]
    losses += [{"loss": nan}] * any(part.word == "nonfinite" for part in asked)
    looks = any(way.at == "eval" for way in run.state.transitions)
    others: list[dict[str, Any]] = [{}, *[{"eval_end": True}] * looks]
    others += [{"eval_end": True, name: level} for name, some in levels.items() for level in some]
    closes = [{}, *[{"epoch_end": True}] * (controller.machine.steps_per_epoch is None)]
    for loss, other, close in product(losses, others, closes):
        yield {**loss, **other, **close}


def _telling(run: Any, metric: str) -> Iterator[float]:
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
    moments = streams = whole = wrong = 0
    for seed in range(options.first, options.first + options.curricula):
        found = held(seed)
        moments, streams, whole = moments + found.moments, streams + found.streams, whole + found.whole
        wrong += len(found.wrong)
        for line in found.wrong:
            print(f"seed {seed}: {line}", flush=True)
    print(
        f"{options.curricula} curricula, {moments} moments ({whole} with every stream), {streams} steps, {wrong} wrong"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
