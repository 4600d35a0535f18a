"""One commit: all of it or none, and never another one's."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from plateau_rule.fftcore import checkpoint
from plateau_rule.fftcore.checkpoint import STATE, Checkpoints, read_commit
from plateau_rule.fftcore.config import Config
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.errors import CheckpointError, StorageError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.fftcore.storage import Disk
from plateau_rule.fftcore.tensors import OPTIMIZER, WEIGHTS, unpack_weights
from tests.faults.disks import CountedDisk, FailingDisk
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
    return read_commit(Checkpoints(folder, 1, Disk()).save(0, {STATE: b"{}", **of.copied().packed()}))


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


# Names


def test_leavings_are_swept(tmp_path: Path) -> None:
    """What a killed save or a killed removal has left is removed by the next one, whatever it is."""
    checkpoints = commits(tmp_path, 10)
    for name in (".unfinished", ".gone-00000005", ".gone-00000010"):
        (checkpoints.folder / name).mkdir()
        (checkpoints.folder / name / "weights").write_bytes(b"half")
    checkpoints.sweep()
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000010"]


@pytest.mark.parametrize("name", ["step-000000020", "step-00000005", "step-00000020", "step-00000030"])
@pytest.mark.parametrize("is_folder", [False, True])
def test_names_of_others(tmp_path: Path, name: str, is_folder: bool) -> None:
    """What only has, or nearly has, a commit's name is no commit, and stops neither a resume nor the next commits."""
    checkpoints = commits(tmp_path, 10)
    path = checkpoints.folder / name
    path.mkdir() if is_folder else path.write_bytes(b"x")
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 10
    checkpoints.set_aside(10)
    for step in (20, 30, 40):
        checkpoints.save(step, {STATE: b"{}"})
    assert checkpoints.steps()[-2:] == [30, 40]
    assert read_commit(checkpoints.path(40)).step == 40


def test_one_that_was_refused_is_made_anew(tmp_path: Path) -> None:
    """Whichever call of a save the disk refuses, the next save of that step is whole, and calls nothing damaged."""
    counted = commits(tmp_path / "counted", 10, 20)
    counted.disk = CountedDisk()
    counted.save(30, {STATE: b"{}"})
    for at in range(1, counted.disk.calls + 1):
        checkpoints = commits(tmp_path / str(at), 10, 20)
        checkpoints.disk = FailingDisk(at, errno.EIO, for_ever=False)
        with pytest.raises(StorageError):
            checkpoints.save(30, {STATE: b"{}"})
        checkpoints.save(30, {STATE: b'{"again": 1}'})
        assert checkpoints.damaged() == []
        assert read_commit(checkpoints.path(30)).state == {"again": 1}


def test_set_aside_under_any_name(tmp_path: Path) -> None:
    """A damaged commit finds a free name, whatever has taken the others."""
    checkpoints = commits(tmp_path, 10, 20)
    (checkpoints.folder / "damaged-step-00000020").symlink_to(tmp_path / "absent")
    (checkpoints.folder / "damaged-step-00000020-2").mkdir()
    checkpoints.set_aside(10)
    assert (checkpoints.folder / "damaged-step-00000020-1" / STATE).is_file()


@pytest.mark.parametrize("size", ["Infinity", "NaN", "1e400", "-1", "2.0", "true", '"2"', "null", "[2]", "9" * 5000])
def test_sizes_that_are_none(tmp_path: Path, size: str) -> None:
    """A manifest whose checksum fits and whose sizes are no sizes is refused in a sentence."""
    path = commits(tmp_path, 10).path(10)
    manifest = unseal((path / "manifest.json").read_bytes())
    del manifest["files"]["weights"]["bytes"]
    source = json.dumps(manifest).replace('"weights": {', f'"weights": {{"bytes": {size}, ')
    with suppress(ValueError):
        manifest = json.loads(source)
    checksum = hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (path / "manifest.json").write_text(source[:-1] + f', "checksum": "{checksum}"}}')
    with pytest.raises(CheckpointError, match=r"step-00000010: .*(manifest|JSON)"):
        read_commit(path)


# Tensors whose hashes fit


def on(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[dict[str, torch.Tensor]], None]:
    """Change one tensor, or take it away."""

    def changed(tensors: dict[str, torch.Tensor]) -> None:
        value = change(tensors.pop(name))
        if value is not None:
            tensors[name] = value

    return changed


