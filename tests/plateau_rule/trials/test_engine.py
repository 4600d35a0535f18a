"""`--engine ray`: the same cells in the same folder, trained where Ray puts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plateau_rule import loads
from plateau_rule.commands import app as plateau
from plateau_rule.sim.shards import Engine
from plateau_rule.trials.budget import TrainingBudget, TrialError
from plateau_rule.trials.curve import Curve
from plateau_rule.trials.probe import probe
from plateau_rule.trials.trainer import Trainer
from tests.plateau_rule.trials.toy import LADDER

TOY = Path(__file__).with_name("toy.py")


class StandInForRay:
    """What is asked of Ray, carried out by threads of this process."""

    exceptions = SimpleNamespace(RayError=OSError)

    def __init__(self) -> None:
        self.running, self.tasks, self.lost = False, 0, False
        self.pool = ThreadPoolExecutor(2)

    def is_initialized(self) -> bool:
        """Whether a cluster is there."""
        return self.running

    def init(self, **given: Any) -> None:
        """Connect to one."""
        self.running = True

    def shutdown(self) -> None:
        """Leave it."""
        self.running = False

    def remote(self, work: Callable[..., Any]) -> SimpleNamespace:
        """A function that runs elsewhere."""

        def begin(*given: Any) -> SimpleNamespace:
            self.tasks += 1
            future: Future[Any] = self.pool.submit(work, *given)
            if self.lost:
                future = Future()
                future.set_exception(OSError("a worker died\nThe node was lost"))
            return SimpleNamespace(future=lambda: future)

        return SimpleNamespace(remote=begin)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandInForRay:
    """The stand-in, where Ray would be imported."""
    stand_in = StandInForRay()
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return stand_in


def probed(folder: Path, engine: Engine) -> list[Curve]:
    """The curves of a small probe."""
    asked = (loads(LADDER), TrainingBudget.read("80 cost"), range(1), Trainer.read(f"{TOY}:train"), folder)
    return [curve for rung in probe(*asked, engine=engine).curves for curve in rung]


def same(ones: list[Curve], others: list[Curve]) -> bool:
    """Whether curves are equal to the bit."""
    return [one.score.tolist() for one in ones] == [other.score.tolist() for other in others]


def test_the_same_cells(ray: StandInForRay, tmp_path: Path) -> None:
    """Both engines leave the same folders and curves; what one has finished, the other does not train again."""
    here, there = (probed(tmp_path / engine, engine) for engine in ("processes", "ray"))
    assert same(here, there)
    assert ray.tasks == 2
    assert not ray.running
    names = [sorted(each.name for each in (tmp_path / engine / "cells").iterdir()) for engine in ("processes", "ray")]
    assert names[0] == names[1]
    assert same(probed(tmp_path / "processes", "ray"), here)
    assert ray.tasks == 2


def test_a_lost_worker(ray: StandInForRay, tmp_path: Path) -> None:
    """What Ray cannot carry out is said in a sentence; the same call trains what is left."""
    ray.lost = True
    with pytest.raises(TrialError, match="Ray could not carry out a training: The node was lost\nWhat is finished is"):
        probed(tmp_path, "ray")
    assert not ray.running
    ray.lost = False
    assert len(probed(tmp_path, "ray")) == 2


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Without the extra, the command says so before anything is trained."""
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(LADDER)
    assert plateau.main(["probe", "grid.toml", "--trainer", f"{TOY}:train", "--budget=80 cost", "--engine=ray"]) == 2
    assert "plateau-rule[ray]" in capfd.readouterr().err
    assert not Path("trials").exists()


@pytest.mark.skipif(find_spec("ray") is None, reason="pip install 'plateau-rule[ray]'")
def test_ray_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray trains the same cells, on a cluster of this machine."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert same(probed(tmp_path / "ray", "ray"), probed(tmp_path / "processes", "processes"))
    assert "RAY_JOB_ID" not in os.environ
