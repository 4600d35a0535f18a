"""The files that the page is made of, as they lie in the package."""

from __future__ import annotations

import re
from importlib.resources import files

# In the order in which one module can stand behind the other; a page loads them so joined.
MODULES = (
    *("dom", "theme", "scale", "curve", "source", "kept", "why", "track", "file", "live", "machine", "readout", "held"),
    *("whatif", "chart", "pointer", "page"),
)


def static(name: str) -> bytes:
    """The bytes of a file that the page is made of."""
    return files("plateau_rule.page").joinpath("static", name).read_bytes()


def joined() -> str:
    """All modules as one, without what they say to each other."""
    texts = (static(f"{name}.js").decode() for name in MODULES)
    return "\n".join(
        re.sub(r"^export ", "", re.sub(r"^import .*\n", "", text, flags=re.M), flags=re.M) for text in texts
    )
