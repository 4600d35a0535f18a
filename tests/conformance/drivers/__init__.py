"""How each adapter is driven through a case: one file each, with a function `run`."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.cases import Case

Run = Callable[[Case, Path, bool], None]
"""(case, folder, resume): carry the case out. The run folder is `folder / RUN`; what is watched goes to
`watched_in(folder)`; checkpoints lie wherever else in `folder`. `resume` goes on from the newest checkpoint there."""

NEEDS = {
    "pytorch": "torch",
    "accelerate": "accelerate",
    "fabric": "lightning",
    "transformers": "transformers",
    "lightning": "lightning",
}
"""The driver of each adapter, and the package it drives."""
ALL = "PLATEAU_ADAPTERS"
"""Set to "all" by `make test-adapters`: a package that is missing is then a failure."""


def driver(name: str) -> Run:
    """The driver of an adapter; the test is skipped where its package is missing."""
    if find_spec(NEEDS[name]) is None:
        told = f"{NEEDS[name]} is not installed; `make test-adapters` installs it"
        if os.environ.get(ALL) == "all":
            pytest.fail(told)
        pytest.skip(told)
    module: Any = import_module(f"tests.conformance.drivers.drive_{name}")
    run: Run = module.run
    return run


def drivers() -> list[str]:
    """The adapters whose driver is written."""
    return [name for name in NEEDS if (Path(__file__).parent / f"drive_{name}.py").exists()]
