"""The installed project beside a user's own modules of everyday names: neither takes the other's."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.wheel import user
from tests.wheel.conftest import ALL_LIGHT, Environment

pytestmark = pytest.mark.slow
Install = Callable[..., Environment]

OWN = ("controller.py", "plateau.py", "fftcore.py", "sim/__init__.py", "curricula/__init__.py", "commands/__init__.py")
OWN_TEST = '''
from controller import Controller
import curricula, fftcore, plateau, sim
import plateau_rule


def test_both_are_there():
    """The user's modules are the user's, and the project's are the project's."""
    assert Controller == fftcore.Controller == plateau.Controller == sim.Controller == "mine"
    assert plateau_rule.load("plateau").name == "plateau"
    assert plateau_rule.Controller != Controller
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's project, which has modules of the names that this project's rooms have in a checkout."""
    user.write(tmp_path)
    for name in OWN:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('Controller = "mine"\n')
    (tmp_path / "curricula" / "easy.toml").write_text((tmp_path / "mine.toml").read_text())
    (tmp_path / "test_mine.py").write_text(OWN_TEST)
    return tmp_path


@pytest.fixture
def environment(install: Install) -> Environment:
    """The wheel with its light extras, and pytest."""
    return install(*ALL_LIGHT, packages=("pytest", "httpx2"))


@pytest.mark.parametrize(
    "command", [name for name in user.USES if name not in ("lsp", "page", "train", *user.RUN, *user.TRAINED)]
)
@pytest.mark.parametrize("program", ["plateau", "python -m plateau_rule"], ids=["plateau", "python"])
def test_every_command_beside_own_modules(command: str, program: str, environment: Environment, folder: Path) -> None:
    """Every command does what it is for in a folder with a controller.py, a sim/ and a curricula/."""
    done = environment.run(*program.split(), *user.USES[command].split(), cwd=folder)
    assert (done.returncode, user.complaints(done.stderr)) == (0, ""), done.stdout


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_train_beside_own_modules(install: Install, folder: Path) -> None:
    """`plateau train` trains there as well, and what was trained is used."""
    environment = install("plot", name="train", borrow_torch=True)
    for command in ("train", *user.RUN, *user.TRAINED):
        done = environment.run("python", "-m", "plateau_rule", *user.USES[command].split(), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "run" / "metrics.jsonl").exists()
    assert (folder / "model" / "config.json").exists()


@pytest.mark.parametrize("program", ["pytest", "python -m pytest"])
def test_pytest_beside_own_modules(program: str, environment: Environment, folder: Path) -> None:
    """A user's tests run with the plugin installed, and import the user's modules and this project's."""
    done = environment.run(*program.split(), "test_mine.py", cwd=folder)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("program", ["pytest", "python -m pytest"])
def test_curricula_beside_own_modules(program: str, environment: Environment, folder: Path) -> None:
    """`pytest --curricula` tests the user's `curricula/`, not the shipped ones."""
    words = ["--curricula", "curricula", "--curricula-examples", "2", "-k", "sound", "-v"]
    done = environment.run(*program.split(), *words, cwd=folder)
    assert "easy.toml::sound PASSED" in done.stdout, done.stdout + done.stderr
    assert "1 passed" in done.stdout
