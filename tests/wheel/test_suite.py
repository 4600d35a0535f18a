"""The suite's public part, against the wheel: what is tested is what a user installs, not this checkout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.wheel.conftest import ALL_LIGHT, Environment

# Tests that go through commands and public functions, and need no more than the light extras; in parts, so that
# workers can share them.
PUBLIC = {
    "machines": ("tests/machines", "tests/hostile"),
    "adapters": ("tests/plateau_rule/adapters", "tests/sim/testing", "tests/controller/test_shipped.py"),
    "commands": ("tests/plateau_rule/commands",),
}
LEFT_OUT = ("--ignore", "tests/plateau_rule/commands/test_train.py")  # needs torch
AROUND = ("tests", "docs", "curricula", "controller", "README.md", "pyproject.toml")  # what tests read as text


@pytest.mark.slow
@pytest.mark.parametrize("part", PUBLIC)
def test_public_part_of_the_suite(part: str, install: Callable[..., Environment], tmp_path: Path) -> None:
    """Tests that go through commands and public functions pass where only the wheel is installed."""
    for name in AROUND:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    environment = install(*ALL_LIGHT, packages=("pytest", "httpx2"))
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not source", *PUBLIC[part], *LEFT_OUT]
    done = environment.run("python", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    where = environment.run("python", "-c", "import plateau_rule; print(plateau_rule.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(environment.folder))
