"""Work in shards: nothing is lost or done twice, and results come in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.sim.shards import LARGEST, cores, cut, spread


def squared(number: int) -> int:
    """Something to do in another process."""
    return number * number


def too_large(number: int) -> float:
    """Something that goes wrong in another process."""
    return float(10**400 * number)


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_shards_cover_every_run_once(runs: int, workers: int) -> None:
    """Shards follow one another without gaps, none is too large, and they are alike to one run."""
    shards = cut(runs, workers)
    assert [first for first, _ in shards] == [sum(count for _, count in shards[:i]) for i in range(len(shards))]
    assert sum(count for _, count in shards) == runs
    counts = {count for _, count in shards}
    assert max(counts) <= LARGEST
    assert max(counts) - min(counts) <= 1
    assert len(shards) % workers == 0 or len(shards) == runs


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    """Results stand in the order of the tasks, in this process and in others."""
    assert list(spread(squared, range(7), workers)) == [number * number for number in range(7)]
    assert cores() >= 1


def test_a_mistake_in_a_shard_comes_through() -> None:
    """An error in another process is raised here."""
    with pytest.raises(OverflowError):
        list(spread(too_large, [1, 2], 2))
