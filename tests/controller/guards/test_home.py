"""A word has one home: no other file knows it by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from plateau_rule.controller.guards import WORDS

ROOT = Path(__file__).parents[3]
ROOMS = ("controller", "sim", "fftcore", "plateau_rule/commands", "plateau_rule/adapters", "plateau_rule/page")

# Texts that spell like a word and do not mean it, or are about it for people; by file or folder, with the reason.
ALLOWED: dict[str, dict[str, str]] = {
    "plateau": {
        "controller/checking.py": "the command of that name",
        "plateau_rule/commands/": "the command, and the shipped curriculum, of that name",
        "sim/plots/page.py": "a salt for the ids in a picture",
        "sim/testing/plugin.py": "pytest's group of options",
        "sim/trackers/tracks.py": "the series' prefix",
    },
    "nonfinite": {
        "controller/guards/in_state.py": "the clock's hand of that name",
        "controller/language/fingerprint.py": "the table [nonfinite]",
        "controller/verifier/outcome.py": "the clock's hand of that name",
        "controller/verifier/witness.py": "the clock's hand of that name",
        "sim/strategies/curricula.py": "the table [nonfinite]",
        "sim/testing/drawn.py": "the table [nonfinite]",
    },
    "min_step": {"sim/schedules/draft.py": "what an imported curriculum is written with"},
    "ramp_done": {
        "controller/language/codes.py": "what `plateau explain` says of a fault of it",
        "sim/schedules/megatron.py": "what an imported curriculum is written with",
    },
    "any": {
        "controller/language/consistency.py": "what people write for the wildcard",
        "controller/language/codes.py": "what `plateau explain` says of a list of guards",
        "controller/verifier/logic.py": "a node of the verifier's own logic",
        "controller/verifier/outcome.py": "a node of the verifier's own logic",
    },
    "all": {
        "controller/language/consistency.py": "what people write for the wildcard",
        "controller/verifier/outcome.py": "a node of the verifier's own logic",
    },
    "not": {
        "controller/verifier/logic.py": "a node of the verifier's own logic",
        "controller/verifier/outcome.py": "a node of the verifier's own logic",
    },
    "below": {
        "controller/guards/level.py": "what below and above have in common",
        "controller/verifier/words.py": "a side, in plain words",
    },
    "above": {
        "controller/guards/level.py": "what below and above have in common",
        "controller/verifier/words.py": "a side, in plain words",
    },
}


def mentions(source: str, word: str) -> Iterator[int]:
    """Lines on which code names a word: as a text, as the key of a guard in TOML, or inside a text that is no prose.

    An English word may stand in a sentence; one with an underscore, or `dwell`, is always the guard.
    """
    technical = "_" in word or word == "dwell"
    pattern = re.compile(rf"\b{word}\b" if technical else rf"^{word}$|\b{word} ?= ")
    for line, text, is_name in _said(source):
        if (technical and text == word) if is_name else pattern.search(text):
            yield line


@cache
def _said(source: str) -> tuple[tuple[int, str, bool], ...]:
    """The texts of code that are no docstrings, and its names, each with its line; read once for all words."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.append((node.lineno, node.value, False))
        elif isinstance(node, ast.Attribute | ast.Name | ast.keyword):
            name = {ast.Attribute: "attr", ast.Name: "id", ast.keyword: "arg"}[type(node)]
            found.append((node.lineno, getattr(node, name) or "", True))
    return tuple(found)


def is_home(file: str, word: str) -> bool:
    """Whether a file is the word's own, or its twin in the batch engine."""
    module = f"{word}_" if word == "not" else word
    homes = (f"controller/guards/{module}", f"sim/batch/guards/{module}")
    return any(file == f"{home}.py" or file.startswith(f"{home}/") for home in homes)


@pytest.mark.source
@pytest.mark.parametrize("word", WORDS)
def test_a_word_has_one_home(word: str) -> None:
    """No file but the word's own and its vectorised twin names it, except where it means something else."""
    found = {
        name
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if not is_home(name := path.relative_to(ROOT).as_posix(), word)
        if any(mentions(path.read_text(encoding="utf-8"), word))
    }
    allowed = ALLOWED.get(word, {})
    assert {name for name in found if not any(name.startswith(place) for place in allowed)} == set()
    assert {place for place in allowed if not any(name.startswith(place) for name in found)} == set()


@pytest.mark.parametrize("word", WORDS)
def test_a_planted_mention_is_found(word: str) -> None:
    """Canary: a branch on the word, and a guard written out in a text, are found; a sentence is not."""
    assert list(mentions(f'if guard.word == "{word}":\n    pass', word)) == [1]
    assert list(mentions(f'\nhint = "write {{ {word} = 2 }}"', word)) == [2]
    assert not list(mentions('"""There is no such thing."""\nx = "a plateau lies below, and any gap above it"', word))


@pytest.mark.source
@pytest.mark.parametrize("word", WORDS)
def test_every_word_has_a_file_of_its_name(word: str) -> None:
    """A word's file is named after it."""
    module = type(WORDS[word]).__module__
    assert module.removeprefix("plateau_rule.controller.guards.") == (f"{word}_" if word == "not" else word)
