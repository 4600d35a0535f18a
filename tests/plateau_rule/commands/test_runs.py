"""`plateau runs`: every run and checkpoint, verified or why not; nothing is written, nothing outside is read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the runs that are listed are trained with torch")

from plateau_rule import Binding, Controller, load
from plateau_rule.commands import app as plateau
from plateau_rule.sim.run_folder import RunFolder
from tests.faults.damaging import tree
from tests.fftcore.micro import rows, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a micro run."""
    out = tmp_path_factory.mktemp("trained") / "micro"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert run(out) == 0
    return out


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of it; lines may be as long as they are."""
    monkeypatch.delenv("COLUMNS", raising=False)
    shutil.copytree(trained, tmp_path / "runs" / "micro")
    return tmp_path / "runs"


def listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the runs as JSON; the folder must stay as it was."""
    before = tree(folder)
    capsys.readouterr()
    code = plateau.main(["runs", str(folder), "--json"])
    assert tree(folder) == before
    return code, json.loads(capsys.readouterr().out)["runs"]


def test_what_is_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each checkpoint: its step, state, knobs, last evaluation, size, and that it is verified."""
    assert plateau.main(["runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'{runs / "micro"}: "micro", 32 steps, by plateau train'
    scores = [row["val_bpb"] for row in rows(runs / "micro" / "metrics.jsonl") if "val_bpb" in row]
    assert [line.split() for line in lines[1:]] == [
        f"step {step} full cutoff 1025 {score:.4f} bits/byte 0.1 MB verified".split()
        for step, score in ((25, scores[2]), (30, scores[2]), (32, scores[3]))
    ]


def test_as_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as JSON, with paths and bytes; a run's own folder may be named too."""
    code, (found,) = listed(runs, capsys)
    assert (code, found["curriculum"], found["steps"], found["damage"]) == (0, "micro", 32, None)
    commit = found["commits"][-1]
    path = runs / "micro" / "checkpoints" / "step-00000032"
    assert (commit["step"], commit["state"], commit["knobs"], commit["damage"]) == (32, "full", {"cutoff": 1025}, None)
    assert commit["path"] == str(path)
    assert commit["bytes"] == sum(file.stat().st_size for file in path.iterdir())
    assert listed(runs / "micro", capsys) == (0, [found])


def test_damaged(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint with a changed byte, a link and a file in its place are said to be damaged, each with its reason."""
    folder = runs / "micro" / "checkpoints"
    weights = folder / "step-00000025" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (folder / "step-00000026").symlink_to("step-00000032")
    (folder / "step-00000027").write_bytes(b"x")
    (folder / "damaged-step-00000020").mkdir()
    code, (found,) = listed(runs, capsys)
    assert code == 1
    assert [(commit["step"], commit["damage"]) for commit in found["commits"]] == [
        (25, "weights.safetensors was changed after it was written: its SHA-256 differs"),
        (26, "it is a link, and no link is followed"),
        (27, "not a folder that a commit was saved in"),
        (30, None),
        (32, None),
    ]
    assert found["damage"] is None
    assert found["set_aside"] == ["damaged-step-00000020"]
    plateau.main(["runs", str(runs)])
    assert "damaged: weights.safetensors was changed after" in capsys.readouterr().out


def test_what_is_around_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that was cut, another record, a record that is a pipe, and checkpoints that are a link: each is said."""
    log = runs / "micro" / "metrics.jsonl"
    content = log.read_bytes()
    log.write_bytes(content[: content.index(b'"step": 31')])
    code, (found,) = listed(runs, capsys)
    assert [commit["damage"] for commit in found["commits"]] == [None, None, "metrics.jsonl does not begin as it says"]
    log.write_bytes(content.replace(b'"step": 3,', b'"step": 4,'))
    code, (found,) = listed(runs, capsys)
    assert (code, found["damage"]) == (1, "no checkpoint is whole")
    log.unlink()
    os.mkfifo(log)
    assert listed(runs, capsys)[1][0]["damage"] == "no checkpoint is whole"
    (runs / "micro" / "run.json").unlink()
    os.mkfifo(runs / "micro" / "run.json")
    assert "run.json is not a regular file" in listed(runs, capsys)[1][0]["damage"]
    (runs / "micro" / "run.json").unlink()
    code, (found,) = listed(runs, capsys)
    assert code == 1
    assert "there is no run to resume here" in found["damage"]
    assert len(found["commits"]) == 3
    shutil.move(runs / "micro" / "checkpoints", runs.parent / "elsewhere")
    (runs / "micro" / "run.json").write_text("{}")
    (runs / "micro" / "checkpoints").symlink_to(runs.parent / "elsewhere")
    assert listed(runs, capsys)[1][0]["commits"] == []


def test_of_other_trainers(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that an adapter wrote is listed by its trainer's name; runs below are found, links not followed."""
    controller = Controller(load("plateau"), Binding({"cutoff": 1025}))
    RunFolder(runs / "a" / "b", controller, 0, "a-trainer").close()
    (runs / "again").symlink_to(runs / "micro")
    code, found = listed(runs, capsys)
    assert code == 0
    assert [(one["folder"], one["trainer"]) for one in found] == [
        (str(runs / "a" / "b"), "a-trainer"),
        (str(runs / "micro"), "plateau train"),
    ]


@pytest.mark.parametrize(("name", "sentence"), [("absent", "there is no folder"), (".", "no run is here or below")])
def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, sentence: str) -> None:
    """A folder that is missing, or holds no run, is one sentence."""
    assert plateau.main(["runs", str(tmp_path / name)]) == 2
    assert sentence in capsys.readouterr().err


def test_it_needs_no_torch(runs: Path) -> None:
    """Runs are listed where no torch is installed."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None; "
        f"from plateau_rule.commands.app import main; sys.exit(main(['runs', {str(runs)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified" in done.stdout
