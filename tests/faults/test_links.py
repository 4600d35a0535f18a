"""Nothing outside a run's folder is written or removed, whatever was put inside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from plateau_rule.fftcore.checkpoint import STATE, Checkpoints, read_commit
from plateau_rule.fftcore.errors import CheckpointError, RunError, StorageError
from plateau_rule.fftcore.record import make_run_folder
from plateau_rule.fftcore.storage import NOTHING_SHA256, Disk, read_file
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


def test_a_run_s_folder_may_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is begun in a folder that is reached by a link, and resumed by a link to the run itself."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    (tmp_path / "latest").symlink_to(tmp_path / "disk" / "run")
    with monkeypatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.learner.Learner.step", _signalled(8))
        assert run(tmp_path / "runs" / "run") == 143
    assert run(tmp_path / "latest", resume=True) == 0
    assert (tmp_path / "disk" / "run" / "summary.json").is_file()


@pytest.mark.parametrize("name", [os.fsdecode(b"b\xffd"), "$\\frac{$", "a b\nc"])
def test_a_name_that_is_no_text(tmp_path: Path, name: str) -> None:
    """A run whose folder has a name of any bytes is carried out, drawn and resumed, and one on such a text too."""
    try:
        (tmp_path / name).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    out = tmp_path / name / name
    assert run(out, epochs=1, unchecked=True) == 0
    assert run(out, epochs=2, resume=True) == 0
    assert (out / "curve.png").is_file()


@pytest.mark.parametrize(("name", "place"), [("file", "file"), ("file/a/run", "file"), ("dangling/run", "dangling")])
def test_a_run_where_no_folder_can_be(tmp_path: Path, name: str, place: str) -> None:
    """A new run below a file, or below a link to nowhere, is refused by the name of that, and nothing is made."""
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    with pytest.raises(RunError, match=f"{place}: is a .*, and a run takes a folder"):
        make_run_folder(tmp_path / name, Disk())
    assert tree(tmp_path).keys() == {"file", "dangling"}


def test_a_folder_up_and_down(tmp_path: Path) -> None:
    """A path that leads through a missing folder and back is made as it is written."""
    make_run_folder(tmp_path / "missing" / ".." / "run", Disk())
    assert (tmp_path / "run").is_dir()


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


@pytest.mark.parametrize("target", ["elsewhere", "absent"])
def test_a_link_for_a_log(tmp_path: Path, target: str) -> None:
    """A link in the place of a log or of a record is called a link, and what it leads to is neither read nor made."""
    (tmp_path / "elsewhere").write_bytes(b"row\n")
    (tmp_path / "log").symlink_to(tmp_path / target)
    for size in (0, 4):
        with pytest.raises(StorageError, match="log: is a link; a log is a file of its own"):
            Disk().open_log(tmp_path / "log", size)
    with pytest.raises(ValueError, match="log is a link, and no link is followed"):
        read_file(tmp_path / "log", 100)
    assert tree(tmp_path).keys() == {"elsewhere", "log"}


def test_a_log_that_is_gone(tmp_path: Path) -> None:
    """A log that rows were written to is missed by name, and not made anew."""
    with pytest.raises(StorageError, match="log: is missing, and a log of at least 4 bytes belongs here"):
        Disk().open_log(tmp_path / "log", 4)
    assert not list(tmp_path.iterdir())


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
    (out / "summary.json").unlink()  # a run that has it is left as it is
    assert run(out, resume=True) == 0
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (out / "curve.png").read_bytes() == b"picture"
