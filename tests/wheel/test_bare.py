"""The bare wheel, and the wheel with each light extra: what a user of it can do."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from plateau_rule.commands.app import COMMANDS
from tests.wheel import user
from tests.wheel.conftest import Environment, install_into

pytestmark = pytest.mark.slow
Install = Callable[..., Environment]


def test_every_command_is_used() -> None:
    """The list of what commands are for leaves out none."""
    assert user.USES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", [name for name in user.USES if name not in (*user.EXTRAS, *user.RUN)])
def test_bare_wheel(command: str, install: Install, tmp_path: Path) -> None:
    """Without any extra, every command that needs none does what it is for."""
    user.write(tmp_path)
    done = install().run("plateau", *user.USES[command].split(), cwd=tmp_path)
    assert (done.returncode, user.complaints(done.stderr)) == (0, ""), done.stdout


@pytest.mark.parametrize("command", user.RUN)
def test_without_a_run(command: str, install: Install, tmp_path: Path) -> None:
    """What takes a run and no extra says that there is none, as it does where torch is installed."""
    user.write(tmp_path)
    done = install().run("plateau", *user.USES[command].split(), cwd=tmp_path)
    assert done.returncode == 2
    wanted = "here to branch off." if command == "branch" else "to resume here."
    assert done.stderr.startswith(f"run: there is no run {wanted}"), done.stderr


@pytest.mark.parametrize("command", user.EXTRAS)
def test_missing_extra(command: str, install: Install, tmp_path: Path) -> None:
    """A command whose extra is missing says in one sentence how to get it."""
    user.write(tmp_path)
    done = install().run("plateau", *user.USES[command].split(), cwd=tmp_path)
    assert done.returncode == 2
    assert f"plateau-rule[{user.EXTRAS[command]}]" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_bare_wheel_is_light(install: Install, tmp_path: Path) -> None:
    """The bare wheel brings neither torch nor matplotlib, and `import plateau_rule` gives the Controller."""
    found = (
        "from importlib.util import find_spec; import plateau_rule; plateau_rule.Controller; "
        "print([name for name in ('torch', 'matplotlib', 'hypothesis', 'optuna', 'pytest') if find_spec(name)])"
    )
    assert install().run("python", "-c", found, cwd=tmp_path).stdout == "[]\n"


@pytest.mark.parametrize("extra", ["plot", "tune"])
def test_light_extra(extra: str, install: Install, tmp_path: Path) -> None:
    """With its extra, the command that needs one does what it is for."""
    user.write(tmp_path)
    done = install(extra).run("plateau", *user.USES[extra].split(), cwd=tmp_path)
    assert (done.returncode, user.complaints(done.stderr)) == (0, ""), done.stdout


def test_extra_test(install: Install, tmp_path: Path) -> None:
    """With the extra `test`, pytest tests a folder of curricula."""
    user.write(tmp_path)
    words = ["--curricula", ".", "--curricula-examples", "2", "-k", "sound or waits"]
    done = install("test", packages=("pytest",)).run("pytest", *words, cwd=tmp_path)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_advice_on_a_missing_extra_works(install: Install, tmp_path: Path) -> None:
    """What that sentence says to run installs the extra into an environment that holds the wheel."""
    user.write(tmp_path)
    environment = install(name="advised")
    said = environment.run("plateau", *user.USES["plot"].split(), cwd=tmp_path).stderr
    pip, *words = shlex.split(said.partition(": ")[2])
    assert pip == "pip"
    install_into(environment, *words[1:])
    assert environment.run("plateau", *user.USES["plot"].split(), cwd=tmp_path).returncode == 0
