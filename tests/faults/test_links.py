"""Nothing outside a run's folder is written or removed, whatever was put inside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from plateau_rule.fftcore.checkpoint import STATE, Checkpoints, read_commit
from plateau_rule.fftcore.errors import CheckpointError, StorageError
from plateau_rule.fftcore.storage import NOTHING_SHA256, Disk
from tests.faults.damaging import tree
from tests.faults.killing import in_step
from tests.fftcore.micro import run


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder outside, with a commit in it."""
    folder = tmp_path / "outside"
    Checkpoints(folder, 1, Disk()).save(4, {STATE: b"{}", "weights": b"precious"})
    return folder


def test_a_link_is_removed_alone(tmp_path: Path, outside: Path) -> None:
    """Of a link the link is removed, at every level, and of what it leads to nothing."""
    before = tree(outside)
    top, folder = tmp_path / "top", tmp_path / "folder"
    top.symlink_to(outside)
    (folder / "deep").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    (folder / "deep" / "link").symlink_to(outside / "step-00000004")
    (folder / "deep" / "file").symlink_to(outside / "step-00000004" / "weights")
    (folder / "dangling").symlink_to(tmp_path / "absent")
    for path in (top, folder, tmp_path / "absent"):
        Disk().remove(path)
        assert not os.path.lexists(path)
    assert tree(outside) == before


def test_a_deep_folder(tmp_path: Path) -> None:
    """A folder is removed however deep it is."""
    deep = str(tmp_path / "top")
    for _ in range(1500):
        Path(deep).mkdir()
        deep += "/a"
    Disk().remove(tmp_path / "top")
    assert not (tmp_path / "top").exists()


@pytest.mark.parametrize("name", [".unfinished", ".gone-00000001", "step-00000004", "step-00000009"])
def test_links_among_commits(tmp_path: Path, outside: Path, name: str) -> None:
    """A link with the name of a commit, or of half a one, is neither entered nor in the way of the next commits."""
    before = tree(outside)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 100, Disk())
    checkpoints.save(5, {STATE: b"{}"})
    (checkpoints.folder / name).symlink_to(outside / "step-00000004")
    commit = checkpoints.newest()
    assert commit is not None
    assert commit.step == 5
    checkpoints.set_aside(5)
    for step in (6, 7, 9):
        checkpoints.save(step, {STATE: b"{}"})
    assert checkpoints.steps() == [7, 9]
    assert tree(outside) == before


def test_a_file_that_is_a_link(tmp_path: Path, outside: Path) -> None:
    """A commit one of whose files is a link to the very bytes is not taken."""
    path = Checkpoints(tmp_path, 1, Disk()).save(4, {STATE: b"{}", "weights": b"precious"})
    (path / "weights").unlink()
    (path / "weights").symlink_to(outside / "step-00000004" / "weights")
    with pytest.raises(CheckpointError, match="step-00000004: "):
        read_commit(path)


def test_a_link_for_all_commits(tmp_path: Path, outside: Path) -> None:
    """Where `checkpoints` is a link nothing is read, written or removed through it, and a sentence says so."""
    before = tree(outside)
    (tmp_path / "checkpoints").symlink_to(outside)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1, Disk())
    with pytest.raises(CheckpointError, match="checkpoints: is a link"):
        checkpoints.newest()
    with pytest.raises(CheckpointError, match="checkpoints: is a link"):
        checkpoints.save(5, {STATE: b"{}"})
    assert tree(outside) == before


def test_a_commit_on_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that was moved away and linked to keeps its files when the run goes on and removes old commits."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    out, away = tmp_path / "run", tmp_path / "away"
    with monkeypatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.learner.Learner.step", _signalled(8))
        assert run(out) == 143
    (out / "checkpoints" / "step-00000005").rename(away)
    (out / "checkpoints" / "step-00000005").symlink_to(away)
    before = tree(away)
    assert len(before) == 4
    assert run(out, resume=True) == 0
    assert tree(away) == before


def _signalled(step: int) -> object:
    from plateau_rule.fftcore.learner import Learner

    step_of = Learner.step
    in_step(step, signal.SIGTERM)
    changed, Learner.step = Learner.step, step_of  # type: ignore[method-assign]
    return changed


def test_a_hard_link(tmp_path: Path) -> None:
    """A log that has another name, as in a backup by hard links, is refused rather than changed under both."""
    (tmp_path / "log").write_bytes(b"row\n")
    os.link(tmp_path / "log", tmp_path / "backup")
    with pytest.raises(StorageError, match="log: has another name as well"):
        Disk().open_log(tmp_path / "log")
    assert (tmp_path / "backup").read_bytes() == b"row\n"


@pytest.mark.parametrize("size", [0, 4])
def test_a_pipe_for_a_log(tmp_path: Path, size: int) -> None:
    """A pipe in the place of a log is refused, and not waited for."""
    os.mkfifo(tmp_path / "log")
    with pytest.raises(StorageError, match="log: "):
        Disk().open_log(tmp_path / "log", size, NOTHING_SHA256)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_replaced(tmp_path: Path, kind: str) -> None:
    """A file is replaced as a name: what stands half-written in its way is removed, a link to elsewhere too."""
    (tmp_path / "precious").write_bytes(b"precious")
    for name in (".file.unfinished", "file"):
        path = tmp_path / name
        if kind == "link":
            path.symlink_to(tmp_path / "precious")
        elif kind == "pipe":
            os.mkfifo(path)
        elif name.startswith("."):
            path.mkdir()
    Disk().replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is not drawn through a link that stands in its place."""
    from tests.faults.killing import picture

    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", picture)
    out = tmp_path / "run"
    assert run(out) == 0
    (tmp_path / "precious").write_bytes(b"precious")
    (out / "curve.png").unlink()
    (out / "curve.png").symlink_to(tmp_path / "precious")
    assert run(out, resume=True) == 0
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (out / "curve.png").read_bytes() == b"picture"
