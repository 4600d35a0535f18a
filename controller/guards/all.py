"""`all`: guards that are joined by Kleene's and."""

from __future__ import annotations

from plateau_rule.controller.guards.joining import Joining


class All(Joining):
    """Decided by the first part that is false."""

    name = "all"
    description = "True if all of these are, false if one is, else unknown."
    decisive = False
    between = "and"