def refit(folder: Path, of: Learner, file: str, change: Callable[[dict[str, torch.Tensor]], object]) -> str:
    """What a learner says of its own commit after one file's tensors were changed, and all hashes with them."""
    files = of.copied().packed()
    tensors = load(files[file])
    change(tensors)
    path = Checkpoints(folder / "refit", 1, Disk()).save(0, {STATE: b"{}", **files, file: save(tensors)})
    before = of.copied().packed()
    with pytest.raises(CheckpointError) as caught:
        of.restore(read_commit(path))
    shutil.rmtree(path)
    if file == OPTIMIZER:
        assert of.copied().packed()[OPTIMIZER] == before[OPTIMIZER]
    return str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_another_type(tmp_path: Path, dtype: torch.dtype) -> None:
    """Weights and moments of another type are refused by name, not converted."""
    one = learner()
    one.step(0, 1e-2)
    for file, name in ((WEIGHTS, "table.weight"), (OPTIMIZER, "exp_avg/table.weight"), (OPTIMIZER, "step/norm.weight")):
        told = refit(tmp_path, one, file, on(name, lambda value: value.to(dtype)))
        assert f"{name} is {str(dtype).removeprefix('torch.')} there, and float32 in this one" in told


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_not_finite(tmp_path: Path, value: float) -> None:
    """Weights and moments that are not finite are refused by name."""
    one = learner()
    one.step(0, 1e-2)
    names = ((WEIGHTS, "norm.bias"), (OPTIMIZER, "exp_avg_sq/norm.bias"), (OPTIMIZER, "step/norm.bias"))
    for file, name in names:
        told = refit(tmp_path, one, file, on(name, lambda tensor: torch.full_like(tensor, value)))
        assert f"{name} is not finite" in told


def test_moments_that_are_missing(tmp_path: Path) -> None:
    """One moment less, none at all, one of nobody, and no random numbers are each refused in a sentence."""
    one = learner()
    one.step(0, 1e-2)
    momentum = next(name for name in load(one.copied().packed()[OPTIMIZER]) if name.startswith("momentum/"))
    for name in ("exp_avg/norm.bias", "step/norm.bias", momentum, "count/moments"):
        assert "not as many as were saved" in refit(tmp_path, one, OPTIMIZER, on(name, lambda value: None))
    assert "not as many as were saved" in refit(tmp_path, one, OPTIMIZER, dict.clear)

    def counted(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["exp_avg/norm.bias"]
        tensors["count/moments"] -= 1

    assert "exp_avg/norm.bias is missing there" in refit(tmp_path, one, OPTIMIZER, counted)

    def another(tensors: dict[str, torch.Tensor]) -> None:
        tensors["exp_avg/nobody"] = tensors.pop("exp_avg/norm.bias")
        del tensors["exp_avg_sq/norm.bias"], tensors["step/norm.bias"]
        tensors["count/moments"] -= 2

    assert "exp_avg/nobody is [16] there, and missing in this one" in refit(tmp_path, one, OPTIMIZER, another)
    assert "random/cpu is missing" in refit(tmp_path, one, OPTIMIZER, on("random/cpu", lambda value: None))
    told = refit(tmp_path, one, OPTIMIZER, on("random/cpu", lambda value: torch.zeros(7)))
    assert "no state of a random generator" in told


@pytest.mark.parametrize("heads_only", [False, True])
@pytest.mark.parametrize("published", [False, True])
def test_every_parameter_has_moments(published: bool, heads_only: bool) -> None:
    """After a step what is saved is what is expected: every parameter that is trained has all of its moments."""
    shape = SMALL.model_copy(
        update={"published": True, "kernel_groups": 1, "objective": "chunk-last"} if published else {}
    )
    one = Learner(Config(model=shape, batch_size=2), read_text(None), 0, torch.device("cpu"), heads_only)
    one.turn({})
    one.step(0, 1e-2)
    for parameter in one.parameters:
        found = one.optimizer.state[parameter]
        expected = one.optimizer.moments(parameter)
        assert {key: (value.shape, value.dtype) for key, value in found.items()} == {
            key: (value.shape, value.dtype) for key, value in expected.items()
        }
