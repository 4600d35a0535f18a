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
        report = verify(bind(curriculum), looks=0)
    assert not report.exact
    assert len(report.entries) == 64
    assert all(entry.latest is None or entry.latest < FAR for entry in report.entries)
    # Without looks nothing was seen to happen, so what rests on merged nodes is no error.
    codes = {finding.code for finding in report.findings if finding.severity == "error"}
    assert not codes & {"misaligned", "rate-falls", "knob-falls", "unbounded-cycle"}
    said = " ".join(finding.sentence for finding in report.findings)
    if family == "ramps":
        assert "(there are too many configurations to tell whether that can happen)" in said
        assert "(no loss stream was found that brings it about)" in said
