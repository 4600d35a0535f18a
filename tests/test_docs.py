"""What docs/testing.md shows is what its files say and its commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "testing.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "…"


def blocks(kind: str) -> list[str]:
    """The page's blocks of a kind."""
    return [text for word, text in BLOCK.findall(PAGE.read_text()) if word == kind]


def printed(command: str, folder: Path) -> list[str]:
    """What a command of the page prints, where the examples lie in `folder`, without durations and rules of dashes."""
    copytree(ROOT / "docs" / "examples", folder / "docs" / "examples", ignore=ignore_patterns("__pycache__", ".*"))
    words = command.split()
    module = {"pytest": ["-m", "pytest", "-p", "no:cacheprovider"], "plateau": ["-m", "plateau_rule"]}[words[0]]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    env["CI"] = "1"  # hypothesis then draws the same every time
    done = subprocess.run(
        [sys.executable, *module, *words[1:]], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return [plain(line) for line in (done.stdout + done.stderr).splitlines()]


def plain(line: str) -> str:
    """A line without its duration, and with rules of one length."""
    return re.sub(r"_{5,}", "_____", re.sub(r" in [0-9.]+s$", "", line.rstrip()))


@pytest.mark.parametrize("name", ["mine.toml", "mine.test.toml", "test_mine.py"])
def test_files_are_shown_as_they_are(name: str) -> None:
    """Each example on the page is, word for word, the file that lies beside it."""
    text = (ROOT / "docs" / "examples" / name).read_text()
    assert text in blocks("python" if name.endswith(".py") else "toml")


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.split("\n")[0])
def test_commands_print_what_is_shown(block: str, tmp_path: Path) -> None:
    """Each command on the page prints the lines that stand below it, in that order; an ellipsis stands for others."""
    first, *shown = block.splitlines()
    found = iter(printed(first.removeprefix("$ "), tmp_path))
    for line in shown:
        if line != LEFT_OUT:
            assert plain(line) in found
