"""`pytest --curricula DIR` tests the curricula of a folder, and shows the shortest stream that breaks one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plateau_rule.controller.language.reading import shipped
from plateau_rule.sim.testing.collection import Stretched

SMALL = ("epochs          = 50", "epochs          = 8"), ("steps_per_epoch = 1000", "steps_per_epoch = 200")


def curricula(folder: Path, *names: str) -> Path:
    """A folder with these shipped curricula, in runs of 8 short epochs."""
    folder.mkdir()
    for name in names:
        text = shipped()[name].read_text()
        for old, new in SMALL:
            text = text.replace(old, new)
        (folder / f"{name}.toml").write_text(text)
    return folder


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a folder from an empty directory, as a user would who has no tests of their own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--curricula", str(folder), *words]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return subprocess.run(command, cwd=folder.parent, env=env, capture_output=True, text=True, check=False)


def test_sound_curricula_pass(tmp_path: Path) -> None:
    """A sound curriculum passes every property; what cannot hold for every stream is skipped, with the reason."""
    folder = curricula(tmp_path / "mine", "plateau", "full")
    found = run_pytest(folder, "-rs", "--curricula-examples", "4")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "9 passed, 1 skipped" in found.stdout
    assert "not for every loss stream" in found.stdout


def test_bound_as_the_trainer_would(tmp_path: Path) -> None:
    """Length, peak and limits come from options; what is no length is refused with the option's name."""
    folder = tmp_path / "mine"
    folder.mkdir()
    text = shipped()["full"].read_text().split("[run]")
    (folder / "full.toml").write_text(text[0] + "[lr]" + text[1].partition("[lr]")[2])
    words = ["-rs", "--curricula-examples", "2", "-k", "aligned or never"]
    assert "2 passed" not in run_pytest(folder, *words).stdout
    length = ["--curricula-epochs", "60", "--curricula-steps-per-epoch", "20", "--curricula-peak", "0.5"]
    found = run_pytest(folder, *words, *length)
    assert "2 passed" in found.stdout, found.stdout
    found = run_pytest(folder, *words, "--curricula-epochs", "0")
    assert "ERROR: --curricula-epochs: 0; expected a whole number of at least 1" in found.stderr, found.stderr
    assert found.stdout == ""  # told once, before anything runs
    found = run_pytest(folder, *words, "--curricula-limit", "cutoff")
    assert 'ERROR: --curricula-limit "cutoff"; expected KNOB=NUMBER' in found.stderr, found.stderr


def test_a_misaligned_curriculum_fails_with_its_stream(tmp_path: Path) -> None:
    """A raise into a decayed rate fails; the shortest stream and what happened in it are shown, and no traceback."""
    found = run_pytest(
        curricula(tmp_path / "mine", "misaligned"), "--curricula-examples", "5", "-k", "sound or aligned"
    )
    assert found.returncode == 1
    assert "2 failed" in found.stdout
    assert "cutoff rises from 128 to 256 while the rate is at 68.9 % of the peak" in found.stdout
    assert "69% of the peak 0.0002, and 95% was asked" in found.stdout
    assert "losses=<" in found.stdout
    assert "Traceback" not in found.stdout


def test_scenarios_are_tests(tmp_path: Path) -> None:
    """Scenario files beside the curricula are carried out, one test for each scenario."""
    folder = curricula(tmp_path / "mine", "plateau")
    (folder / "plateau.test.toml").write_text(
        'curriculum = "plateau.toml"\n'
        '[[scenario]]\nname = "waits"\nlosses = ["flat 3 for 1 epoch"]\nexpect = [{ raises = 0 }]\n'
        '[[scenario]]\nname = "is wrong"\nlosses = ["flat 3 for 2 epochs"]\nexpect = [{ raises = 0 }]\n'
    )
    found = run_pytest(folder, "-v", "-k", "waits or wrong")
    assert "plateau.test.toml::waits PASSED" in found.stdout
    assert "plateau.test.toml::is wrong FAILED" in found.stdout
    assert "expected 0 transitions, found 1" in found.stdout


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    """A folder that is not there, a file that is no curriculum, and a scenario file that is none are said in words."""
    assert "there is no such folder" in run_pytest(tmp_path / "none").stderr
    folder = curricula(tmp_path / "mine")
    (folder / "bad.toml").write_text('nam = "x"\n')
    said = run_pytest(folder / "bad.toml").stderr
    assert "it is a file. Give its folder, and -k bad.toml for this file" in said
    (folder / "bad.test.toml").write_text("curriculum = 3\n")
    found = run_pytest(folder, "-k", "sound", "--continue-on-collection-errors")
    assert 'Did you mean "name"?' in found.stdout
    assert "bad.test.toml:1:14: found 3; expected a text in quotation marks" in found.stdout
    shutil.rmtree(folder)


def test_without_the_option_nothing_is_collected(tmp_path: Path) -> None:
    """The plugin leaves other people's TOML files alone."""
    folder = curricula(tmp_path / "mine", "plateau")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no tests ran" in found.stdout


@pytest.mark.parametrize(("few", "steps", "times"), [((1.0,), 5, 5), ((1.0, 2.0), 5, 3), ((1.0, 2.0, 3.0), 2, 1)])
def test_a_stretched_stream_fills_the_run(few: tuple[float, ...], steps: int, times: int) -> None:
    """Each loss is repeated as often as it takes, and the stream prints as what it is made of."""
    stream = Stretched.of(few, steps)
    assert list(stream) == [loss for loss in few for _ in range(times)]
    assert f"each of them {times} times" in repr(stream)
