"""A checkpoint folder by anyone who can write there: no code is run, nothing outside is touched, and it is said."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from plateau_rule.controller.errors import PlateauError
from plateau_rule.fftcore.checkpoint import Checkpoints
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.fftcore.storage import Disk
from tests.faults.damages import repaired
from tests.faults.damaging import tree
from tests.fftcore.micro import run
from tests.fftcore.test_checkpoint import learner
from tests.fftcore.test_train import stop_at


class Hostile:
    """An object whose pickle, when it is loaded, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def a_pickle_for_weights(commit: Path, outside: Path) -> None:
    """Put a pickle in place of the weights, hashes that fit and all."""
    (commit / "weights.safetensors").write_bytes(pickle.dumps(Hostile(outside / "run")))
    repaired(commit)


def a_pickle_beside_them(commit: Path, outside: Path) -> None:
    """Add a pickle under the name by which torch saves."""
    (commit / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile(outside / "run")))


def a_path_that_leads_out(commit: Path, outside: Path) -> None:
    """Let the manifest name a file outside."""
    manifest = unseal((commit / "manifest.json").read_bytes())
    manifest["files"]["../../../outside/precious"] = manifest["files"].pop("weights.safetensors")
    (commit / "manifest.json").write_bytes(seal(manifest))


def a_link(commit: Path, outside: Path) -> None:
    """Put a link in place of the weights, to the very bytes."""
    (outside / "precious").write_bytes((commit / "weights.safetensors").read_bytes())
    (commit / "weights.safetensors").unlink()
    (commit / "weights.safetensors").symlink_to(outside / "precious")


def a_foreign_model(commit: Path, outside: Path) -> None:
    """Put another model's weights in, hashes that fit and all."""
    (commit / "weights.safetensors").write_bytes(learner().copied().packed()["weights.safetensors"])
    repaired(commit)


WAYS: dict[Callable[[Path, Path], None], str] = {
    a_pickle_for_weights: "weights.safetensors cannot be read",
    a_pickle_beside_them: "it holds .*pytorch_model.bin.*, and its manifest names",
    a_path_that_leads_out: "it holds .*, and its manifest names .*outside/precious",
    a_link: "weights.safetensors is a link, and no link is followed",
    a_foreign_model: "a checkpoint of another model: ",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_it_is_refused(way: Callable[[Path, Path], None], tmp_path: Path) -> None:
    """A pickle, a path that leads out, a link and a foreign model are each refused; what is outside stays as it was."""
    out, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, {3: signal.SIGTERM})
        assert run(out) == 143
    for commit in Checkpoints(out / "checkpoints", 5, Disk()).named().values():
        way(commit, outside)
    before = tree(outside), tree(out / "checkpoints")
    with pytest.raises(PlateauError, match=WAYS[way]):
        run(out, resume=True)
    assert (tree(outside), tree(out / "checkpoints")) == before
