"""The command `plateau draw`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from plateau_rule.commands.options import Output, write_text
from plateau_rule.controller.language.reading import contents, loads


def draw(
    file: str,
    /,
    *,
    as_: Annotated[Literal["mermaid", "dot", "svg"] | None, Parameter(name="--as")] = None,
    output: Output = None,
) -> int:
    """Draw a curriculum: its states with knobs and rate, its transitions with guards and actions.

    Args:
        file: a path, or the bare name of a shipped curriculum.
        as_: mermaid (the default), dot or svg; with -o, the end of the file's name decides where it is not given.
        output: a file to write to instead of the standard output.
    """
    from plateau_rule.controller.drawing import DRAWINGS

    ends = {".svg": "svg", ".dot": "dot", ".gv": "dot"}
    kind = as_ or (ends.get(output.suffix.lower(), "mermaid") if output else "mermaid")
    return write_text(DRAWINGS[kind](loads(*contents(file))), output)
