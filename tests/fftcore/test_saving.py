"""Commits are made beside the training: one at a time, of the state as it was, and saved only when they are durable."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import pytest

from plateau_rule.fftcore import saving as saving_module
from plateau_rule.fftcore.checkpoint import STATE, Checkpoints
from plateau_rule.fftcore.config import read_save_every
from plateau_rule.fftcore.errors import RunError, StorageError
from plateau_rule.fftcore.saving import Saving, Say
from plateau_rule.fftcore.storage import Disk
from tests.fftcore.micro import CURRICULUM, run
from tests.fftcore.test_checkpoint import learner
from tests.fftcore.test_train import same_run, stop_at

FILES = {STATE: b"{}"}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take longer than these runs."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


class SlowDisk(Disk):
    """A disk whose calls wait until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = Event()

    def fsync(self, file: int) -> None:
        """Wait, then do it; whoever trains does not wait for it."""
        assert current_thread() is not main_thread()
        assert self.may_go_on.wait(60)
        super().fsync(file)


class FullDisk(Disk):
    """A disk that has no room for the commits of some steps."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps

    def rename_folder(self, old: Path, new: Path) -> None:
        """Fail where it is one of those."""
        if new.name in {f"step-{step:08d}" for step in self.steps}:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise StorageError(f"{new}: cannot be written: {error.strerror}. Continue with --resume") from error
        super().rename_folder(old, new)


def saving_to(folder: Path, disk: Disk, say: Say = print) -> Saving:
    """What saves every 10 steps into a folder."""
    return Saving(Checkpoints(folder, 10, disk), 10, "stop", say)


def test_training_goes_on_meanwhile(tmp_path: Path) -> None:
    """A commit is begun and not waited for; it counts as saved when it is durable, and not before."""
    disk = SlowDisk()
    saving = saving_to(tmp_path, disk)
    saving.begin(10, lambda: FILES)
    saving.look()
    assert saving.saved is None
    disk.may_go_on.set()
    saving.wait()
    assert saving.saved == 10
    assert saving.checkpoints.steps() == [10]
    saving.close()


def test_never_two_at_once(tmp_path: Path) -> None:
    """A second commit is begun when the first is durable, and what it holds is packed then."""
    disk, order = SlowDisk(), list[str]()

    def pack(name: str) -> Mapping[str, bytes]:
        order.append(name)
        return FILES

    saving = saving_to(tmp_path, disk)
    saving.begin(10, lambda: pack("first"))
    disk.may_go_on.set()
    saving.begin(20, lambda: pack("second"))
    assert saving.saved == 10
    assert order[0] == "first"
    saving.close()
    assert (saving.saved, order) == (20, ["first", "second"])


def test_a_refusal_surfaces(tmp_path: Path) -> None:
    """What the disk refuses in the thread is raised, with its sentence, by whatever asks next; once."""
    for ask in (Saving.look, Saving.wait, lambda saving: saving.begin(20, lambda: FILES)):
        saving = saving_to(tmp_path, FullDisk(10))
        saving.begin(10, lambda: FILES)
        writing = saving._writing  # noqa: SLF001
        assert writing is not None
        assert writing[1].exception() is not None
        with pytest.raises(StorageError, match="step-00000010: cannot be written: No space left on device"):
            ask(saving)
        assert saving.saved is None
        saving.close()


def test_a_refusal_at_the_end(tmp_path: Path) -> None:
    """Where the run ends for another reason, a refusal is said, and that reason is raised."""
    told: list[str] = []
    saving = saving_to(tmp_path, FullDisk(10), told.append)
    saving.begin(10, lambda: FILES)
    saving.close()
    assert ["No space left" in line for line in told] == [True]


def test_copies_stay_what_they_were() -> None:
    """What was copied for a commit is not changed by the steps that follow, on the CPU, where a view would be."""
    one = learner()
    one.step(0, 1e-2)
    copied = one.copied()
    before = copied.packed()
    one.step(1, 1e-2)
    assert copied.packed() == before
    assert one.copied().packed() != before


# When


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (500, 500), ("500", 500), ("500 steps", 500), ("1 step", 1),
        ("10 minutes", "10 minutes"), ("1.0 minutes", "1 minute"), ("0.5 minutes", "0.5 minutes"),
    ],
    ids=repr,
)  # fmt: skip
def test_how_often(given: object, read: object) -> None:
    """Steps are a number, with their unit or without; minutes are said, and spelled in one way."""
    assert read_save_every(given) == read
    assert read_save_every(read) == read


@pytest.mark.parametrize(
    "given",
    [0, -1, 2**31, True, None, 1.5, "", "0", "1.5 steps", "0 minutes", "5 hours", "-5 minutes", "5minutes"],
    ids=repr,
)
def test_how_often_not(given: object, tmp_path: Path) -> None:
    """Anything else is refused in a sentence that says what is expected, before a folder is made."""
    with pytest.raises(ValueError, match='such as 500, "500 steps" or "10 minutes"'):
        read_save_every(given)
    if given is not None:
        with pytest.raises(RunError, match="expected a number of steps or of minutes"):
            run(tmp_path / "run", overrides={"save_every": given})
        assert not (tmp_path / "run").exists()


def test_due_by_the_clock(tmp_path: Path) -> None:
    """By minutes a commit is due when that much has passed since the last was begun."""
    now = 0.0
    saving = Saving(Checkpoints(tmp_path, None, Disk()), "2 minutes", "stop", print, lambda: now)
    due = []
    for step in range(1, 9):
        now += 50
        if saving.due(step):
            due.append(step)
            saving.begin(step, lambda: FILES)
    saving.close()
    assert due == [3, 6]
    assert saving.checkpoints.steps() == [3, 6]


def by_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: Any) -> None:
    """Let the clock of the runs that follow show these seconds, one each time it is read."""
    monkeypatch.setattr(saving_module, "Saving", partial(Saving, clock=lambda: next(seconds)))


def test_a_run_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is saved by the clock, and resumed under another clock, ends as one that is saved by its steps."""
    assert run(tmp_path / "steps") == 0
    by_the_clock(monkeypatch, count(0, 17))
    given: dict[str, Any] = {"save_every": "1 minute"}
    assert run(tmp_path / "whole", overrides=given) == 0
    same_run(tmp_path / "whole", tmp_path / "steps")
    by_the_clock(monkeypatch, count(0, 23))
    stop_at(monkeypatch, {11: signal.SIGTERM})
    assert run(tmp_path / "cut", overrides=given) == 143
    assert run(tmp_path / "cut", overrides=given, resume=True) == 0
    same_run(tmp_path / "cut", tmp_path / "whole")
    assert "rollback" not in capsys.readouterr().out


