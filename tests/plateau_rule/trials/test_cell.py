"""What a trainer may get wrong: each is said in words of its own, and nothing is taken for a curve that is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plateau_rule import loads
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.trials.budget import TrainingBudget, TrialError
from plateau_rule.trials.cell import LOG, Cell, command_of, main
from plateau_rule.trials.curve import read_curve
from plateau_rule.trials.pool import logged, train_cells
from plateau_rule.trials.rungs import constant
from plateau_rule.trials.trainer import Trainer
from tests.plateau_rule.trials.toy import LADDER

FINE = '[{"step": "20", "score": 0.5}, {"step": 40.0, "score": 0.4}]'


def cell(trainer: str) -> Cell:
    """A training on the finest grid."""
    held = constant(loads(LADDER), {"grid": 64}, "fine")
    return Cell(held, Trainer.read(trainer), 0, TrainingBudget.read("400 steps"))


def function(folder: Path, body: str) -> Cell:
    """A training by a function of that body."""
    (folder / "mine.py").write_text(f"import os, sys\n\n\ndef train(curriculum, budget, seed):\n    {body}\n")
    return cell(f"{folder / 'mine.py'}:train")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return [[20, 0.5]]", 'found [20, 0.5]; expected a curve of points such as {"step": 100,'),
        ("return [{'step': 'last', 'score': 0.5}]", "expected numbers in a curve of points"),
        ("return [{'score': 0.5}]", "found {'score': 0.5}; expected a curve of points"),
        ("return []", "found no point"),
        ("sys.exit(0)", "the trainer ended by sys.exit(0), and gave no curve"),
        ("os._exit(0)", "its process ended with 0, without a curve"),
        (
            "print('warm'); sys.stdout.flush(); os._exit(3)",
            "its process ended with 3, without a curve; its last words: ",
        ),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL (a system that runs out of memory does that)"),
        (r"raise RuntimeError('CUDA error\n\nCompile with TORCH_USE_CUDA_DSA')", "RuntimeError: CUDA error\n"),
        (r"raise RuntimeError('\x1b[31mred')", "RuntimeError: \N{REPLACEMENT CHARACTER}[31mred"),
    ],
)
def test_a_function_that_fails(tmp_path: Path, body: str, said: str) -> None:
    """Whatever a function gives that is no curve, and however it ends, the sentence says it, in one line."""
    with pytest.raises(TrialError) as failure:
        train_cells([function(tmp_path, body)], tmp_path)
    assert said in str(failure.value)
    assert "Traceback" not in str(failure.value)


@pytest.mark.parametrize(
    ("wrote", "code", "said"),
    [
        ("[1, 2]\n", 0, "found [1, 2]; expected a curve"),
        (
            '{"step": 20, "score": 0.5}\n{"step": 40, "sc',
            0,
            'line 2 of what the command wrote is no JSON: {"step": 40, ',
        ),
        ("step,score\n", 0, "line 1 of what the command wrote is no JSON: step,score; expected a curve"),
        ("", 7, "Error: no device (the command ended with 7)"),
        ("", -9, "Error: no device (the command was ended by SIGKILL"),
    ],
)
def test_a_command_that_fails(tmp_path: Path, wrote: str, code: int, said: str) -> None:
    """What a command wrote is shown with its line; where it failed, so are its own last words."""
    (tmp_path / "mine.py").write_text(
        "import os, sys\n"
        f"open(sys.argv[1], 'w').write({wrote!r})\n"
        f"if {code}:\n    print('Error: no device', file=sys.stderr)\n"
        f"os.kill(os.getpid(), 9) if {code} < 0 else sys.exit({code})\n"
    )
    words = f"{sys.executable} {tmp_path / 'mine.py'} {{out}} {{seed}} {{curriculum}}"
    with pytest.raises(TrialError) as failure:
        train_cells([cell(words)], tmp_path)
    assert said in str(failure.value)


def test_numbers_may_be_spelt_as_texts(tmp_path: Path) -> None:
    """A step that is a text or a float counts as the number that it spells, also in tokens and cost."""
    folder = function(tmp_path, f"return {FINE}").write(tmp_path)
    assert main(folder) == 0
    curve = read_curve(folder / "curve.jsonl")
    assert curve.spent["step"].tolist() == [20, 40]
    assert curve.spent["cost"].tolist() == [20, 40]


def test_a_command_that_comes_second_leaves_the_log(tmp_path: Path) -> None:
    """Who finds a cell trained by another leaves what that one printed; who trains it again begins the log anew."""
    failing = function(tmp_path, "print('first'); raise RuntimeError('the device is lost')")
    folder = failing.write(tmp_path)
    for _ in range(2):
        assert logged(command_of(folder), folder / LOG) == 1
        assert (folder / LOG).read_text().count("first\n") == 1
    trained = function(tmp_path, f"print('whole'); return {FINE}")
    folder = trained.write(tmp_path)
    for _ in range(2):
        assert logged(command_of(folder), folder / LOG) == 0
        assert (folder / LOG).read_text() == "whole\n"


@pytest.mark.parametrize(("words", "preset"), [("", "tiny"), ("--preset base", "base"), ("--preset=base", "base")])
def test_a_release_with_another_preset_trains_anew(monkeypatch: pytest.MonkeyPatch, words: str, preset: str) -> None:
    """A cell of the byte model is another one where its preset is, and the same where only the others have changed."""
    trainer = f"fftcore {words}".strip()
    before, other = cell(trainer).name, "base" if preset == "tiny" else "tiny"
    monkeypatch.setitem(PRESETS, other, PRESETS[other].model_copy(update={"weight_decay": 0.2}))
    assert cell(trainer).name == before
    monkeypatch.setitem(PRESETS, preset, PRESETS[preset].model_copy(update={"weight_decay": 0.2}))
    assert cell(trainer).name != before
