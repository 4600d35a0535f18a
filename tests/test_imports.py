"""No module imports another that imports it, on whatever way round."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "plateau_rule"
ROOMS = (
    "controller",
    "sim",
    "fftcore",
    "plateau_rule/adapters",
    "plateau_rule/commands",
    "plateau_rule/language_server",
    "plateau_rule/trials",
)


def modules(root: Path) -> dict[str, Path]:
    """Every module of the rooms by its name."""
    found = {}
    for room in ROOMS:
        package = room if room.startswith(PACKAGE) else f"{PACKAGE}/{room}"
        for path in (root / room).rglob("*.py"):
            parts = Path(package, path.relative_to(root / room)).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when a module is loaded, and those that only a type checker reads; none inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from statements(child)


def imported(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules of the rooms that a file imports by name; a package counts where it is named itself."""
    found = set()
    for statement in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        else:
            whole = [f"{statement.module}.{alias.name}" for alias in statement.names]
            found |= {name if name in known else str(statement.module) for name in whole}
    return found & known.keys()


def circle(root: Path) -> list[str]:
    """The modules on a circle of imports, or none."""
    known = modules(root)
    try:
        TopologicalSorter({name: imported(path, known) for name, path in known.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.source
def test_no_import_circle(pytestconfig: pytest.Config) -> None:
    """The imports of all rooms, those for type checkers included, make no circle."""
    assert circle(pytestconfig.rootpath) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    """Canary: two modules that import each other, one of them for its types alone, are found; a function may import."""
    room = tmp_path / "controller"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "late.py").write_text("def f() -> None:\n    from plateau_rule.controller import one\n")
    (room / "one.py").write_text("from plateau_rule.controller import two\nimport plateau_rule.controller.late\n")
    (room / "two.py").write_text("import json\n")
    assert circle(tmp_path) == []
    (room / "two.py").write_text("if TYPE_CHECKING:\n    from plateau_rule.controller.one import One\n")
    assert set(circle(tmp_path)) == {"plateau_rule.controller.one", "plateau_rule.controller.two"}
