"""kill −9 and signals at any moment, and damage to any file: a run ends as it would have, or is refused.

`make faults` counts thousands of each, after the defects that the counts must find (marked `faults`); here are a few.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.damages import DAMAGES


def counted(root: Path, lane: str, *words: str) -> tuple[int, dict[str, Any]]:
    """Count in a process of its own, which forks: its exit code and what it counted."""
    command = [sys.executable, "-m", f"tests.faults.{lane}", *words]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.stdout, result.stderr[-3000:]
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return result.returncode, found | {"told": result.stdout}


@pytest.mark.slow
def test_killed_runs(pytestconfig: pytest.Config) -> None:
    """A run that is killed, once or more, resumes to the same end, bit for bit, and leaves nothing behind."""
    code, found = counted(pytestconfig.rootpath, "killing", "--kills", "6")
    assert (code, found["wrong"]) == (0, 0), found["told"]
    assert found["ended"]["-9"] > 1


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("plant", ["no moments", "no sweep"])
def test_killing_can_fail(pytestconfig: pytest.Config, plant: str) -> None:
    """Canary: commits without moments, and leavings that are not removed, are each found."""
    code, found = counted(pytestconfig.rootpath, "killing", "--kills", "8", "--plant", plant)
    assert code == 1
    assert found["wrong"] > 0


@pytest.mark.slow
def test_killed_saves(pytestconfig: pytest.Config) -> None:
    """A process that is killed while it saves in the background loses no commit that it reported as saved."""
    code, found = counted(pytestconfig.rootpath, "saves", "--kills", "50")
    assert (code, found["wrong"]) == (0, 0), found["told"]
    assert found["reported"] > 50


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("plant", ["early", "in place"])
def test_saves_can_fail(pytestconfig: pytest.Config, plant: str) -> None:
    """Canary: a commit that is reported before it is durable, and one that is written in place, are each found."""
    code, found = counted(pytestconfig.rootpath, "saves", "--kills", "50", "--plant", plant)
    assert code == 1
    assert found["wrong"] > 0


@pytest.mark.slow
def test_crashes(pytestconfig: pytest.Config) -> None:
    """Whatever a crash of the machine leaves of saves loads what was reported; of runs, some are resumed to the end."""
    code, found = counted(pytestconfig.rootpath, "crashes", "--runs", "3")
    assert (code, found["wrong"]) == (0, 0), found["told"]
    assert found["crashes"] > 100


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("plant", ["folders", "files"])
def test_crashes_can_fail(pytestconfig: pytest.Config, plant: str) -> None:
    """Canary: folders that are not synced, and files that are not, are each found."""
    code, found = counted(pytestconfig.rootpath, "crashes", "--runs", "0", "--plant", plant)
    assert code == 1
    assert found["wrong"] > 0


@pytest.mark.slow
def test_refusals(pytestconfig: pytest.Config) -> None:
    """A disk that refuses any call of a run is told of, and the run ends as it would have, on a good disk."""
    code, found = counted(pytestconfig.rootpath, "refusals", "--cases", "8")
    assert (code, found["wrong"]) == (0, 0), found["told"]
    assert found["of"] > 1000


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("plant", ["unsaid", "room first"])
def test_refusals_can_fail(pytestconfig: pytest.Config, plant: str) -> None:
    """Canary: a refusal that nobody hears of, and commits removed to make room for the next, are each found."""
    code, found = counted(pytestconfig.rootpath, "refusals", "--cases", "8", "--plant", plant)
    assert code == 1
    assert found["wrong"] > 0


@pytest.mark.slow
def test_damaged_folders(pytestconfig: pytest.Config) -> None:
    """A damaged folder is refused in a sentence, or its run ends as it would have; nothing outside of it is touched."""
    code, found = counted(pytestconfig.rootpath, "damaging", "--folders", str(len(DAMAGES)))
    assert (code, found["wrong"]) == (0, 0), found["told"]
    assert found["became"]["refused"] > 5


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize(("plant", "only"), [("links followed", "left_behind"), ("no comparison", "tensors_repaired")])
def test_damaging_can_fail(pytestconfig: pytest.Config, plant: str, only: str) -> None:
    """Canary: a link that is followed, and tensors that are not compared, are each found."""
    code, found = counted(pytestconfig.rootpath, "damaging", "--folders", "8", "--only", only, "--plant", plant)
    assert code == 1
    assert found["wrong"] > 0


@pytest.mark.faults
@pytest.mark.slow
def test_harmed_ranks(pytestconfig: pytest.Config) -> None:
    """Of four ranks, one that is killed, not finite or has another bit in a weight is named; the run then goes on."""
    code, found = counted(pytestconfig.rootpath, "ranks", "--times", "1", "--pieces", "0", "--steps", "200")
    assert (code, found["wrong"]) == (0, 0), found["told"]
    assert found["tries"] == {"killed": 1, "not_finite": 1, "turned": 1, "uneven": 2}


@pytest.mark.faults
@pytest.mark.slow
def test_ranks_can_fail(pytestconfig: pytest.Config) -> None:
    """Canary: controllers that see each the loss of their own rank are found."""
    words = ("--times", "0", "--pieces", "0", "--steps", "200", "--plant", "own loss")
    code, found = counted(pytestconfig.rootpath, "ranks", *words)
    assert (code, found["wrong"]) == (1, 2), found["told"]
