"""The largest curricula that benchmarks/verify.py measures are what it says, and merged nodes are sound on them."""

from __future__ import annotations

import warnings

import pytest

from benchmarks.verify import FAMILIES, STATES, TRANSITIONS, largest
from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.zones import FAR


@pytest.mark.parametrize("family", FAMILIES)
def test_largest(family: str) -> None:
    """A family has 64 states and 256 transitions, drawn the same each time; where nodes are merged, it is said."""
    curriculum = largest(family)
    assert (len(curriculum.state), len(curriculum.transition)) == (STATES, TRANSITIONS) == (64, 256)
    assert curriculum == largest(family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = verify(bind(curriculum), budget=4_000)
    assert not report.exact
    assert len(report.entries) == 64
    assert all(entry.latest is None or entry.latest < FAR for entry in report.entries)
    # What rests on merged nodes is broken only where it was seen to happen.
    broken = [finding for finding in report.findings if finding.severity == "error" and finding.counterexample]
    assert all(finding.counterexample.happened for finding in broken if finding.counterexample)
    answers = {verdict.property: verdict.answer for verdict in report.verdicts}
    assert answers["escape"] in ("not decided", "conditional")
