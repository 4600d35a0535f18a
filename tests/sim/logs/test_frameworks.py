"""Frameworks write, we read: the samples beside these tests, and fresh logs where a framework is installed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from plateau_rule.sim.logs import Log, LogError, read
from tests.sim.logs.frameworks import SAMPLES, Facts

FOLDER = Path(__file__).parent / "samples"
TOLD: dict[str, Facts] = json.loads((FOLDER / "told.json").read_text())


def the_file(folder: Path) -> Path:
    """The log in a folder: the folder itself, or the file that is not found by its name."""
    return next((folder / name for name in ("mlflow.db.gz", "training.log") if (folder / name).exists()), folder)


def agree(log: Log, told: Facts) -> None:
    """The log holds what the framework was told."""
    found = log.report.found
    assert (found.points, found.first_step, found.last_step) == (told["points"], told["first_step"], told["last_step"])
    assert found.first_loss == pytest.approx(told["first_loss"], rel=1e-6)
    assert found.last_loss == pytest.approx(told["last_loss"], rel=1e-6)
    for name, count in told.get("evals", {}).items():
        assert log.report.evals[name] == count
    if "zeros" in told:
        points = log.points()
        assert points.step[points.loss != points.loss].tolist() == told["zeros"]
    assert log.report.nonfinite == told.get("nonfinite", len(told.get("zeros", [])))


@pytest.mark.parametrize("name", SAMPLES)
def test_sample(name: str) -> None:
    """A log that a real framework wrote holds what the framework was told: points, ends, evaluations, NaN."""
    agree(read(the_file(FOLDER / name), run=TOLD[name].get("run")), TOLD[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the frameworks warn of is theirs
@pytest.mark.parametrize("name", SAMPLES)
def test_fresh(name: str, tmp_path: Path) -> None:
    """A log that the installed framework writes now holds what it was told."""
    write, needs = SAMPLES[name]
    if missing := [need for need in needs if find_spec(need) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed")
    told = write(tmp_path)
    agree(read(the_file(tmp_path), run=told.get("run")), told)


@pytest.mark.filterwarnings("ignore")
def test_as_tensorboard_reads() -> None:
    """TensorBoard's own reader finds the same scalars in the samples as ours."""
    if find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    for name, tag in (("tensorboard", "train/loss"), ("tensorboard_tensors", "epoch_loss")):
        theirs: Any = EventAccumulator(str(FOLDER / name), size_guidance={"scalars": 0, "tensors": 0})
        theirs.Reload()
        if tag in theirs.Tags()["scalars"]:
            pairs = [(event.step, event.value) for event in theirs.Scalars(tag)]
        else:
            pairs = [(event.step, tensor_util.make_ndarray(event.tensor_proto).item()) for event in theirs.Tensors(tag)]
        points = read(FOLDER / name).points()
        assert points.step.tolist() == [step for step, _ in pairs]
        assert points.loss.tolist() == pytest.approx([value for _, value in pairs], nan_ok=True)


def test_runs_of_mlflow() -> None:
    """Two runs in MLflow's store are refused with their names; each is read by name, by id and by part of it."""
    for path in (FOLDER / "mlflow", FOLDER / "mlflow_database" / "mlflow.db.gz"):
        with pytest.raises(LogError, match="2 runs") as refused:
            read(path)
        assert all("first" in choice or "second" in choice for choice in refused.value.choices)
        assert len(read(path, run="second")) == 2
        choice = next(choice for choice in refused.value.choices if "first" in choice)
        run = next(word for word in choice.replace("'", " ").replace(",", " ").split() if len(word) == 32)
        assert len(read(path, run=run)) == len(read(path, run=run[:8])) == 40
        with pytest.raises(LogError, match="no run 'third'"):
            read(path, run="third")
    folder = next(path.parent for path in (FOLDER / "mlflow").rglob("metrics") if (path / "accuracy").exists())
    assert len(read(folder)) == len(read(folder / "metrics")) == len(read(folder / "metrics" / "train" / "loss")) == 40
    with pytest.raises(LogError, match="no column is called a loss"):
        read(folder / "metrics" / "accuracy")


def test_zeros_of_hugging_face() -> None:
    """Hugging Face's Trainer logged 0.0 for an interval of NaN: it is read as NaN, said, and kept if asked."""
    for name in ("trainer_state.json", "stdout.txt"):
        log = read(FOLDER / "hf_trainer" / name)
        assert log.report.nonfinite == 1
        assert any(warning.startswith("exact zeros read as NaN: 1") for warning in log.report.warnings)
        assert read(FOLDER / "hf_trainer" / name, keep_zeros=True).points().loss[5] == 0


def test_printed_by_hugging_face() -> None:
    """What the Trainer prints holds the same losses as its state, by row because it prints no steps, with epochs."""
    printed, state = read(FOLDER / "hf_trainer" / "stdout.txt"), read(FOLDER / "hf_trainer" / "trainer_state.json")
    assert printed.report.counted == "row"
    assert printed.report.meaning == "window mean over the logging interval"
    assert state.report.meaning == "window mean over 10 steps"
    assert printed.points().loss == pytest.approx(state.points().loss, rel=1e-3, nan_ok=True)
    assert printed.points().epoch == pytest.approx(state.points().epoch)


def test_printed_by_keras() -> None:
    """What Keras prints, with a bar that is drawn again and again or without, is one loss an epoch, the last."""
    told = TOLD["keras"]
    bar, lines = read(FOLDER / "keras" / "bar.txt"), read(FOLDER / "keras" / "lines.txt")
    assert bar.points().loss == pytest.approx(told["bar"], abs=1e-4)
    assert bar.report.dropped["progress bar of an epoch that is going on (a running mean)"] >= 6
    assert lines.points().loss[-1] == pytest.approx(told["last_loss"], abs=1e-4)
    assert bar.report.meaning == lines.report.meaning == read(FOLDER / "keras" / "training.log").report.meaning
    assert lines.report.window(50) == "a window of 50 observations is 50 epochs: one observation every epoch"
