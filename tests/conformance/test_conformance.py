"""One suite for every adapter: the same losses bring the decisions, rates and batches of a Controller by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.cases import CASES, KILLED, Case, Seen, expected
from tests.conformance.drivers import driver, drivers
from tests.conformance.watching import WATCHED, seen_in
from tests.conftest import ROOT

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
    seen, truth = seen_in(tmp_path), expected(case)
    assert seen.decisions == truth.decisions
    assert seen.rates == truth.rates
    assert seen.widths == truth.widths
    assert same(seen.losses, truth.losses)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_move(case: Case) -> None:
    """Each case takes a transition, and none by a clock: another loss stream has other decisions."""
    assert expected(case).decisions
    flat = replace(case, losses=(9.0,) * len(case.losses), val_losses=tuple(range(len(case.val_losses))))
    assert expected(case).decisions != expected(flat).decisions


def carried_out(adapter: str, case: Case, folder: Path, *resume: str) -> int:
    """Carry a case out in a process of its own; its exit code."""
    words = [sys.executable, "-m", "tests.conformance.child", adapter, case.name, str(folder), *resume]
    done = subprocess.run(words, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


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
    (cut / WATCHED).unlink()
    assert carried_out(adapter, KILLED, cut, "resume") == 0
    one, other = seen_in(whole), seen_in(cut)
    assert other.losses == one.losses
    assert other.decisions == one.decisions
    assert one.decisions
    steps = len(other.rates)
    assert 0 < steps < len(one.rates)
    assert other.rates == one.rates[-steps:]
    assert other.widths == one.widths[-steps * KILLED.accumulation :]


def test_suite_can_fail() -> None:
    """Canary: a decision one step late, a rate of the step before or one batch of the wrong width are not the truth."""
    truth = expected(CASES[0])
    (step, source, target), *others = truth.decisions
    late = Seen(truth.losses, truth.rates, truth.widths, [(step + 1, source, target), *others])
    shifted = Seen(truth.losses, [truth.rates[0], *truth.rates[:-1]], truth.widths, truth.decisions)
    stale = Seen(truth.losses, truth.rates, [truth.widths[0], *truth.widths[:-1]], truth.decisions)
    assert truth not in (late, shifted, stale)
