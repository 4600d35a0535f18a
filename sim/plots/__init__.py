"""Pictures of runs, replays and simulations; they need the extra `plot` (matplotlib)."""

from sim.plots.page import PlotError, drawable, page
from sim.plots.runs import draw, draw_run

__all__ = ["PlotError", "draw", "draw_run", "drawable", "page"]
