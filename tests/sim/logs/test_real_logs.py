"""Real logs that others published are read as an independent count of them says, or refused for the right reason."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plateau_rule.sim.logs import Log, LogError, Span, read

Find = Callable[[str], Path]

CURVES = [
    "hf_trainer/whisper-tiny-nbailab.trainer_state.json",
    "hf_trainer/prompt4trust-max_grad_norm_100.trainer_state.json",
    "lightning_csv/slm-version_0.metrics.csv",
    "lightning_csv/slm-version_5-resumed.metrics.csv",
    "tensorboard/UNet_dr015_bs16_lr2e_4/events.out.tfevents.1738087796.wn44.4820.0",
    "wandb_csv/nanogpt-ablation-A2_rope.history.csv",
    "keras_csvlogger/brats2020-unet.training.log",
    "mlflow/mlruns/9/317ff68879c14e8f90542fda985cc5f4/metrics/train_loss",
    "mlflow/mlruns/1/0043bc633f7f436d9fda95bc08a09f9c/metrics/train_loss",
    "jsonl/llamafactory-qwen2.5-sft.trainer_log.jsonl",
    "jsonl/netra-nmt.train_log.jsonl",
    "text/nanogpt-char-to-token-jnyhr7aj.output.log",
    "text/llmc-gpt2-124M.main.log",
    "text/modded-nanogpt-2024-10-10_Muon.log-section.txt",
]
SIDE_BY_SIDE = ["wandb_csv/nanogpt-char-models.wandb_export.csv", "wandb_csv/astroclip-train_loss.csv"]
RUNS_TABLE = "wandb_csv/nanogpt-ablation-runs-table.wandb_export.csv"
EVALS_ONLY = "text/modded-nanogpt-2025-01-04_SoftCap.log-section.txt"
NOTEBOOK = "text/s21-gpt2-lab-notebook.log.md"


@pytest.fixture
def expected(shared_data: Find) -> dict[str, Any]:
    """The facts of every file."""
    facts: dict[str, Any] = json.loads(shared_data("logs/expected.json").read_text())
    return facts


def number(value: float | str | None) -> Any:
    """A number to compare with; NaN is spelt as text in the facts."""
    return pytest.approx(float(value), rel=0, abs=0, nan_ok=True) if value is not None else None


def agree(span: Span, facts: dict[str, Any]) -> None:
    """The points as they stand in the file are those that were counted."""
    assert span.points == facts["points"]
    assert (span.first_step, span.last_step) == (facts["first_step"], facts["last_step"])
    assert span.first_loss == number(facts["first_loss"])
    assert span.last_loss == number(facts["last_loss"])


def agree_evals(log: Log, facts: dict[str, Any]) -> None:
    """The evaluations' loss has as many points as were counted, and the same ends."""
    name = log.report.eval_loss
    if not facts.get("eval_points"):
        assert name is None or name == "eval train loss"
        return
    assert name is not None
    steps, values = log.evaluations(name)
    assert len(steps) == log.report.evals[name] == facts["eval_points"]
    assert [steps[0], values[0]] == facts["first_eval"]
    assert [steps[-1], values[-1]] == facts["last_eval"]


def test_every_file_is_tested(expected: dict[str, Any]) -> None:
    """No real log is left out of these tests."""
    assert set(expected) == {*CURVES, *SIDE_BY_SIDE, RUNS_TABLE, EVALS_ONLY, NOTEBOOK}


@pytest.mark.parametrize("name", CURVES)
def test_curve(name: str, expected: dict[str, Any], shared_data: Find) -> None:
    """A log with one curve: its points, its first and last step and loss, what is not finite, and its evaluations."""
    facts = expected[name]
    log = read(shared_data(f"logs/{name}"))
    agree(log.report.found, facts)
    agree_evals(log, facts)
    assert log.report.nonfinite == facts["nonfinite"]
    assert log.report.steps_back == facts["steps_going_back"]
    rows = facts["points"] if facts["unique_steps"] == 1 else facts["unique_steps"]
    assert len(log) == log.report.used.points == sum(len(chunk.step) for chunk in log.chunks()) == rows
    points = log.points()
    finite = points.loss[~(points.loss != points.loss)]
    assert finite.min() >= facts["min_loss"]
    assert finite.max() <= facts["max_loss"]


@pytest.mark.parametrize(
    ("name", "meaning", "counted", "spacing"),
    [
        (CURVES[0], "window mean over 50 steps", "step", 50),
        (CURVES[1], "window mean over 10 steps", "step", 10),
        (CURVES[2], "step value, one every 50 steps", "step", 50),
        (CURVES[4], "one value, one every 230 steps", "step", 230),
        (CURVES[5], "step value, one every 10 steps", "step", 10),
        (CURVES[6], "epoch value", "epoch", 1),
        (CURVES[7], "one value a row", "row", 1),
        (CURVES[9], "window mean over 10 steps", "step", 10),
        (CURVES[10], "one value, one every 14,429 steps", "step", 14429),
        (CURVES[11], "step value", "step", 1),
        (CURVES[12], "step value", "step", 1),
        (CURVES[13], "step value", "step", 1),
    ],
)
def test_meaning(name: str, meaning: str, counted: str, spacing: int, shared_data: Find) -> None:
    """What one value of a real log is, and how far apart two of them are; none is taken for a moving average."""
    report = read(shared_data(f"logs/{name}")).report
    assert (report.meaning, report.counted, report.spacing) == (meaning, counted, spacing)
    assert report.ema is None


