"""What is read as a document of a run: as it was written, or not at all."""

from __future__ import annotations

import re

import pytest

from plateau_rule.fftcore.sealed import parse, seal, unseal


def test_round_trip() -> None:
    """What was sealed is read as it was, without its checksum."""
    assert unseal(seal({"a": 1, "b": {"a": 2}})) == {"a": 1, "b": {"a": 2}}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (b'{"a": 1, "b": {"c": 1, "d": 2, "c": 3}}', '"c" stands twice'),
        (b'{"a": 1, "a": 1}', '"a" stands twice'),
        (b'\xef\xbb\xbf{"a": 1}', "it begins with a byte-order mark, and was written without one"),
        ('{"a": 1}'.encode("utf-16"), "it holds broken JSON: 'utf-8' codec"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"[1]", "an object is expected, and a list was found"),
    ],
)
def test_what_is_refused(source: bytes, told: str) -> None:
    """A name that stands twice, a byte-order mark, another encoding, NaN and a list are refused in words."""
    with pytest.raises(ValueError, match=re.escape(told)):
        parse(source)
