"""`--words` and `[tool.plateau]`: guards of a user's own for any command, and nothing else that is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plateau_rule.commands.options import UsageError
from plateau_rule.commands.words import take_words, words_of_project

WORDS = '''
from plateau_rule import OwnGuard, register_guard


@register_guard("small")
class Small(OwnGuard):
    """The last value is small."""

    value: float = 2.0

    def push(self, memory, value):
        memory[:] = [value]

    def holds(self, memory):
        return memory[0] < self.value
'''
FILE = """
format = 1
name = "mine"
[run]
epochs = 4
steps_per_epoch = 100
[lr]
peak = 1e-3
[knob.n]
ladder = [1, 2]
[[state]]
name = "a"
set = { n = 1 }
[[state]]
name = "b"
set = { n = 2 }
[[transition]]
from = "*"
to = "next"
guards = [{ small = { value = 1.5 } }]
actions = ["lr_restart"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a curriculum, a file of words, a log of falling losses."""
    (tmp_path / "mine.toml").write_text(FILE)
    (tmp_path / "my_words.py").write_text(WORDS)
    (tmp_path / "log.csv").write_text("step,loss\n" + "".join(f"{i},{4 - 0.01 * i}\n" for i in range(400)))
    return tmp_path


def plateau(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command there."""
    return subprocess.run(
        [sys.executable, "-m", "plateau_rule", *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_words_are_split_from_the_command() -> None:
    """The option may stand before or behind the command; what follows `--` is the command's."""
    assert take_words(["--words", "a.py", "check", "--words=b.py", "x"]) == (["check", "x"], ["a.py", "b.py"])
    assert take_words(["replay", "--", "--words", "x"]) == (["replay", "--", "--words", "x"], [])
    for words in (["--words"], ["--words", "--json"], ["--words="]):
        with pytest.raises(UsageError, match="name the Python file"):
            take_words(words)


def test_a_replay_and_a_simulation_run_the_guard(folder: Path) -> None:
    """A log is replayed through it, and simulations in other processes know the word too."""
    replayed = plateau(folder, "replay", "mine.toml", "log.csv", "--words", "my_words.py", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert '"step": 252' in replayed.stdout or '"step": 251' in replayed.stdout
    simulated = plateau(folder, "--words", "my_words.py", "simulate", "mine.toml", "--learners", "8", "--workers", "2")
    assert simulated.returncode == 0, simulated.stderr


def test_a_project_names_its_words_once(folder: Path) -> None:
    """`[tool.plateau]` of the nearest pyproject.toml is used from any folder below, and only by what it names."""
    assert plateau(folder, "check", "mine.toml").returncode == 2
    (folder / "pyproject.toml").write_text('[tool.plateau]\nwords = ["my_words.py"]\n')
    below = folder / "runs"
    below.mkdir()
    assert plateau(below, "check", "../mine.toml").returncode == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool.plateau]\nword = []\n", r'found the key word; expected words = \["my_words.py"\]'),
        ('[tool.plateau]\nwords = "my_words.py"\n', "expected a list of paths"),
        ("[tool]\nplateau = 3\n", "expected words"),
    ],
)
def test_a_project_that_says_something_else_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    """A misspelt key, a text for a list: said with the file."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        words_of_project(tmp_path)


@pytest.mark.parametrize("text", ["", "[tool.ruff]\n", "not toml, plateau", '[tool.other]\nname = "plateau"\n'])
def test_other_projects_are_left_alone(tmp_path: Path, text: str) -> None:
    """A file without our table, even a broken one, names nothing."""
    (tmp_path / "pyproject.toml").write_text(text)
    assert words_of_project(tmp_path) == []


def test_a_file_that_fails_has_no_traceback(folder: Path) -> None:
    """The user's mistake is one sentence with file and line, exit code 2."""
    (folder / "my_words.py").write_text("x = 1\nraise KeyError('y')\n")
    done = plateau(folder, "check", "mine.toml", "--words", "my_words.py")
    assert (done.returncode, done.stderr) == (2, "--words my_words.py:2: KeyError: 'y'\n")


def test_ray_is_told_of_guards_of_ones_own(folder: Path) -> None:
    """Where simulations would go to other machines, which lack the file, that is said before anything runs."""
    done = plateau(folder, "simulate", "mine.toml", "--words", "my_words.py", "--learners", "8", "--engine", "ray")
    assert done.returncode == 2
    assert "guards of your own are known on this machine alone" in done.stderr