def test_another_column(expected: dict[str, Any], shared_data: Find) -> None:
    """A column that is named is read instead of the one that would have been chosen."""
    name = "wandb_csv/nanogpt-ablation-A2_rope.history.csv"
    for column, facts in expected[name]["alternative"].items():
        log = read(shared_data(f"logs/{name}"), column=column)
        agree(log.report.found, facts)
        assert "train/step_loss" in log.report.others


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_runs_side_by_side(name: str, expected: dict[str, Any], shared_data: Find) -> None:
    """A chart with a column a run is refused with a list of the runs; each is read by its column and by its run."""
    path = shared_data(f"logs/{name}")
    series = expected[name]["series"]
    with pytest.raises(LogError, match="series could be meant") as refused:
        read(path)
    assert len(refused.value.choices) == len(series)
    for column, facts in series.items():
        agree(read(path, column=column).report.found, facts)
        run = column.removesuffix(" - train/loss")
        assert run in "".join(refused.value.choices)
        agree(read(path, run=run).report.found, facts)


def test_runs_table(shared_data: Find) -> None:
    """W&B's table of runs holds no curve, and is refused by name."""
    with pytest.raises(LogError, match=r"table of runs: one row a run.*no curve\. Export"):
        read(shared_data(f"logs/{RUNS_TABLE}"))


def test_evaluations_only(expected: dict[str, Any], shared_data: Find) -> None:
    """A log without training losses is refused; its evaluations are read when they are named."""
    path = shared_data(f"logs/{EVALS_ONLY}")
    facts = expected[EVALS_ONLY]
    with pytest.raises(LogError, match="no training loss, only evaluations: val_loss"):
        read(path)
    log = read(path, column="val_loss")
    found = log.report.found
    assert found.points == facts["eval_points"]
    assert [found.first_step, found.first_loss] == facts["first_eval"]
    assert [found.last_step, found.last_loss] == facts["last_eval"]
    assert log.report.meaning.startswith("result of an evaluation")


def test_notebook_of_runs(expected: dict[str, Any], shared_data: Find) -> None:
    """A notebook with 14 runs one after the other is refused with their list, and each is read by its number."""
    path = shared_data(f"logs/{NOTEBOOK}")
    runs = expected[NOTEBOOK]["runs"]
    with pytest.raises(LogError, match="14 runs one after the other") as refused:
        read(path)
    assert len(refused.value.choices) == len(runs)
    for number, facts in enumerate(runs, 1):
        agree(read(path, run=number).report.found, facts)
    assert sum(facts["points"] for facts in runs) == expected[NOTEBOOK]["points"]
    log = read(path, run="14")
    assert "nothing between steps 50 and 4,950" in log.report.warnings


def test_resumed_run_is_joined(shared_data: Find) -> None:
    """Two logs of one resumed training are one curve, in either order."""
    names = ["lightning_csv/slm-version_0.metrics.csv", "lightning_csv/slm-version_5-resumed.metrics.csv"]
    paths = [shared_data(f"logs/{name}") for name in names]
    log = read(paths)
    assert (len(log), log.report.used.first_step, log.report.used.last_step) == (3940, 49, 196999)
    assert log.report.epochs == (0, 13)
    assert log.report.dropped == {"row without a loss": 28}
    assert (read(paths[::-1]).points().loss == log.points().loss).all()


def test_two_writers(shared_data: Find) -> None:
    """Where two processes wrote one file, one loss a step stays: the last, or the first if asked, and it is said."""
    path = shared_data("logs/jsonl/llamafactory-qwen2.5-sft.trainer_log.jsonl")
    log = read(path)
    assert log.report.dropped == {"row without a loss": 2, "step that is repeated (the last one was kept)": 702}
    assert any("steps go back 416 times" in warning for warning in log.report.warnings)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    last = {row["current_steps"]: row["loss"] for row in rows if "loss" in row}
    first = {row["current_steps"]: row["loss"] for row in reversed(rows) if "loss" in row}
    assert dict(zip(log.points().step.tolist(), log.points().loss.tolist(), strict=True)) == last
    points = read(path, repeats="first").points()
    assert dict(zip(points.step.tolist(), points.loss.tolist(), strict=True)) == first


def test_steps_all_zero(shared_data: Find) -> None:
    """Steps that are all 0 are replaced by the order of the file, and it is said; NaN losses stay as events."""
    log = read(shared_data("logs/mlflow/mlruns/9/317ff68879c14e8f90542fda985cc5f4/metrics/train_loss"))
    points = log.points()
    assert points.step.tolist() == list(range(50))
    assert all(math.isnan(loss) for loss in points.loss[-10:])
    assert any(warning.startswith("every step is 0") for warning in log.report.warnings)


def test_losses_below_zero(shared_data: Find) -> None:
    """A log with losses below 0 says that a relative rule means nothing on them."""
    log = read(shared_data("logs/hf_trainer/prompt4trust-max_grad_norm_100.trainer_state.json"))
    assert any(warning.startswith("losses below 0: 530") for warning in log.report.warnings)


def test_rates_and_epochs(shared_data: Find) -> None:
    """Epoch and learning rate come along where the log has them."""
    points = read(shared_data("logs/hf_trainer/whisper-tiny-nbailab.trainer_state.json")).points()
    assert points.epoch is not None
    assert points.lr is not None
    assert (points.epoch[-1], points.lr[0]) == (4.01, 1.5000000000000002e-07)
