"""A run folder that is written by somebody else's trainer is read like one of `plateau train`."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path

import pytest

from plateau_rule import Binding, Controller, loads
from plateau_rule.sim.logs import read
from plateau_rule.sim.plots import draw_run
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.run_folder import RunFolder, RunFolderError

CURRICULUM = loads("""
name  = "by-loss"
run   = { epochs = 4, steps_per_epoch = 10 }
lr    = { peak = 0.01, floor = 0.1, length = "20 steps" }
knob  = { seq_len = { ladder = [8, 16, "full"] } }
state = [
  { name = "short", set = { seq_len = 8 } },
  { name = "medium", set = { seq_len = 16 } },
  { name = "long", set = { seq_len = "full" } },
]

[[transition]]
from    = "*"
to      = "next"
guards  = [{ patience = { steps = 5 } }]
actions = ["lr_restart", "checkpoint"]
""")
BINDING = Binding({"seq_len": 32}, peak=0.02)


def write_run(folder: Path, steps: int = 40) -> list[tuple[int, str]]:
    """Write a run of these steps; the decisions that were taken."""
    controller = Controller(CURRICULUM, BINDING)
    writer = RunFolder(folder, controller, 0, "a-trainer")
    taken = []
    for step in range(steps):
        plan = controller.plan
        loss = nan if step == 3 else max(4.0 - step / 4, 2.0)
        writer.step(plan, loss, skipped=step == 5)
        if decision := controller.observe(loss, step=step, skipped=step == 5):
            writer.decision(decision, controller.plan.requests)
            taken.append((decision.step, decision.to_state))
        if step % 10 == 9:
            writer.evaluation(plan.step, plan.epoch, {"val_loss": 2.5})
    writer.close()
    return taken


def test_it_is_replayed(tmp_path: Path) -> None:
    """A replay of the folder, told nothing else, takes the decisions of the run at its steps."""
    taken = write_run(tmp_path)
    assert [state for _, state in taken] == ["medium", "long"]
    timeline = replay(CURRICULUM, read(tmp_path))
    assert [(decision.step, decision.to_state) for decision in timeline.decisions] == taken
    assert timeline.decisions[0].lr == 0.02
    rows = [json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    assert [(row["step"], row["to"]) for row in rows] == taken
    assert rows[0]["requests"] == ["checkpoint"]


def test_it_is_drawn(tmp_path: Path) -> None:
    """The folder makes a picture, with its states, its knob and its rate."""
    pytest.importorskip("matplotlib")
    write_run(tmp_path)
    assert draw_run(tmp_path, tmp_path / "curve.png").stat().st_size > 10_000


def test_it_goes_on_after_a_torn_row(tmp_path: Path) -> None:
    """A run that was cut off within a row, and goes on at an earlier step, has exactly the rows before that step."""
    write_run(tmp_path, 30)
    whole = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(whole)[:-7])
    RunFolder(tmp_path, Controller(CURRICULUM, BINDING), 20, "a-trainer").close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [*range(20)]
    assert json.loads((tmp_path / "run.json").read_text())["resumed"] == [20]


def test_it_is_not_overwritten(tmp_path: Path) -> None:
    """A new run does not begin in the folder of another, and a folder that cannot be made is named."""
    write_run(tmp_path, 2)
    with pytest.raises(RunFolderError, match="holds a run already"):
        RunFolder(tmp_path, Controller(CURRICULUM, BINDING), 0, "a-trainer")
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunFolder(tmp_path / "run.json" / "below", Controller(CURRICULUM, BINDING), 0, "a-trainer")
