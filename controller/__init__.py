"""Curricula as small state machines, and the Controller that interprets one against a loss stream.

controller = Controller(load("plateau"), limits={"cutoff": 1025}, epochs=50, steps_per_epoch=1000)
plan = controller.plan              # knobs, lr, state for the next optimizer step
decision = controller.observe(loss) # exactly once for each optimizer step
"""

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import (
    BindingError,
    BindingWarning,
    CurriculumError,
    NonFiniteLoss,
    PlateauError,
    RegressionError,
    SnapshotError,
    StepError,
)
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import load, loads
from plateau_rule.controller.language.writing import dumps
from plateau_rule.controller.machine import Action
from plateau_rule.controller.plan import Decision, Plan

__all__ = [
    "Action",
    "BindingError",
    "BindingWarning",
    "Controller",
    "Curriculum",
    "CurriculumError",
    "Decision",
    "NonFiniteLoss",
    "Plan",
    "PlateauError",
    "RegressionError",
    "SnapshotError",
    "StepError",
    "dumps",
    "load",
    "loads",
]
