"""Reads logged losses, whatever tool wrote them, and says what they mean."""

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.gather import Change
from plateau_rule.sim.logs.log import Log
from plateau_rule.sim.logs.points import Chunk
from plateau_rule.sim.logs.reading import read
from plateau_rule.sim.logs.report import LogReport
from plateau_rule.sim.logs.spans import Span

__all__ = ["Change", "Chunk", "Log", "LogError", "LogReport", "Span", "read"]
