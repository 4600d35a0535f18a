"""The command `plateau draw`."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Literal

from cyclopts import Parameter

from plateau_rule.commands.options import (
    BOUND,
    BoundOptions,
    Output,
    UsageError,
    bound_to,
    require_knobs,
    write_text,
)
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.clamping import as_bound
from plateau_rule.controller.errors import BindingWarning, visible
from plateau_rule.controller.language.reading import contents, loads

ENDINGS = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".md": "mermaid"}
PICTURES = {".png", ".pdf", ".jpg", ".jpeg", ".gif", ".webp", ".eps", ".ps", ".bmp", ".tif", ".tiff"}


def _fits(kind: str, ending: str) -> bool:
    """Whether a file with this ending may hold a drawing of this kind."""
    return ENDINGS.get(ending, kind) == kind and ending not in PICTURES


def draw(
    file: str,
    /,
    *,
    as_: Annotated[Literal["mermaid", "dot", "svg"] | None, Parameter(name="--as")] = None,
    output: Output = None,
    bound: BoundOptions = BOUND,
) -> int:
    """Draw a curriculum: its states with knobs and rate, its transitions with guards and actions.

    Args:
        file: A path, or the bare name of a shipped curriculum.
        as_: The format. By default, the one that the output file's name ends in, or mermaid.
        output: Write to this file instead of the standard output.
        bound: What the curriculum is bound to. Without any of it, the curriculum is drawn as it is written.
    """
    from plateau_rule.controller.drawing import DRAWINGS

    kind = as_ or (ENDINGS.get(output.suffix.lower()) if output else "mermaid")
    if kind is None or (output and not _fits(kind, output.suffix.lower())):
        raise UsageError(
            f"{visible(str(output))}: a curriculum is drawn as SVG (.svg), DOT (.dot, .gv) or Mermaid (.mmd, .md). "
            "Name a file that ends so; --as names the format where the file's name does not"
        )
    binding, curriculum = bound.binding(), loads(*contents(file))
    require_knobs(binding, curriculum)
    if binding != Binding():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BindingWarning)  # said below
            machine = bind(curriculum, bound_to(curriculum, binding))
        print(*machine.notes, sep="\n", end="\n" if machine.notes else "", file=sys.stderr)
        curriculum = as_bound(machine)
    return write_text(DRAWINGS[kind](curriculum), output)
