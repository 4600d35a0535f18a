"""Points come out sorted, one a step, however many there are."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.sim.logs import points as module
from plateau_rule.sim.logs.points import POINT, Repeats, Spool, in_order


def spool_of(steps: list[int]) -> Spool:
    """Points at some steps, whose loss is their place."""
    spool = Spool()
    points = np.zeros(len(steps), dtype=POINT)
    points["step"], points["loss"] = steps, np.arange(len(steps))
    for part in np.array_split(points, 3):
        spool.add(part)
    return spool


@given(
    steps=st.lists(st.integers(0, 60) | st.integers(0, 2**53), min_size=1, max_size=400),
    repeats=st.sampled_from(get_args(Repeats)),
    block=st.sampled_from([1, 7, 64, 1000]),
)
def test_in_order(steps: list[int], repeats: Repeats, block: int) -> None:
    """Sorting in blocks that are merged gives what a dictionary gives, for any steps and sizes of block."""
    kept: dict[int, int] = {}
    for place, step in enumerate(steps):
        if repeats == "last" or step not in kept:
            kept[step] = place
    result = in_order(spool_of(steps), repeats, block)
    points = result.part(0, result.count)
    assert points["step"].tolist() == sorted(kept)
    assert points["loss"].tolist() == [kept[step] for step in sorted(kept)]


def test_many_blocks() -> None:
    """With many blocks, each range that is merged holds a small share of all points."""
    steps = np.random.default_rng(0).permutation(60_000).tolist()
    result = in_order(spool_of(steps), "last", 2000)
    assert result.part(0, result.count)["step"].tolist() == list(range(60_000))


def test_spool_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool above its share of memory lives in a file, and reads the same."""
    monkeypatch.setattr(module, "MEMORY_BYTES", 1000)
    moved, rollover = list[Any](), SpooledTemporaryFile.rollover
    monkeypatch.setattr(SpooledTemporaryFile, "rollover", lambda file: (moved.append(file), rollover(file)))  # type: ignore[func-returns-value]
    spool = spool_of(list(range(500)))
    assert len(moved) == 1
    assert [len(part) for part in spool.parts(200)] == [200, 200, 100]
    assert spool.part(490, 900)["step"].tolist() == list(range(490, 500))
