"""A folder stands for the log in it; several runs in one are listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule.sim.logs import LogError, folders, read
from tests.hostile.logs.test_hostile_logs import event, tfrecord

SAMPLES = Path(__file__).parent / "samples"
CSV = "step,loss\n1,2.5\n2,2.25\n"


def put(path: Path, text: str = CSV) -> Path:
    """Write a file, and the folders it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_run_folder(tmp_path: Path) -> None:
    """The folder of a run is read by the log that its trainer left, and the report names the file's lines."""
    put(tmp_path / "metrics.jsonl", '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.25}\nrubbish\n')
    put(tmp_path / "decisions.jsonl", "{}")
    log = read(tmp_path)
    assert len(log) == 2
    assert log.report.places == {"line is not JSON": f"{tmp_path / 'metrics.jsonl'}:1"}


def test_runs_within_a_file_of_a_folder(tmp_path: Path) -> None:
    """Where a folder holds one log, the run that is asked for is one in that log."""
    put(
        tmp_path / "deep" / "metrics.csv", "step,loss\n" + "".join(f"{row % 30},{row // 30 + 1}\n" for row in range(60))
    )
    with pytest.raises(LogError, match="2 runs one after the other"):
        read(tmp_path)
    assert set(read(tmp_path, run=2).points().loss) == {2.0}


def test_versions(tmp_path: Path) -> None:
    """Lightning's versions are runs: the error lists them, and one is chosen by its folder or a part of its name."""
    for version in (0, 1):
        put(tmp_path / "lightning_logs" / f"version_{version}" / "metrics.csv")
    with pytest.raises(LogError, match="2 runs") as refused:
        read(tmp_path)
    assert refused.value.choices == ("run 'lightning_logs/version_0'", "run 'lightning_logs/version_1'")
    assert len(read(tmp_path, run="lightning_logs/version_0")) == len(read(tmp_path, run="version_1")) == 2
    with pytest.raises(LogError, match="2 runs match 'version'"):
        read(tmp_path, run="version")
    with pytest.raises(LogError, match="no run 'version_7'"):
        read(tmp_path, run="version_7")


def test_checkpoints(tmp_path: Path) -> None:
    """Of the checkpoints of a Hugging Face run, the newest one's state is read, unless the run's own is there."""
    state = (SAMPLES / "hf_trainer" / "trainer_state.json").read_text()
    for step in (50, 200, 1000):
        put(tmp_path / f"checkpoint-{step}" / "trainer_state.json", state if step == 1000 else "[]")
    assert len(read(tmp_path)) == 20
    put(tmp_path / "trainer_state.json", state)
    assert len(read(tmp_path)) == 20


def test_event_files_of_one_run(tmp_path: Path) -> None:
    """Event files beside each other are one run that was resumed; an empty one is where it died."""
    for time, steps in ((1, range(80)), (2, range(50, 120))):
        data = b"".join(tfrecord(event(step, time)) for step in steps)
        (tmp_path / f"events.out.tfevents.{time}.host").write_bytes(data[:-3])
    (tmp_path / "events.out.tfevents.3.host").touch()
    log = read(tmp_path)
    assert log.points().loss.tolist() == [1.0] * 50 + [2.0] * 69
    assert log.report.found.points == 79 + 69
    assert any("the last record is cut off" in warning for warning in log.report.warnings)


def test_evaluations_beside_training(tmp_path: Path) -> None:
    """Keras writes evaluations into a folder of their own, under the same names: they belong to the one run."""
    data = next((SAMPLES / "tensorboard_tensors").iterdir()).read_bytes()
    for folder in ("train", "validation"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "events.out.tfevents.1.host").write_bytes(data)
    log = read(tmp_path)
    assert (len(log), log.report.series) == (60, "epoch_loss")
    assert log.report.evals == {"validation/epoch_loss": 60}
    assert log.report.counted == "epoch"
    assert read(tmp_path, run="validation").report.series == "epoch_loss"


def test_two_trainings_with_evaluations(tmp_path: Path) -> None:
    """Two trainings stay two, even if one of them has evaluations beside it."""
    data = next((SAMPLES / "tensorboard_tensors").iterdir()).read_bytes()
    for folder in ("a/train", "b/train", "b/validation"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "events.out.tfevents.1.host").write_bytes(data)
    with pytest.raises(LogError, match="3 runs"):
        read(tmp_path)


def test_mlflow_without_names(tmp_path: Path) -> None:
    """A run of MLflow's file store needs no name; metrics of a model are none of its own."""
    put(tmp_path / "1" / "abc" / "metrics" / "train" / "loss", "1700000000000 2.5 1\n1700000000001 2.25 2\n")
    put(tmp_path / "1" / "abc" / "metrics" / "val_loss", "1700000000000 3.5 1\n1700000000001 3.25 2\n")
    put(tmp_path / "1" / "abc" / "artifacts" / "picture.png", "x")
    put(tmp_path / "1" / "abc" / "artifacts" / "model" / "metrics" / "loss", "1700000000000 9.5 1\n")
    log = read(tmp_path)
    assert (log.report.series, log.report.evals) == ("train/loss", {"val_loss": 2})


def test_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a log is refused, as are one that is too large and a link that leads out of it."""
    put(tmp_path / "else" / "notes.txt")
    (tmp_path / "metrics.csv").symlink_to("else/missing")
    (tmp_path / "else" / "metrics.csv").symlink_to(put(tmp_path.with_name("outside.csv")))
    with pytest.raises(LogError, match="no log in this folder"):
        read(tmp_path)
    monkeypatch.setattr(folders, "MOST_FILES", 1)
    with pytest.raises(LogError, match="more than 1 files in this folder"):
        read(tmp_path)
