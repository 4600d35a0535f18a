"""The embedded default text is the one that it says it is."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import pytest

import plateau_rule.fftcore.text
from plateau_rule.fftcore.text import SHA256, default_text


def test_default_text() -> None:
    """The text unpacks to the 5,057,198 bytes of ASCII that its SHA-256 names."""
    text = default_text()
    assert len(text) == 5_057_198
    assert text.isascii()
    assert hashlib.sha256(text).hexdigest() == SHA256


@pytest.mark.parametrize("packed", [b"", b"not xz", lzma.compress(b"another text"), lzma.compress(b"cut short")[:-20]])
def test_damage_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packed: bytes) -> None:
    """A packed file that is empty, foreign, another text or cut short is refused, and the file is named."""
    (tmp_path / "shakespeare.txt.xz").write_bytes(packed)
    monkeypatch.setattr(plateau_rule.fftcore.text, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match=r"shakespeare\.txt\.xz .*Install the package again"):
        default_text.__wrapped__()
