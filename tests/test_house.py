"""The rooms stay apart, controller <- sim <- fftcore, and all of them reach whoever installs the project."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HEAVY = {"hypothesis", "matplotlib", "scipy", "torch"}


def loaded_by(statement: str) -> set[str]:
    """Name the top-level modules that a fresh interpreter holds after `statement`."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import plateau_rule.controller", HEAVY | {"numpy"}),
        ("import plateau_rule.sim", HEAVY),
        ("import plateau_rule.commands.app", HEAVY | {"numpy"}),
    ],
)
def test_light_start(statement: str, unwanted: set[str]) -> None:
    """A fresh interpreter shows that importing a room loads nothing which that room must do without."""
    assert loaded_by(statement) & unwanted == set()


def test_light_start_can_fail() -> None:
    """Canary: an interpreter that did import numpy is seen to hold it."""
    assert "numpy" in loaded_by("import plateau_rule.controller, numpy")


def contracts(root: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """Check the import contracts of `config` on the packages below `root`."""
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", lint, "--no-logo", "--no-cache", "--config", str(config)]
    wide = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, cwd=root, env=wide, capture_output=True, text=True, check=False)


def test_import_contracts(pytestconfig: pytest.Config) -> None:
    """No module imports a room that comes after its own, or a library that its room must do without."""
    result = contracts(pytestconfig.rootpath, pytestconfig.rootpath / "pyproject.toml")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("controller/controller.py", "from plateau_rule.sim import curves", "controller <- sim <- fftcore"),
        ("controller/controller.py", "import time", "controller: no torch"),
        ("controller/controller.py", "import numpy", "controller: no torch"),
        ("controller/controller.py", "import cyclopts", "controller: no torch"),
        ("sim/curves.py", "import cyclopts", "sim: no torch"),
        ("fftcore/train.py", "import cyclopts", "fftcore: pictures"),
        ("controller/errors.py", "import plateau_rule.controller.controller", "controller: file ->"),
        ("sim/curves.py", "def show():\n    import torch", "sim: no torch"),
        ("sim/curves.py", "import matplotlib.pyplot", "sim: no torch"),
        ("sim/curves.py", "import plateau_rule.sim.plots", "sim: logs and curves"),
        ("fftcore/train.py", "import matplotlib", "fftcore: pictures"),
    ],
)
def test_import_contracts_can_fail(
    tmp_path: Path, pytestconfig: pytest.Config, module: str, statement: str, broken: str
) -> None:
    """Canary: each contract is broken by a planted import."""
    for file in (
        "controller/__init__.py",
        "controller/controller.py",
        "sim/__init__.py",
        "sim/curves.py",
        "sim/plots.py",
        "fftcore/__init__.py",
        "commands/__init__.py",
        "__init__.py",
    ):
        (tmp_path / "plateau_rule" / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "plateau_rule" / file).touch()
    (tmp_path / "plateau_rule" / module).write_text(statement + "\n")
    result = contracts(tmp_path, pytestconfig.rootpath / "pyproject.toml")
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(broken in line and "BROKEN" in line for line in result.stdout.splitlines()), result.stdout


def test_constraints_pin_torch(pytestconfig: pytest.Config) -> None:
    """What `make setup` installs is pinned one by one, and torch to the version that the project is tested with."""
    lines = (pytestconfig.rootpath / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][extra] for extra in ("dev", "train", "plot", "test", "tune"))
    named = {need.partition(">")[0] for needs in (project["dependencies"], *extras) for need in needs}
    assert named <= pins.keys()
