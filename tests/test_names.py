"""One class name, one meaning, in all rooms."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "controller",
    "sim",
    "fftcore",
    "plateau_rule/adapters",
    "plateau_rule/commands",
    "plateau_rule/language_server",
    "plateau_rule/trials",
)

# Names that are taken twice, and why nobody can mistake one for the other.
TWICE: dict[str, str] = {
    "CurriculumCallback": "one in the module of each framework that calls such a thing a callback",
}


def classes_in(files: Iterable[Path]) -> dict[str, set[str]]:
    """The places of every class, by its name."""
    found = defaultdict(set)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].add(f"{file.name}:{node.lineno}")
    return found


@pytest.mark.source
def test_one_class_name_has_one_meaning() -> None:
    """No two classes of the rooms have one name, in whatever file they stand."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(files) > 100
    found = classes_in(files)
    assert {name: places for name, places in found.items() if len(places) > 1 and name not in TWICE} == {}
    assert {name for name in TWICE if len(found[name]) < 2} == set()


def test_a_name_that_is_taken_twice_is_found(tmp_path: Path) -> None:
    """Canary: two files with a class of one name, one of them inside a function, are seen."""
    for name, text in (("a.py", "class Report:\n    pass\n"), ("b.py", "def f():\n    class Report:\n        pass\n")):
        (tmp_path / name).write_text(text)
    assert classes_in(tmp_path.glob("*.py")) == {"Report": {"a.py:1", "b.py:2"}}
