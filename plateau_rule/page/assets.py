"""The files that the page is made of, as they lie in the package."""

from __future__ import annotations

from importlib.resources import files

# In the order in which one module can stand behind the other; a report joins them so.
MODULES = (
    *("dom", "theme", "scale", "curve", "source", "kept", "why", "track", "file", "live", "machine", "readout", "held"),
    *("whatif", "chart", "pointer", "page"),
)


def static(name: str) -> bytes:
    """The bytes of a file that the page is made of."""
    return files("plateau_rule.page").joinpath("static", name).read_bytes()
