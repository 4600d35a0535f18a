"""Pictures of runs, replays and simulations; they need the extra `plot` (matplotlib)."""

from plateau_rule.sim.plots.page import PlotError, drawable, page
from plateau_rule.sim.plots.runs import draw, draw_run

__all__ = ["PlotError", "draw", "draw_run", "drawable", "page"]
