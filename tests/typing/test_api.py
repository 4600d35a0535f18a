"""The face of the package: one screen of names, typed, loaded one by one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

import plateau_rule
from plateau_rule.controller.errors import PlateauError

API = Path(__file__).with_name("api.py")


def complaints(file: Path, cache: Path) -> list[str]:
    """What mypy, as strict as it is, says of a user's file."""
    out, err, _ = api.run(["--strict", "--no-error-summary", "--config-file=", f"--cache-dir={cache}", str(file)])
    assert err == ""
    return out.splitlines()


@pytest.mark.slow
def test_types_of_a_users_file(tmp_path: Path) -> None:
    """mypy --strict finds nothing in a file that uses every name, and what is planted in another one."""
    assert complaints(API, tmp_path / "cache") == []
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import plateau_rule\n"
        'plateau_rule.Controller("plateau")\n'
        'plateau_rule.Binding(epochs="3")\n'
        'plateau_rule.load("plateau").stats\n'
        "plateau_rule.lode\n"
    )
    found = complaints(wrong, tmp_path / "cache")
    assert [line.split(":")[1] for line in found if ": error: " in line] == ["2", "3", "4", "5"]


def test_every_name_is_used() -> None:
    """The user's file that is type-checked imports every name of the face, and the face has no others."""
    imports = [node for node in ast.walk(ast.parse(API.read_text())) if isinstance(node, ast.ImportFrom)]
    assert {alias.name for node in imports if node.module == "plateau_rule" for alias in node.names} == set(
        plateau_rule.__all__
    )


@pytest.mark.parametrize("name", plateau_rule.__all__)
def test_every_name_is_what_a_type_checker_is_told(name: str) -> None:
    """Each name is, in Python, what the imports for type checkers say that it is, and it is documented."""
    tree = ast.parse(Path(plateau_rule.__file__).read_text())
    homes = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    value = getattr(plateau_rule, name)
    assert value.__module__ == homes[name]
    assert value.__name__ == name
    assert value.__doc__


def test_names_that_there_are_not() -> None:
    """`dir` shows the face's names and no others; another name is an AttributeError, as for any module."""
    assert dir(plateau_rule) == plateau_rule.__all__ == sorted(plateau_rule.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        plateau_rule.lode  # type: ignore[attr-defined]  # noqa: B018


def test_the_tree_of_errors() -> None:
    """The errors that the docstring draws are those of the face, each under the one that it is drawn under."""
    drawn: list[tuple[int, str]] = []
    for line in (plateau_rule.__doc__ or "").splitlines():
        word = line.lstrip(" │├└─").split(" ")[0]
        if word in plateau_rule.__all__ and issubclass(getattr(plateau_rule, word), Exception):
            depth, cls = len(line) - len(line.lstrip(" │├└─")), getattr(plateau_rule, word)
            parent = next((name for at, name in reversed(drawn) if at < depth), None)
            assert parent is None or issubclass(cls, getattr(plateau_rule, parent))
            drawn.append((depth, word))
    errors = {
        name
        for name in plateau_rule.__all__
        if isinstance(value := getattr(plateau_rule, name), type) and issubclass(value, Exception)
    }
    assert {name for _, name in drawn} == errors
    assert all(issubclass(getattr(plateau_rule, name), PlateauError | UserWarning) for name in errors)


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import plateau_rule", {"pydantic", "numpy", "plateau_rule.controller"}),
        ("from plateau_rule import PlateauError", {"pydantic", "numpy", "plateau_rule.controller.controller"}),
        ("from plateau_rule import *", {"numpy", "plateau_rule.sim"}),
    ],
)
def test_a_name_loads_what_it_needs(statement: str, unwanted: set[str]) -> None:
    """Importing the package loads nothing else, and a name no more than its own home needs."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert unwanted & set(loaded) == set()
