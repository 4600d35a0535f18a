"""Every option that a page, a docstring or a message names is one of the command that it is said of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from plateau_rule.commands.app import COMMANDS, app
from tests.conftest import ROOT

pytestmark = pytest.mark.source

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "curricula" / "README.md", ROOT / "Makefile"])
SOURCES = sorted(
    path
    for room in ("benchmarks", "controller", "fftcore", "plateau_rule", "sim")
    for path in ROOT.glob(f"{room}/**/*.py")
)
CALL = re.compile(r"(?:\bplateau|plateau_rule|fftcore\.(?P<trainer>run)) (?P<command>[a-z]+)\b(?P<rest>[^`\n|]*)")
SPAN = re.compile(r"(?<!`)`(--?[a-z][^`\n]*)`")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# Options that pages name without their program: torchrun's, Megatron-LM's, and those that pytest gets from a loop.
OTHERS = re.compile(
    r"--(shutdown-timeout|node-rank|lr|min-lr|train-|seq-length|global-batch|rampup|step-batch|decrease|curricula-)"
)


def options_of(command: str) -> set[str]:
    """The words of a command that begin with a dash."""
    return {name for one in app[command].assemble_argument_collection() for name in one.names} | {"--help", "--words"}


OPTIONS = {command: options_of(command) for command in COMMANDS}
# Those of benchmarks and tests, and of the plugin for pytest, as each adds them.
ELSEWHERE = {
    word
    for place in ("benchmarks/*.py", "tests/**/*.py", "sim/testing/*.py")
    for path in ROOT.glob(place)
    for word in re.findall(r"(?:add_argument|addoption)\(\s*\"(--[a-z-]+)\"", path.read_text())
}


def text_of(path: Path) -> str:
    """A file's text, each command in one line."""
    return path.read_text(encoding="utf-8").replace("\\\n", " ")


def unknown_in_calls(text: str) -> Iterator[str]:
    """Options of the commands in a text that those do not have."""
    for call in CALL.finditer(text):
        command = "train" if call["trainer"] else call["command"]
        for option in OPTION.findall(call["rest"]) if command in OPTIONS else ():
            if option not in OPTIONS[command]:
                yield f"plateau {command} {option}"


def unknown_alone(text: str) -> Iterator[str]:
    """Options that a text names by themselves, and that no command has."""
    known = set().union(*OPTIONS.values(), ELSEWHERE)
    for span in SPAN.findall(FENCE.sub("", text)):
        yield from (option for option in OPTION.findall(span) if option not in known and not OTHERS.match(option))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_name_options_that_are_there(path: Path) -> None:
    """Each option of each command on a page, and each that it names by itself, exists."""
    assert [*unknown_in_calls(text_of(path)), *unknown_alone(text_of(path))] == []


def test_docstrings_and_messages_name_options_that_are_there() -> None:
    """Each option of each command in a docstring or a message is one of that command."""
    assert {path.name: found for path in SOURCES if (found := [*unknown_in_calls(text_of(path))])} == {}


def test_messages_of_the_trainer_name_options_that_are_there() -> None:
    """Each option that the trainer's code names by itself is one of a command."""
    known = set().union(*OPTIONS.values())
    named = {
        (path.name, word)
        for path in ROOT.glob("fftcore/*.py")
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*\w", path.read_text())
    }
    assert {one for one in named if one[1] not in known} == set()


def test_an_option_that_is_not_there_is_seen() -> None:
    """Canary: an option that no command has, or another than the one that is called, is found."""
    assert [*unknown_in_calls("plateau train x.toml --no-layers -o a\n`plateau check x.toml --memory`")] == [
        "plateau train --no-layers",
        "plateau check --memory",
    ]
    assert [*unknown_in_calls("torchrun --nproc-per-node 2 -m plateau_rule.fftcore.run x --outt a")] == [
        "plateau train --outt"
    ]
    assert [*unknown_alone("The former is `--layers 4 --no-layers`.")] == ["--no-layers"]
    assert "--no-memory" in OPTIONS["train"]
