"""Which codes of faults the source code uses; read from the source, so that none can be forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKERS = {"Fault", "Finding", "PydanticCustomError", "unknown"}  # whose first argument is a code


def codes_in(files: Iterable[Path]) -> set[str]:
    """The codes in calls such as Fault("off-ladder", ...), and those that pydantic's errors are turned into."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS and node.args:
                found |= {c.value for c in ast.walk(node.args[0]) if isinstance(c, ast.Constant)}
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "CODES_OF_KINDS" for t in node.targets
            ):
                assert isinstance(node.value, ast.Dict)
                found |= {value.value for value in node.value.values if isinstance(value, ast.Constant)}
    return {code for code in found if isinstance(code, str)}


def codes_used() -> set[str]:
    """The codes that reading, binding, checking and explaining a curriculum may show to a user."""
    return codes_in([*(ROOT / "controller").rglob("*.py"), *(ROOT / "plateau_rule" / "commands").glob("*.py")])


@cache
def codes_of_reading() -> set[str]:
    """The codes that reading the text of a file may show."""
    names = (
        "scanning",
        "reading",
        "values",
        "curriculum",
        "vocabulary",
        "faults",
        "conditions",
        "consistency",
        "knob_faults",
        "knob_values",
        "rate_faults",
        "clock_faults",
        "rungs",
        "formats",
    )
    of_files = {"no-such-file", "not-a-file", "unreadable", "file-too-large"}
    language = [ROOT / "controller" / "language" / f"{name}.py" for name in names]
    return codes_in([*language, *(ROOT / "controller" / "guards").rglob("*.py")]) - of_files
