"""One suite for every adapter: the same losses bring the decisions, rates and batches of a Controller by itself."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from plateau_rule.controller.soundness import UnsoundError
from tests.conformance.cases import CASES, KILLED, RANKS, UNSOUND, Case, Seen, expected
from tests.conformance.drivers import TRAIN_ALONE, driver, drivers, in_its_numbers
from tests.conformance.processes import in_processes
from tests.conformance.watching import RUN, seen_in, watched_of

# torch warns where there are fewer cores than workers; the suite asks what they do, not how fast.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
adapters = pytest.mark.parametrize("adapter", drivers())


def same(one: list[float], other: list[float]) -> bool:
    """Whether two lists of numbers are equal, NaN being equal to NaN."""
    return list(map(repr, one)) == list(map(repr, other))


@adapters
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_losses_same_decisions(adapter: str, case: Case, tmp_path: Path) -> None:
    """Decisions, rates inside each optimizer step and widths of the trained batches are those of a bare Controller."""
    driver(adapter)(case, tmp_path, False)
    seen, truth = seen_in(tmp_path), in_its_numbers(adapter, expected(case))
    assert seen.decisions == truth.decisions
    assert seen.rates == truth.rates
    assert seen.widths == truth.widths
    assert same(seen.losses, truth.losses)


@adapters
def test_nothing_trains_unchecked(adapter: str, tmp_path: Path) -> None:
    """A broken curriculum is refused before the first step; with checked=False it is trained; the record says so."""
    run, case = driver(adapter), replace(CASES[0], curriculum=UNSOUND)
    (tmp_path / "refused").mkdir()
    with pytest.raises(UnsoundError, match=r"(?s)seq_len rises from 8 to 32.* checked=False") as refused:
        run(case, tmp_path / "refused", False)
    assert refused.value.report.broken
    assert not (tmp_path / "refused" / RUN).exists()
    for each, answer in ((replace(case, checked=False), None), (CASES[0], "proved")):
        folder = tmp_path / f"checked-{each.checked}"
        folder.mkdir()
        run(each, folder, False)
        assert seen_in(folder) == in_its_numbers(adapter, expected(each))
        checked = json.loads((folder / RUN / "run.json").read_text())["checked"]
        assert (checked and checked["names"]) == answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_move(case: Case) -> None:
    """Each case takes a transition, and none by a clock: another loss stream has other decisions."""
    assert expected(case).decisions
    flat = replace(case, losses=(9.0,) * len(case.losses), val_losses=tuple(range(len(case.val_losses))))
    assert expected(case).decisions != expected(flat).decisions


def carried_out(adapter: str, case: Case, folder: Path, *resume: str) -> int:
    """Carry a case out in processes of their own, one for each rank; the exit code of all."""
    return in_processes(["-m", "tests.conformance.child", adapter, case.name, str(folder), *resume], case.ranks)


@pytest.mark.slow
@adapters
def test_killed_and_resumed(adapter: str, tmp_path: Path) -> None:
    """A run that is killed in a step and resumed from the framework's checkpoint ends as the uncut one, to the bit."""
    run = driver(adapter)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    run(replace(KILLED, kill_at=None), whole, False)
    assert carried_out(adapter, KILLED, cut) == -signal.SIGKILL
    (cut / watched_of(0)).unlink()
    assert carried_out(adapter, KILLED, cut, "resume") == 0
    one, other = seen_in(whole), seen_in(cut)
    assert other.losses == one.losses
    assert other.decisions == one.decisions
    assert one.decisions
    steps = len(other.rates)
    assert 0 < steps < len(one.rates)
    assert other.rates == one.rates[-steps:]
    assert other.widths == one.widths[-steps * KILLED.accumulation :]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [each for each in drivers() if each not in TRAIN_ALONE])
def test_two_ranks(adapter: str, tmp_path: Path) -> None:
    """Two processes with losses of their own take the decisions of their mean, both at once, at the same rates."""
    driver(adapter)
    assert carried_out(adapter, RANKS, tmp_path) == 0
    truth = expected(RANKS)
    for rank in range(RANKS.ranks):
        assert seen_in(tmp_path, rank) == truth


def test_suite_can_fail() -> None:
    """Canary: a decision one step late, a rate of the step before or one batch of the wrong width are not the truth."""
    truth = expected(CASES[0])
    (step, source, target), *others = truth.decisions
    late = Seen(truth.losses, truth.rates, truth.widths, [(step + 1, source, target), *others])
    shifted = Seen(truth.losses, [truth.rates[0], *truth.rates[:-1]], truth.widths, truth.decisions)
    stale = Seen(truth.losses, truth.rates, [truth.widths[0], *truth.widths[:-1]], truth.decisions)
    assert truth not in (late, shifted, stale)
