"""What every test may rely on, and how tests are written here.

A test's docstring says in one sentence what it shows. Tests neither sleep nor use the network nor measure time, and a
warning is an error. Property tests draw the same examples every time; `pytest --hypothesis-profile=long` searches
further, with fresh examples on each run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Before torch or matplotlib is imported: sums in one order, and no window for a picture.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from hypothesis import HealthCheck, Phase, settings

ROOT = Path(__file__).resolve().parent.parent

# Nothing here may depend on how fast the machine is: no deadline, no complaint about slow generation.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "long", settings.get_profile("repeatable"), derandomize=False, max_examples=5000, print_blob=True
)
# For `make quick`, and for `make mutation`, where a failure need not be made small; and where a test runs many times in
# one process, so that a method has another `self` each time.
settings.register_profile(
    "few",
    settings.get_profile("repeatable"),
    max_examples=20,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Find a file of real logs or texts by its relative name, or skip the test.

    They are too large for the repository: a test that needs them shows more where they are, and is no loss elsewhere.
    """
    folder = Path(os.environ.get("PLATEAU_DATA") or ROOT.parent / "shared" / "data")

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"{name} is not in {folder}; PLATEAU_DATA names the folder of real logs and texts")
        return path

    return find


@pytest.fixture(scope="session", autouse=True)
def _rooms_have_one_name() -> Iterator[None]:
    """Whatever the tests import, the rooms are there under their one name: a second would make each class twice."""
    yield
    assert sys.modules.keys().isdisjoint({"controller", "sim", "fftcore", "curricula"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none; torch is loaded only if something asks for one."""
    if wanting := [item for item in items if item.get_closest_marker("gpu")]:
        import torch

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
