"""The rooms stay apart, controller <- sim <- fftcore <- plateau_rule; files stay short, extras are used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from plateau_rule.controller.extras import EXTRAS

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
        (
            "import plateau_rule.adapters.base",
            HEAVY | {"accelerate", "jax", "keras", "lightning", "optax", "transformers"},
        ),
        ("import plateau_rule.commands.app", HEAVY | {"numpy"}),
    ],
)
def test_light_start(statement: str, unwanted: set[str]) -> None:
    """A fresh interpreter shows that importing a room loads nothing which that room must do without."""
    assert loaded_by(statement) & unwanted == set()


def test_light_start_can_fail() -> None:
    """Canary: an interpreter that did import numpy is seen to hold it."""
    assert "numpy" in loaded_by("import plateau_rule.controller, numpy")


def test_plugin_is_light() -> None:
    """The plugin that every pytest of a user loads brings four small modules of ours, and nothing else."""
    code = (
        "import pytest, sys; old = {*sys.modules}; import plateau_rule.sim.testing.plugin; print(*{*sys.modules} - old)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    rooms = {"plateau_rule", "plateau_rule.sim", "plateau_rule.sim.testing", "plateau_rule.sim.testing.plugin"}
    assert set(loaded) <= rooms


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
        ("adapters/base.py", "import torch", "adapters: each framework"),
        ("adapters/pytorch.py", "import transformers", "adapters: each framework"),
        ("adapters/base.py", "from plateau_rule.fftcore import train", "controller <- sim <- fftcore"),
        ("sim/curves.py", "from plateau_rule.adapters import base", "controller <- sim <- fftcore"),
        ("fftcore/train.py", "import cyclopts", "fftcore: pictures"),
        ("sim/curves.py", "from plateau_rule.page import server", "controller <- sim <- fftcore"),
        ("page/server.py", "from plateau_rule.fftcore import train", "controller <- sim <- fftcore"),
        ("fftcore/train.py", "from plateau_rule.trials import probe", "controller <- sim <- fftcore"),
        ("sim/curves.py", "import starlette", "page: the server"),
        ("controller/errors.py", "import plateau_rule.controller.controller", "controller: values ->"),
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
        "fftcore/train.py",
        "adapters/__init__.py",
        "adapters/base.py",
        "adapters/pytorch.py",
        "commands/__init__.py",
        "page/__init__.py",
        "page/server.py",
        "trials/__init__.py",
        "trials/probe.py",
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


def pyproject(root: Path) -> dict[str, dict[str, list[str]]]:
    """What pyproject.toml says of the project."""
    found: dict[str, dict[str, list[str]]] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return found


@cache
def imports_of(file: Path) -> set[str]:
    """The top-level modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def sources(root: Path, *rooms: str) -> list[Path]:
    """Every module of these rooms, under its own path and not through a link."""
    return sorted(path for room in rooms for path in (root / room).rglob("*.py") if "__pycache__" not in path.parts)


HOUSE = (
    "controller",
    "sim",
    "fftcore",
    "plateau_rule/adapters",
    "plateau_rule/commands",
    "plateau_rule/language_server",
    "plateau_rule/page",
    "plateau_rule/trials",
    "benchmarks",
)
# Needed by another of its packages, which imports it.
BROUGHT_ALONG = {"accelerate"}  # by the Trainer of transformers
CALLED = {"PyYAML": "yaml"}  # what is imported has another name than what is installed


@pytest.mark.parametrize(
    "extra", ["train", "plot", "test", "tune", "compare", "lsp", "page", "ray", "yaml", "frameworks"]
)
def test_extras_are_used(extra: str, pytestconfig: pytest.Config) -> None:
    """Every package of an extra is imported: by the rooms, or by the tests where the extra is for them alone."""
    root = pytestconfig.rootpath
    needs = pyproject(root)["optional-dependencies"][extra]
    files = sources(root, *(("tests",) if extra == "frameworks" else HOUSE[:-1]))
    imported = {name for file in files for name in imports_of(file)}
    packages = {need.partition(">")[0] for need in needs}
    assert {CALLED.get(package, package) for package in packages} - BROUGHT_ALONG <= imported


def test_missing_extras_are_named(pytestconfig: pytest.Config) -> None:
    """The command knows, for every package of a user's extra, which extra brings it."""
    extras = pyproject(pytestconfig.rootpath)["optional-dependencies"]
    packages = {extra: {need.partition(">")[0] for need in needs} for extra, needs in extras.items()}
    brings = {extra: {CALLED.get(package, package) for package in found} for extra, found in packages.items()}
    assert all(package in brings[extra] for package, extra in EXTRAS.items())
    assert EXTRAS.keys() == set.union(
        *(
            brings[extra]
            for extra in [
                "train",
                "plot",
                "test",
                "tune",
                "compare",
                "lsp",
                "page",
                "ray",
                "yaml",
                "mlflow",
                "tensorboard",
                "trackio",
                "wandb",
            ]
        )
    )


# A file below 400 lines, a function below 60; what is longer says why.
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
LONGER = {
    "controller/language/codes.py": "a table: one entry for each code of a fault",
    "controller/verifier/zone_graph.py": "one algorithm, with the argument why it is right beside it",
    "sim/logs/reading.py::_finish": "what is said of a log, in the order in which it is said",
}


def sizes(root: Path) -> dict[str, tuple[int, int]]:
    """The lines of every file and function of the house, and how many it must stay below."""
    found = {}
    for file in sources(root, *HOUSE):
        name, text = file.relative_to(root).as_posix(), file.read_text()
        found[name] = (len(text.splitlines()), LONGEST_FILE)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                found[f"{name}::{node.name}"] = (node.end_lineno - node.lineno + 1, LONGEST_FUNCTION)
    return found


def test_sizes(pytestconfig: pytest.Config) -> None:
    """A file has fewer than 400 lines and a function fewer than 60, except for a few with a written reason."""
    too_long = {name: size for name, (size, limit) in sizes(pytestconfig.rootpath).items() if size >= limit}
    assert {name: size for name, size in too_long.items() if name not in LONGER} == {}, "shorten, or give a reason"
    assert LONGER.keys() - too_long.keys() == set(), "these are short now: take them out of LONGER"
