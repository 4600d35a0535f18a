"""docs/adapters.md: what each trainer cannot do is held by a test."""

from __future__ import annotations

import re

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "adapters.md").read_text()


def test_each_row_names_a_test_that_is_there() -> None:
    """Each row of the table ends with a test of the conformance suite, by file and name."""
    rows = [line for line in PAGE.splitlines() if line.startswith("|")][2:]
    assert rows
    for row in rows:
        named = re.search(r"`(test_\w+\.py)::(test_\w+)` \|$", row)
        assert named, row
        assert f"def {named[2]}(" in (ROOT / "tests" / "conformance" / named[1]).read_text(), row


def test_each_trainer_has_a_row() -> None:
    """No adapter is left out."""
    adapters = {"pytorch", "transformers", "lightning", "keras", "jax"}
    assert set(re.findall(r"^\| \[\w+\]\((\w+)\.md\)", PAGE, re.M)) == adapters
