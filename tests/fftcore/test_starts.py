"""`--resume auto`: one command line begins a run, goes on with it where it was cut, and leaves it alone when over."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from plateau_rule.controller.errors import PlateauError
from plateau_rule.fftcore.binding import Resume
from plateau_rule.fftcore.errors import RunError, StorageError
from plateau_rule.fftcore.record import make_run_folder, read_record
from plateau_rule.fftcore.storage import locked
from plateau_rule.fftcore.train import Training
from tests.fftcore.micro import CURRICULUM, contents, rows, run
from tests.fftcore.test_signals import in_steps

COMPARED = ("metrics.jsonl", "decisions.jsonl", "summary.json", "checkpoints/step-00000032/weights.safetensors")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


def auto(out: Path, **changes: Any) -> int:
    """Give the one command line."""
    return run(out, resume="auto", **changes)


def test_the_same_line_five_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is told to end four times, and given by the same line five, is the uninterrupted one."""
    assert run(tmp_path / "whole") == 0
    for step, ending in ((3, signal.SIGTERM), (9, signal.SIGUSR1), (15, signal.SIGINT), (29, signal.SIGHUP)):
        with monkeypatch.context() as patch:
            in_steps(patch, {step: ending})
            assert auto(tmp_path / "run") == 128 + ending
    assert auto(tmp_path / "run") == 0
    for name in COMPARED:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert [one.step for one in read_record(tmp_path / "run").resumed] == [4, 10, 16, 30]


def test_an_empty_folder(tmp_path: Path) -> None:
    """A folder that was made for the run, and one that a start left which was killed before its record, is begun in."""
    (tmp_path / "empty").mkdir()
    assert auto(tmp_path / "empty") == 0
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / ".run.json.unfinished").write_bytes(b"{")
    assert auto(tmp_path / "begun") == 0


def test_killed_before_the_first_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed before it had a checkpoint is begun again, from its record."""

    def killed(self: Training) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "begin", killed)
        with pytest.raises(KeyboardInterrupt):
            auto(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "curriculum.toml"}
    assert auto(tmp_path / "run") == 0
    assert len(rows(tmp_path / "run" / "metrics.jsonl")) == 32


@pytest.mark.parametrize("resume", [True, "auto"])
def test_a_run_that_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str], resume: Resume) -> None:
    """A run that was scored is over: that is said, by exit code 0, and no byte changes; `epochs` makes it longer."""
    out = tmp_path / "run"
    assert run(out) == 0
    before = contents(out)
    assert run(out, resume=resume) == 0
    assert "nothing is left to do: this run is over" in capsys.readouterr().out
    assert contents(out) == before
    assert run(out, resume=resume, epochs=5) == 0
    assert len(rows(out / "metrics.jsonl")) == 40


@pytest.mark.parametrize("damage", [None, b"{}", b"[" * 100_000])
def test_a_damaged_summary(tmp_path: Path, damage: bytes | None) -> None:
    """A run that is over is scored once more where its summary is missing, or is not as it was written."""
    out = tmp_path / "run"
    assert run(out) == 0
    before = (out / "summary.json").read_bytes()
    if damage is None:
        (out / "summary.json").write_bytes(before.replace(b'"steps": 32', b'"steps": 33'))
    else:
        (out / "summary.json").write_bytes(damage)
    assert auto(out) == 0
    assert (out / "summary.json").read_bytes() == before


def refused(out: Path, kind: type[PlateauError], told: str, **changes: Any) -> None:
    """See that the line is refused by a sentence, and nothing is changed."""
    before = contents(out)
    with pytest.raises(kind, match=told):
        auto(out, **changes)
    assert contents(out) == before


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another curriculum, another model, a lock, damage and a lost record are refused; none of them begins a run."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        in_steps(patch, {7: signal.SIGTERM})
        assert auto(out) == 143
    edited = CURRICULUM.replace(b"threshold = 0.9", b"threshold = 0.8")
    refused(out, PlateauError, "on_change", curriculum=edited)
    refused(out, RunError, "--layers 2 contradicts the run", overrides={"layers": 2})
    with locked(out):
        refused(out, StorageError, "another process is training here")
    record = (out / "run.json").read_bytes()
    (out / "run.json").write_bytes(record[:-20])
    refused(out, RunError, "run.json: damaged")
    (out / "run.json").unlink()
    refused(out, RunError, r"holds files that are no run \(checkpoints, ")
    (out / "run.json").write_bytes(record)
    for commit in (out / "checkpoints").iterdir():
        (commit / "weights.safetensors").write_bytes(b"")
    refused(out, PlateauError, "no checkpoint here is whole")


def test_two_begin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that another process has begun, and left, since this one looked is not written over."""
    out = tmp_path / "run"

    def late(*given: Any) -> None:
        make_run_folder(*given)
        (out / "run.json").write_bytes(b"another's")

    monkeypatch.setattr("plateau_rule.fftcore.run.make_run_folder", late)
    with pytest.raises(RunError, match="holds a run already"):
        auto(out)
    assert contents(out) == {"run.json": b"another's"}


def test_a_frozen_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that begins a run over a frozen backbone also goes on with it; another backbone is refused.

    A checkpoint of the backbone's run that is damaged is passed over, and that is said.
    """
    for name in ("first", "second"):
        assert run(tmp_path / name) == 0
    (tmp_path / "first" / "checkpoints" / "step-00000032" / "weights.safetensors").write_bytes(b"")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        in_steps(patch, {7: signal.SIGTERM})
        assert auto(tmp_path / "run", freeze_backbone=tmp_path / "first") == 143
    passed = f"passed over: {tmp_path}/first/checkpoints/step-00000032: weights.safetensors has 0 bytes"
    assert capsys.readouterr().out.count(passed) == 1
    refused(tmp_path / "run", RunError, "--freeze-backbone .* contradicts", freeze_backbone=tmp_path / "second")
    assert auto(tmp_path / "run", freeze_backbone=tmp_path / "first") == 0
