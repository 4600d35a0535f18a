"""`any`: guards that are joined by Kleene's or."""

from __future__ import annotations

from plateau_rule.controller.guards.joining import Joining


class Any_(Joining):
    """Decided by the first part that is true."""

    name = "any"
    description = "True if one of these is, false if all are, else unknown."
    decisive = True
    between = "or"
