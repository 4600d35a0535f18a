"""The command `plateau import`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from plateau_rule import load
from plateau_rule.commands import app as plateau

ARGUMENTS = "train --lr 1e-4 --lr-decay-style cosine --train-iters 1000 --lr-warmup-iters 10\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a script."""
    (tmp_path / "run.sh").write_text(ARGUMENTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_written_is_a_curriculum(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The file holds a curriculum in the layout of `fmt`, `check` finds nothing in it, and nothing else is printed."""
    assert plateau.main(["import", "run.sh", "-o", "run.toml"]) == 0
    assert capfd.readouterr() == ("", "")
    assert load("run.toml").lr.peak == 1e-4
    assert plateau.main(["fmt", "--check", "run.toml"]) == 0
    assert plateau.main(["check", "--strict", "run.toml"]) == 0


def test_standard_input_and_output(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` reads the standard input; without -o the curriculum is printed."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ARGUMENTS.encode())))
    assert plateau.main(["import", "-"]) == 0
    assert capfd.readouterr().out.startswith("# Imported from <stdin>, arguments of Megatron-LM")


def test_a_pipe_is_read(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """FILE may be a pipe, as `<(…)` of a shell is."""
    if not Path("/dev/fd").exists():
        pytest.skip("this system does not name pipes")
    read, write = os.pipe()
    os.write(write, ARGUMENTS.encode())
    os.close(write)
    try:
        assert plateau.main(["import", f"/dev/fd/{read}"]) == 0
    finally:
        os.close(read)
    assert "--lr 1e-4" in capfd.readouterr().out


def test_options_reach_the_import(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """--steps-per-epoch is for Transformers, --nearest for Megatron-LM."""
    (folder / "a.json").write_text('{"learning_rate": 1e-4, "num_train_epochs": 2.0}')
    assert plateau.main(["import", "a.json", "--steps-per-epoch", "50"]) == 0
    assert "steps_per_epoch = 50" in capfd.readouterr().out
    (folder / "b.sh").write_text("--lr 1 --train-samples 1000 --global-batch-size 16 --lr-warmup-samples 50")
    assert plateau.main(["import", "b.sh", "--nearest"]) == 0
    assert "at 64 samples for 50" in capfd.readouterr().out
    assert plateau.main(["import", "b.sh", "--steps-per-epoch", "50"]) == 2
    assert "--steps-per-epoch with arguments of Megatron-LM" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run.sh -o run.sh", "run.sh exists. Name a new file to write to; nothing was changed\n"),
        ("none.sh", "none.sh: No such file or directory\n"),
        (".", ". is a folder. Name a file with the arguments of a trainer\n"),
        ("run.sh --steps-per-epoch 0", "--steps-per-epoch 0; expected at least 1\n"),
        ("run.sh --near", "plateau import: unknown option --near. "),
    ],
)
def test_mistakes(folder: Path, capfd: pytest.CaptureFixture[str], words: str, said: str) -> None:
    """A file that would be replaced, or cannot be read, and a wrong option are said in a line."""
    assert plateau.main(["import", *words.split()]) == 2
    err = capfd.readouterr().err
    assert err.startswith(said)
    assert len(err.splitlines()) == 1
    assert (folder / "run.sh").read_text() == ARGUMENTS
