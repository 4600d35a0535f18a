"""The command `plateau lsp`."""

from __future__ import annotations

import sys

from plateau_rule.commands.app import version
from plateau_rule.commands.options import BOUND, BoundOptions, UsageError
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS


def lsp(*, budget: int = MOST_CONFIGURATIONS, bound: BoundOptions = BOUND) -> int:
    """Serve an editor with findings, hover, completion and quick fixes, over standard input and output.

    An editor starts it; docs/editors.md says how. Curricula that leave `[run]` to their trainer are checked for the run
    that the options give.

    Args:
        budget: Try at most this many configurations of each file.
        bound: What every curriculum is bound to.
    """
    from plateau_rule.language_server.server import make_server

    if sys.stdin.isatty():
        raise UsageError("plateau lsp: an editor starts this, and speaks with it; there is nothing to type. "
                         "To check a file: plateau check FILE")  # fmt: skip
    make_server(version(), bound.binding(), budget).start_io()
    return 0
