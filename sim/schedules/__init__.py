"""Schedules of other trainers, read as curricula: the arguments of Megatron-LM and of Hugging Face's Transformers."""

from plateau_rule.sim.schedules.arguments import ScheduleError
from plateau_rule.sim.schedules.imported import import_schedule

__all__ = ["ScheduleError", "import_schedule"]
