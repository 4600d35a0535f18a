"""One commit: all of it or none, and never another one's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from plateau_rule.fftcore import checkpoint
from plateau_rule.fftcore.checkpoint import STATE, Checkpoints, read_commit
from plateau_rule.fftcore.config import Config
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.fftcore.storage import Disk
from plateau_rule.fftcore.tensors import unpack_weights
from tests.fftcore.test_model import SMALL


def commits(folder: Path, *steps: int, every: int = 10) -> Checkpoints:
    """Commits of some bytes at these steps."""
    found = Checkpoints(folder / "checkpoints", every, Disk())
    for step in steps:
        found.save(step, {STATE: json.dumps({"step": step}).encode(), "weights": bytes([step % 256]) * 100})
    return found


def test_round_trip(tmp_path: Path) -> None:
    """What is saved comes back, from the newest commit."""
    found = commits(tmp_path, 1, 2).newest()
    assert found is not None
    assert (found.step, found.state, found.files["weights"]) == (2, {"step": 2}, bytes([2]) * 100)


def test_nothing_yet(tmp_path: Path) -> None:
    """Where nothing was saved there is no commit, and that is no error."""
    assert Checkpoints(tmp_path / "none", 10, Disk()).newest() is None


def test_what_is_kept(tmp_path: Path) -> None:
    """The newest two commits are kept, and the newest two that were made by plan."""
    assert commits(tmp_path / "a", 10, 20, 30).steps() == [20, 30]
    assert commits(tmp_path / "b", 0, 3, 7, 9).steps() == [0, 7, 9]
    assert commits(tmp_path / "c", 0, 10, 11, 12, 13).steps() == [0, 10, 12, 13]
    assert sorted(path.name for path in (tmp_path / "c" / "checkpoints").iterdir()) == [
        "step-00000000",
        "step-00000010",
        "step-00000012",
        "step-00000013",
    ]


def test_the_planned_one(tmp_path: Path) -> None:
    """What a rollback goes to is the newest commit that every run of this kind has: one made by plan."""
    found = commits(tmp_path, 10, 20, 23).newest(planned_before=30)
    assert found is not None
    assert found.step == 20


def test_passed_over_and_set_aside(tmp_path: Path) -> None:
    """A damaged commit is passed over with its reason, and set aside so that its step can be saved again."""
    checkpoints = commits(tmp_path, 10, 20)
    (checkpoints.path(20) / "weights").write_bytes(b"short")
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 10
    assert checkpoints.passed_over == [f"{checkpoints.path(20)}: weights has 5 bytes, and 100 were written"]
    checkpoints.set_aside(10)
    assert checkpoints.steps() == [10]
    commits(tmp_path, 20)
    assert (checkpoints.folder / "damaged-step-00000020" / "weights").read_bytes() == b"short"
    (checkpoints.path(20) / "weights").write_bytes(b"again")
    checkpoints.set_aside(10)
    assert (checkpoints.folder / "damaged-step-00000020-1").is_dir()


def test_no_whole_one(tmp_path: Path) -> None:
    """If every commit is damaged, one sentence says so of each, and nothing is taken instead."""
    checkpoints = commits(tmp_path, 10, 20)
    for step in (10, 20):
        (checkpoints.path(step) / "weights").unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint here is whole: .*20: it.*10: it.*another --out"):
        checkpoints.newest()


def test_leftovers(tmp_path: Path) -> None:
    """What a crash left behind is never taken for a commit, and does not stop the next one."""
    checkpoints = commits(tmp_path, 10)
    for name in (".unfinished", ".gone-00000005", "step-12", "step-00000012.unfinished", "step-0000001x"):
        (checkpoints.folder / name).mkdir()
        (checkpoints.folder / name / "weights").write_bytes(b"half")
    assert checkpoints.steps() == [10]
    checkpoints.save(20, {STATE: b"{}"})
    assert checkpoints.steps() == [10, 20]


def test_one_format(tmp_path: Path) -> None:
    """A commit of a later format is refused by its number, not misread."""
    path = commits(tmp_path, 10).path(10)
    manifest = unseal((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(seal(manifest | {"format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        read_commit(path)


# What is in a commit's tensors


def learner(seed: int = 0, heads_only: bool = False, **changes: int) -> Learner:
    """A small learner on the default text."""
    config = Config(model=SMALL.model_copy(update=changes), batch_size=2, dropout=0.1)
    made = Learner(config, read_text(None), seed, torch.device("cpu"), heads_only)
    made.turn({"seq_len": 40})
    return made


def committed(folder: Path, of: Learner) -> checkpoint.Commit:
    """A commit of a learner, read back."""
    return read_commit(Checkpoints(folder, 1, Disk()).save(0, {STATE: b"{}", **of.files()}))


@pytest.mark.parametrize("heads_only", [False, True])
def test_learner_goes_on(tmp_path: Path, heads_only: bool) -> None:
    """A restored learner goes on as the saved one did, bit for bit, its dropout included."""
    one = learner(heads_only=heads_only)
    for step in range(3):
        one.step(step, 1e-2)
    commit = committed(tmp_path, one)
    expected = [one.step(step, 1e-2).tolist() for step in range(3, 6)]
    other = learner(seed=0, heads_only=heads_only)
    other.step(7, 1e-2)
    other.restore(commit)
    assert [other.step(step, 1e-2).tolist() for step in range(3, 6)] == expected
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])


def test_another_model(tmp_path: Path) -> None:
    """Weights of another shape, or of other names, are refused by the name of the first that does not fit."""
    commit = committed(tmp_path, learner())
    with pytest.raises(CheckpointError, match=r"another model: .* is \[32\] there, and \[16\] in this one"):
        learner(d_model=8).restore(commit)
    with pytest.raises(CheckpointError, match=r"another model: blocks.2.* is missing there"):
        learner(layers=3).restore(commit)


def test_broken_tensors(tmp_path: Path) -> None:
    """A file that is no safetensors is an error in a sentence, even if its checksum fits."""
    path = Checkpoints(tmp_path, 1, Disk()).save(0, {STATE: b"{}", "weights.safetensors": b"\xff" * 40})
    with pytest.raises(CheckpointError, match=r"weights.safetensors cannot be read"):
        unpack_weights(read_commit(path), learner().model)
