"""The embedded default text: the complete works of Shakespeare, 5,057,198 bytes of ASCII; see README.md here."""

from __future__ import annotations

import hashlib
import lzma
from functools import cache
from importlib.resources import files

__all__ = ["SHA256", "default_text"]

SHA256 = "da68ca4e8201d41a12c1d5e82d967bda85105f1dabe823d5735138bccabdd387"


@cache
def default_text() -> bytes:
    """Return the embedded default text, unpacked and checked.

    Raises:
        ValueError: the packed file is damaged, or is not the text that its SHA-256 names.
    """
    packed = files(__name__).joinpath("shakespeare.txt.xz")
    remedy = "Install the package again to restore it."
    try:
        text = lzma.decompress(packed.read_bytes())
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(f"The embedded default text {packed} is damaged: {error}. {remedy}") from error
    if (found := hashlib.sha256(text).hexdigest()) != SHA256:
        raise ValueError(f"The embedded default text {packed} has SHA-256 {found}, expected {SHA256}. {remedy}")
    return text
