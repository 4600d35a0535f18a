"""One stream, four ways to run it under a lead: a Controller, one resumed after every step, a Batch, the naive one.

`python -m tests.properties.leads 2000` draws so many curricula, and ends with 1 where two of them part.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from math import isnan, nan
from typing import Any

import numpy as np

from plateau_rule.controller.binding import binding_of
from plateau_rule.controller.controller import Controller, UnguardedController
from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.machine import Machine
from plateau_rule.sim.batch.engine import Batch
from tests.controller.naive import Bound, Naive
from tests.properties.small_curricula import small_machine

STEPS = 60
LEADS = range(6)


def parting(seed: int, steps: int = STEPS, clocks: bool = False) -> tuple[int, str]:
    """How many steps of a random stream were compared for the curriculum of a seed, and where two of the four part."""
    machine, rng = small_machine(seed, seed % len(LEADS), clocks), random.Random(-seed)
    run, binding = machine.run, binding_of(machine)
    limits = None if machine.limits is None else dict(machine.limits)
    bound = (machine.curriculum, limits, (run.epochs, run.steps_per_epoch, run.tokens_per_step), dict(machine.lead))
    uncut, cut, next_one = (UnguardedController(machine.curriculum, binding) for _ in range(3))
    batch, naive = Batch(machine.curriculum, 1, binding, steps=steps), Naive(Bound(*bound), machine.lag)
    decisions: list[tuple[Any, ...]] = []
    for step in range(steps):
        if uncut.plan.stop is not None:
            break
        next_one.load_state_dict(json.loads(json.dumps(cut.state_dict())))
        cut, next_one = next_one, cut
        said = _said(rng, machine, uncut.run_state.time < machine.lag)
        answers = [_told(one, said) for one in (uncut, cut)]
        answers.append(_naively(naive, said))
        if any(_differ(answers[0], answer) for answer in answers[1:]):
            return step, f"step {step}: {answers}"
        batch.observe(**_for_batch(said))
        if answers[0] == "dead":
            return step, "" if batch.dead[0] else f"step {step}: the batch lives on"
        if answers[0] is not None:
            decisions.append(answers[0])
        here = (uncut.plan.state, uncut.plan.lr)
        there = [(cut.plan.state, cut.plan.lr), (machine.states[batch.state[0]].name, float(batch.lr()[0]))]
        there.append((naive.plans[-1][2], naive.plans[-1][4]))
        if any(other != here for other in there):
            return step, f"after step {step}: {here}, {there}"
    found = [_shown(decision) for decision in batch.decisions().spelled(batch.machine, 0)]
    parted = any(_differ(one, other) for one, other in zip(found, decisions, strict=False))
    return uncut.plan.step, f"{found} and {decisions}" if parted or len(found) != len(decisions) else ""


def _said(rng: random.Random, machine: Machine, late: bool) -> dict[str, Any]:
    """What one step brings."""
    said: dict[str, Any] = {"loss": rng.choice((1.0, 1.5, 2.0, 2.0, 3.0, 4.0, nan))}
    if late and rng.random() < 0.5:
        said["loss"] = None
    if rng.random() < 0.3:
        said |= {"eval_end": True, "val_loss": rng.choice((1.0, 2.0, 3.0))}
    if machine.steps_per_epoch is None and rng.random() < 0.2:
        said["epoch_end"] = True
    if rng.random() < 0.1:
        said["skipped"] = True
    return said


def _told(controller: Controller, said: dict[str, Any]) -> Any:
    try:
        decision = controller.observe(**said)
    except NonFiniteLoss:
        return "dead"
    return None if decision is None else _shown(decision)


def _shown(decision: Any) -> tuple[Any, ...]:
    return (*decision[:5], dict(decision.knobs_before), dict(decision.knobs), *decision[7:10])


def _naively(naive: Naive, said: dict[str, Any]) -> Any:
    try:
        return naive.observe(dict(said))  # it takes the metrics out
    except ArithmeticError:
        return "dead"


def _differ(one: Any, other: Any) -> bool:
    """Whether two decisions differ; a loss that came late, or was not finite, is as good as none."""
    if one is None or other is None or "dead" in (one, other):
        return one is not other and one != other
    losses = [nan if decision[9] is None else decision[9] for decision in (one, other)]
    return one[:9] != other[:9] or (losses[0] != losses[1] and not all(map(isnan, losses)))


def _for_batch(said: dict[str, Any]) -> dict[str, Any]:
    arrays: dict[str, Any] = {**said, "loss": None if said["loss"] is None else [said["loss"]]}
    if "val_loss" in said:
        arrays["metrics"] = {"val_loss": [arrays.pop("val_loss")]}
    if "skipped" in said:
        arrays["skipped"] = np.array([True])
    return arrays


def main(arguments: list[str] | None = None) -> int:
    """Draw curricula and tell where two ways part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curricula", type=int, nargs="?", default=2000)
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    options = parser.parse_args(arguments)
    steps = partings = 0
    for seed in range(options.first, options.first + options.curricula):
        compared, where = parting(seed)
        steps, partings = steps + compared, partings + bool(where)
        if where:
            print(f"seed {seed}: {where}", flush=True)
    print(f"{options.curricula} curricula under leads of 0 to 5, {steps} steps in four ways, {partings} partings")
    return 1 if partings else 0


if __name__ == "__main__":
    sys.exit(main())
