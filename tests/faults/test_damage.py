"""Damaged commits: every one is noticed, none is used."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plateau_rule.fftcore import checkpoint
from plateau_rule.fftcore.checkpoint import STATE, read_commit
from plateau_rule.fftcore.errors import CheckpointError
from tests.fftcore.micro import contents, rows, run

EACH = 150
Damage = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A micro run with commits of steps 30 and 32."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert run(out) == 0
    return out


def any_file(commit: Path, chance: random.Random) -> Path:
    """One of a commit's files."""
    return chance.choice(sorted(commit.iterdir()))


def truncated(commit: Path, chance: random.Random) -> None:
    """Cut a file anywhere."""
    path = any_file(commit, chance)
    os.truncate(path, chance.randrange(path.stat().st_size))


def flipped(commit: Path, chance: random.Random) -> None:
    """Flip one bit of a file."""
    path = any_file(commit, chance)
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def lengthened(commit: Path, chance: random.Random) -> None:
    """Add some bytes at a file's end."""
    path = any_file(commit, chance)
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randrange(1, 50)) + b"x")


def swapped(commit: Path, chance: random.Random) -> None:
    """Let two files change places."""
    one, other = chance.sample(sorted(commit.iterdir()), 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def mixed(commit: Path, chance: random.Random) -> None:
    """Take a file from another commit."""
    older = commit.with_name("step-00000030")
    name = chance.choice(sorted(path.name for path in commit.iterdir()))
    shutil.copyfile(older / name, commit / name)


def edited(commit: Path, chance: random.Random) -> None:
    """Change one value of the manifest, and write it as it was written."""
    path = commit / "manifest.json"
    manifest = json.loads(path.read_bytes())
    name = chance.choice(sorted(manifest["files"]))
    changes: list[Callable[[], object]] = [
        lambda: manifest.update(step=manifest["step"] + 1),
        lambda: manifest.update(format=0),
        lambda: manifest["files"].pop(name),
        lambda: manifest["files"].update(more={"bytes": 0, "sha256": "0" * 64}),
        lambda: manifest["files"].update({"../" + name: manifest["files"].pop(name)}),
        lambda: manifest["files"][name].update(bytes=manifest["files"][name]["bytes"] + 1),
        lambda: manifest["files"][name].update(sha256="0" * 64),
        lambda: manifest.update(checksum="0" * 64),
        lambda: manifest.pop("checksum"),
        lambda: manifest.update(files=[]),
    ]
    chance.choice(changes)()
    path.write_text(json.dumps(manifest, indent=1) + "\n")


def removed(commit: Path, chance: random.Random) -> None:
    """Remove a file."""
    any_file(commit, chance).unlink()


def added(commit: Path, chance: random.Random) -> None:
    """Add a file."""
    (commit / f"more-{chance.randrange(10)}").write_bytes(b"")


def linked(commit: Path, chance: random.Random) -> None:
    """Put a link to the same bytes, or a pipe, or a folder in place of a file."""
    path = any_file(commit, chance)
    kind = chance.randrange(3)
    aside = commit.parent / f"aside-{path.name}"
    path.rename(aside)
    if kind == 0:
        path.symlink_to(aside)
    elif kind == 1:
        os.mkfifo(path)
    else:
        path.mkdir()


DAMAGES = (truncated, flipped, lengthened, swapped, mixed, edited, removed, added, linked)


def noticed(whole: Path, folder: Path, damage: Damage, seed: int) -> bool:
    """Whether a damaged copy of the newest commit is refused."""
    commits = folder / f"{damage.__name__}-{seed}"
    shutil.copytree(whole / "checkpoints", commits)
    damage(commits / "step-00000032", random.Random(seed))
    try:
        read_commit(commits / "step-00000032")
    except CheckpointError as error:
        return str(commits) in str(error)
    finally:
        shutil.rmtree(commits)
    return False


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed(whole: Path, tmp_path: Path, damage: Damage) -> None:
    """Truncated, flipped, swapped, edited, linked: no damaged commit is read, and the error names its folder."""
    for seed in range(EACH if damage not in (added, removed, linked) else 20):
        assert noticed(whole, tmp_path, damage, seed), f"seed {seed}"


def test_the_lane_can_fail(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: without the comparison of checksums, flipped bits are not noticed."""
    monkeypatch.setattr(checkpoint, "read_verified", lambda path, listed: path.read_bytes())
    assert not all(noticed(whole, tmp_path, flipped, seed) for seed in range(40))


def test_renamed_commit(whole: Path, tmp_path: Path) -> None:
    """A commit under another step's name is refused."""
    shutil.copytree(whole / "checkpoints" / "step-00000030", tmp_path / "step-00000040")
    with pytest.raises(CheckpointError, match="its manifest belongs to step 30"):
        read_commit(tmp_path / "step-00000040")


def test_resume_passes_over(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resumed run names what it passes over, and ends as it would have, but that it knows of its resume."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.copyfile(whole.parent / "micro.txt", tmp_path / "micro.txt")
    flipped(out / "checkpoints" / "step-00000032", random.Random(0))
    assert run(out, resume=True) == 0
    told = capsys.readouterr().out
    assert "passed over: " in told
    assert "resumed at step 30" in told
    assert (out / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (out / "checkpoints" / "damaged-step-00000032").is_dir()
    ended, expected = (read_commit(folder / "checkpoints" / "step-00000032") for folder in (out, whole))
    assert ended.files.keys() == expected.files.keys()
    assert all(ended.files[name] == expected.files[name] for name in expected.files.keys() - {STATE})
    assert (ended.state["record"]["resumed"], expected.state["record"]["resumed"]) == (1, 0)
    assert {**ended.state, "record": None} == {**expected.state, "record": None}


def test_nothing_whole(whole: Path, tmp_path: Path) -> None:
    """If no commit is whole the run is not begun anew behind the user's back, and nothing is changed."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.copyfile(whole.parent / "micro.txt", tmp_path / "micro.txt")
    for commit in (out / "checkpoints").iterdir():
        removed(commit, random.Random(0))
    before = contents(out)
    with pytest.raises(CheckpointError, match="no checkpoint here is whole"):
        run(out, resume=True)
    assert contents(out) == before


def test_another_run_s_commit(whole: Path, tmp_path: Path) -> None:
    """Whole commits of another run are refused: the seed, the model or the text differs."""
    out = tmp_path / "other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert run(out, seed=1) == 0
    shutil.rmtree(out / "checkpoints")
    shutil.copytree(whole / "checkpoints", out / "checkpoints")
    before = contents(out)
    with pytest.raises(CheckpointError, match="another model or run: its seed differs"):
        run(out, resume=True)
    assert contents(out) == before
    assert len(rows(out / "metrics.jsonl")) == 32
