"""What a lead and a horizon promise, held against every stream of small curricula."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import pytest

from plateau_rule.controller import certainty, step
from plateau_rule.controller.guards.detector import Soonest
from tests.properties.agreement import disagreements_of
from tests.properties.horizons import held
from tests.properties.leads import parting

pytestmark = pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")
SEEDS = range(24)


def wrong(seeds: range, most: int = 120) -> Iterator[str]:
    """What was wrong with the horizons of the curricula of some seeds."""
    return (f"seed {seed}: {line}" for seed in seeds for line in held(seed, most).wrong)


def test_a_horizon_is_certain_and_no_shorter_than_it_must_be() -> None:
    """On every stream that follows, plans are those of `ahead` up to the horizon; the one beyond it can be another."""
    assert list(wrong(SEEDS)) == []


def test_horizons_that_are_too_long_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If detectors were thought to need a value more than they do, plans would change within the horizon."""
    of = Soonest.of
    later = classmethod(lambda cls, verdict, true, false, unknown=inf: of(verdict, true + 1, false + 1, unknown))
    monkeypatch.setattr(Soonest, "of", later)
    assert any("or {" in line for line in wrong(SEEDS))


def test_horizons_that_are_too_short_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If every transition were thought possible at the next look, nothing would change beyond a horizon."""
    monkeypatch.setattr(certainty.Openings, "_can", lambda self, time, ways: set(ways))
    assert any("there is only" in line for line in wrong(SEEDS))


@pytest.mark.parametrize("lead", [1, 3])
def test_check_is_right_under_a_lead(lead: int) -> None:
    """What some stream does under a lead, no report calls impossible, and every counterexample happens."""
    assert [said for seed in range(30) if (said := disagreements_of(seed, 800, 3000, lead)[0])] == []


def test_a_report_that_forgets_the_lead_is_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If `check` took transitions to apply on the next step, the streams would enter states later than it says."""
    monkeypatch.setattr("plateau_rule.controller.verifier.sojourn.Courses._later", lambda self, course: course.chances)
    assert any(disagreements_of(seed, 800, 3000, 3)[0] for seed in range(120, 150))


def test_four_ways_to_run_under_a_lead() -> None:
    """A Controller, one resumed after every step, a Batch and the naive interpreter decide alike, for leads up to 5."""
    assert [where for seed in range(45) if (where := parting(seed)[1])] == []
    assert [where for seed in range(30) if (where := parting(seed, clocks=True)[1])] == []


def test_ways_that_part_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the Controller took clocks to have nothing in store, what they decide would come late, and be contradicted."""
    monkeypatch.setattr(step, "first_certain", lambda machine, run: None)
    assert any(parting(seed)[1] for seed in range(90))
