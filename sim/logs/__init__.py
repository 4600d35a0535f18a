"""Reads logged losses, whatever tool wrote them, and says what they mean."""

from sim.logs.errors import LogError
from sim.logs.gather import Change, Span
from sim.logs.log import Log
from sim.logs.points import Chunk
from sim.logs.reading import read
from sim.logs.report import Report

__all__ = ["Change", "Chunk", "Log", "LogError", "Report", "Span", "read"]