def test_a_rollback_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the clock a rollback goes to the newest commit before its step, and the run says so before its first step."""
    by_the_clock(monkeypatch, count(0, 23))  # seconds: a commit every third step
    curriculum = CURRICULUM.replace(b'["lr_restart", "checkpoint"]', b'["lr_restart", "rollback"]')
    assert run(tmp_path / "run", curriculum=curriculum, overrides={"save_every": "1 minute"}) == 0
    told = capsys.readouterr().out
    assert "saved every 1 minute: a rollback goes to the newest checkpoint, whose step depends on the clock" in told
    assert "weights and optimizer are those of step-000000" in told


def test_how_many_are_kept(tmp_path: Path) -> None:
    """The newest are kept, as many as was asked for, and beside them the newest two by plan."""
    assert run(tmp_path / "run", keep=4) == 0
    assert Checkpoints(tmp_path / "run" / "checkpoints", 5, Disk()).steps() == [24, 25, 30, 32]
    found = Checkpoints(tmp_path / "clock", None, Disk(), 3)
    for step in (1, 2, 5, 7, 8):
        found.save(step, FILES)
    assert found.steps() == [5, 7, 8]


# What the disk refuses


def test_stop(tmp_path: Path) -> None:
    """By default a refused commit ends the run with its sentence, and a resume goes the same way to the end."""
    assert run(tmp_path / "whole") == 0
    with pytest.raises(StorageError, match="step-00000015: cannot be written: No space left on device"):
        run(tmp_path / "run", disk=FullDisk(15))
    assert run(tmp_path / "run", resume=True) == 0
    same_run(tmp_path / "run", tmp_path / "whole")


def test_warn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under `warn` the run says each refusal once and goes on; its summary says which, and its logs are the same."""
    assert run(tmp_path / "whole") == 0
    capsys.readouterr()
    out = tmp_path / "run"
    assert run(out, disk=FullDisk(10, 15), on_save_error="warn") == 0
    told = capsys.readouterr().out
    for step in (10, 15):
        why = "not saved: No space left on device. The run goes on; the last checkpoint: it is of step 5"
        assert told.count(f"step {step}: {why}") == 1
    assert json.loads((out / "summary.json").read_text())["checkpoints_refused"] == [10, 15]
    for name in ("metrics.jsonl", "decisions.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_warn_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose end could not be saved ends with 1, scored and said; told to end, it names the step that is saved."""
    assert run(tmp_path / "run", disk=FullDisk(32), on_save_error="warn") == 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["checkpoints_refused"] == [32]
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, {11: signal.SIGTERM})
        assert run(tmp_path / "told", disk=FullDisk(12), on_save_error="warn") == 143
    assert "told to end, and saved: step 10." in capsys.readouterr().out


def test_the_first_commit_is_waited_for(tmp_path: Path) -> None:
    """No row is written before there is a commit to go back to: where the first is refused the logs are empty."""
    with pytest.raises(StorageError):
        run(tmp_path / "run", disk=FullDisk(0))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == b""
    assert run(tmp_path / "run", resume=True) == 0
