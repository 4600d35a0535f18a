"""`plateau` over many runs at once, a file for each method."""

from __future__ import annotations

from plateau_rule.sim.batch.guards.plateau import halves, returns, sure, trend

TWINS = (halves.TWIN, trend.TWIN, returns.TWIN, sure.TWIN)
