"""Logs as a trainer of ours writes them, for the tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from plateau_rule import Controller, Curriculum, Decision, NonFiniteLoss, Plan
from plateau_rule.controller.language.metrics import comes_at
from plateau_rule.sim.logs import Log, read


def run_of(
    curriculum: Curriculum,
    losses: Iterable[float],
    evals: Mapping[int, Mapping[str, float]] | None = None,
    dropped: Collection[int] = (),
    **binding: Any,
) -> tuple[list[dict[str, Any]], list[Decision], Plan, Controller]:
    """Train under a curriculum with losses that are given; rows as in metrics.jsonl, decisions, the plan at the end.

    evals: what evaluations bring, by step. dropped: steps that the optimizer does not take.
    """
    controller = Controller(curriculum, **binding)
    rows, decisions = list[dict[str, Any]](), list[Decision]()
    late: list[tuple[float | None, bool]] = [(None, False)] * controller.lag
    for loss in losses:
        plan = controller.plan
        if plan.stop is not None:
            break
        row = {"step": plan.step, "epoch": plan.epoch, "state": plan.state, "knobs": dict(plan.knobs), "lr": plan.lr}
        brought: dict[str, Any] = dict((evals or {}).get(plan.step, {}))
        skipped = {"skipped": True} if plan.step in dropped else {}
        rows.append({**row, **brought, "loss": loss, **skipped})
        late.append((loss, bool(skipped)))
        value, is_skipped = late.pop(0)
        try:
            # What comes with each step makes no evaluation, and no log could tell that there was one.
            ends = any(comes_at(curriculum, name) == "eval" for name in brought)
            decision = controller.observe(value, eval_end=ends, skipped=is_skipped, **brought)
        except NonFiniteLoss:
            break
        if decision is not None:
            decisions.append(decision)
    return rows, decisions, controller.plan, controller


def write_run(folder: Path, rows: Iterable[Mapping[str, Any]], controller: Controller) -> Path:
    """Write a run's metrics.jsonl and run.json into a folder; the path of the former."""
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run, machine = controller.machine.run, controller.machine
    bound = {
        "limits": None if machine.limits is None else dict(machine.limits),
        "epochs": run.epochs,
        "steps_per_epoch": run.steps_per_epoch,
        "tokens_per_step": run.tokens_per_step,
        "peak": machine.peak,
        "lag": controller.lag,
        "lead": dict(controller.lead),
    }
    (folder / "run.json").write_text(json.dumps({"fingerprint": controller.fingerprint, "bound": bound}))
    return path


@pytest.fixture
def log_of(tmp_path: Path) -> Callable[..., Log]:
    """Make a log of steps and losses, with further columns by name."""

    def make(steps: Iterable[int], losses: Iterable[float], **columns: Iterable[Any]) -> Log:
        path = tmp_path / "log.jsonl"
        names = ["step", "loss", *columns]
        with path.open("w") as file:
            for values in zip(steps, losses, *columns.values(), strict=True):
                row = {name: value for name, value in zip(names, values, strict=True) if value is not None}
                file.write(json.dumps(row) + "\n")
        return read(path)

    return make
