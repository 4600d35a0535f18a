"""A disk that fails, at every call, in every way: the last commit stays whole, and one clear error says so."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest

from plateau_rule.fftcore.checkpoint import STATE, Checkpoints
from plateau_rule.fftcore.errors import CheckpointError, StorageError
from plateau_rule.fftcore.storage import Disk, locked
from tests.faults.disks import FAULTS, CountedDisk, FailingDisk
from tests.fftcore.micro import contents, run


def files(step: int) -> dict[str, bytes]:
    """What a commit of a step holds here."""
    return {STATE: b"{}", "weights": bytes([step]) * 1000}


def saved_until(folder: Path, disk: Disk, last: int) -> int:
    """Save steps 1, 2, … and return the last that was reported as saved; -1 for none."""
    acknowledged = -1
    for step in range(1, last + 1):
        Checkpoints(folder, 1, disk).save(step, files(step))
        acknowledged = step
    return acknowledged


def holds(folder: Path, at_least: int) -> bool:
    """Whether the newest whole commit is of this step or later, and is what was written."""
    try:
        found = Checkpoints(folder, 1, Disk()).newest()
    except CheckpointError:
        return False
    return found is not None and found.step >= at_least and found.files == files(found.step)


def survives(folder: Path, disk: FailingDisk, kind: type[Checkpoints] = Checkpoints) -> bool:
    """Whether commits 1 and 2 survive what a bad disk does to the third, and another can be saved then."""
    saved_until(folder, Disk(), 2)
    acknowledged = 2
    try:
        kind(folder, 1, disk).save(3, files(3))
        acknowledged = 3
    except StorageError as error:
        assert "cannot be written" in str(error)  # noqa: PT017
        assert "--resume" in str(error)  # noqa: PT017
    if not holds(folder, acknowledged):
        return False
    newest = Checkpoints(folder, 1, Disk()).newest()
    assert newest is not None
    Checkpoints(folder, 1, Disk()).set_aside(newest.step)
    Checkpoints(folder, 1, Disk()).save(newest.step + 1, files(newest.step + 1))
    return holds(folder, newest.step + 1)


def calls_of_a_save(folder: Path) -> int:
    """How many calls the third save makes."""
    saved_until(folder, Disk(), 2)
    disk = CountedDisk()
    Checkpoints(folder, 1, disk).save(3, files(3))
    return disk.calls


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("error", FAULTS)
def test_every_call_fails(tmp_path: Path, error: int, short: bool, for_ever: bool) -> None:
    """Whichever call of a save fails, what was saved before stays whole, and the next save works."""
    calls = calls_of_a_save(tmp_path / "count")
    assert calls > 15
    for at in range(1, calls + 1):
        assert survives(tmp_path / f"{at}", FailingDisk(at, error, for_ever, short)), f"call {at}"


class Careless(Checkpoints):
    """Makes room before it saves."""

    def save(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Remove the commits before, then save."""
        for old in self.steps():
            self.disk.remove(self.path(old))
        return super().save(step, files)


def test_the_lane_can_fail(tmp_path: Path) -> None:
    """Canary: where old commits are removed before the new one is whole, some failing call loses the run."""
    kept = [survives(tmp_path / f"{at}", FailingDisk(at, errno.EIO, True), Careless) for at in (1, 9, 15)]
    assert kept == [True, False, False]


def test_first_save_fails(tmp_path: Path) -> None:
    """If the very first save fails, at any call, there is no commit rather than half a one, and the next save works."""
    counted = CountedDisk()
    Checkpoints(tmp_path / "count", 1, counted).save(0, files(0))
    for at in range(1, counted.calls + 1):
        folder = tmp_path / f"{at}"
        with pytest.raises(StorageError):
            Checkpoints(folder, 1, FailingDisk(at, errno.ENOSPC, for_ever=True)).save(0, files(0))
        found = Checkpoints(folder, 1, Disk()).newest()
        assert found is None or found.files == files(0)
        Checkpoints(folder, 1, Disk()).save(1, files(1))
        assert holds(folder, 1)


def test_replaced_file(tmp_path: Path) -> None:
    """A file that is replaced is at any failing call the old one or the new one."""
    counted = CountedDisk()
    path = tmp_path / "file"
    path.write_bytes(b"old")
    counted.replace_file(path, b"new")
    for at in range(1, counted.calls + 1):
        path.write_bytes(b"old")
        with pytest.raises(StorageError):
            FailingDisk(at, errno.EIO, for_ever=True).replace_file(path, b"new")
        assert path.read_bytes() in (b"old", b"new")
        Disk().replace_file(path, b"newer")
        assert path.read_bytes() == b"newer"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A micro run that nothing disturbed, and the number of its calls."""
    counted = CountedDisk()
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert run(out, disk=counted) == 0
    return out, counted.calls


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 0.97])
def test_run_on_a_failing_disk(
    whole: tuple[Path, int], share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose disk fails for good ends with one error; on a good disk it resumes to the same end, bit for bit."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    out = tmp_path / "run"
    with pytest.raises(StorageError, match="No space left on device"):
        run(out, disk=FailingDisk(int(whole[1] * share), errno.ENOSPC, for_ever=True))
    assert run(out, resume=(out / "run.json").exists()) == 0
    for name in ("metrics.jsonl", "decisions.jsonl", "summary.json"):
        assert (out / name).read_bytes() == (whole[0] / name).read_bytes()


def test_one_process(tmp_path: Path) -> None:
    """A folder is locked while it is trained in; the lock goes with its holder."""
    with locked(tmp_path), pytest.raises(StorageError, match="another process is training here"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A log or a record that is a link is refused, and what it points to is not touched."""
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="log: is a link"):
        Disk().open_log(tmp_path / "log", 0)
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_resume_of_what_is_over(whole: tuple[Path, int]) -> None:
    """Resuming a run that is over and scored changes no byte in its folder."""
    before = contents(whole[0])
    assert run(whole[0], resume=True) == 0
    assert contents(whole[0]) == before
