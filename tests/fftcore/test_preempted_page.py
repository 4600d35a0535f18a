"""What docs/preempted.md shows works as it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.fftcore.signals import ENDING
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "preempted.md"
SRUN = '#!/bin/bash\nprintf "%s\\n" "$*" >> ran\nexit "$CODE"\n'
SCONTROL = '#!/bin/bash\nprintf "%s\\n" "$*" >> requeued\n'


def block(kind: str, start: str) -> str:
    """The page's block of a kind that begins so."""
    found = re.findall(rf"^```{kind}\n({re.escape(start)}.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found[0])


@pytest.mark.parametrize(("code", "again"), [(0, False), (138, True), (143, False), (2, False), (130, False)])
def test_slurm_script(tmp_path: Path, code: int, again: bool) -> None:
    """The script puts its job back into the queue after Slurm's warning alone, and ends as the run did."""
    for name, content in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": str(code), "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "-c", block("bash", "#!")], cwd=tmp_path, env=env, check=False)
    assert done.returncode == code
    assert "--resume auto" in (tmp_path / "ran").read_text()
    assert (tmp_path / "requeued").exists() == again
    if again:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"


def test_options_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of options is one that is taken: what is missing is the curriculum that it names."""
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(block("toml", "curriculum"))
    assert plateau.main(["train", "--config", "run.toml"]) == 2
    assert 'there is no curriculum "mine.toml"' in capsys.readouterr().err


def test_exit_codes() -> None:
    """The page names the exit code of each signal that ends a run."""
    told = {int(code) for codes in re.findall(r"^\| ([\d, ]+) \|", PAGE.read_text(), re.M) for code in codes.split(",")}
    assert {128 + number for number in ENDING} <= told
