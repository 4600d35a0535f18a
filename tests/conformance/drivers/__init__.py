"""How each adapter is driven through a case: one file each, with a function `run`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from struct import pack, unpack
from typing import Any

import pytest

from tests.conformance.cases import RATIOS, Case, Seen

Run = Callable[[Case, Path, bool], None]
"""(case, folder, resume): carry the case out. The run folder is `folder / RUN`; what is watched goes to
`watched_in(folder)`; checkpoints lie wherever else in `folder`. `resume` goes on from the newest checkpoint there."""

NEEDS = {
    "pytorch": "torch",
    "accelerate": "accelerate",
    "fabric": "lightning",
    "transformers": "transformers",
    "lightning": "lightning",
    "keras": "keras",
    "jax": "optax",
}
"""The driver of each adapter, and the package it drives."""
TRAIN_ALONE = ("keras", "jax")
"""Their losses are those of all devices already, so that no adapter adds over processes."""
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


def in_its_numbers(name: str, truth: Seen) -> Seen:
    """What should happen, in the numbers of an adapter's framework: rates in float32, or one rate in place of two."""
    if name not in ("keras", "jax"):
        return truth
    ratios = [_float32(0.5 * ratio) / 0.5 for ratio in RATIOS]  # of rates that were float32 already
    rates = [[_float32(ratio * highest) for ratio in ratios] for *_, highest in truth.rates]
    return replace(truth, rates=[rates[-1:] for rates in rates] if name == "keras" else rates)


def _float32(number: float) -> float:
    rounded: float = unpack("f", pack("f", number))[0]
    return rounded


def drivers() -> list[str]:
    """The adapters whose driver is written."""
    return [name for name in NEEDS if (Path(__file__).parent / f"drive_{name}.py").exists()]
