"""Training curricula as small TOML state machines: what users import.

    from plateau_rule import Controller, load

    controller = Controller(load("plateau"), limits={"cutoff": 1025}, epochs=50, steps_per_epoch=1000)
    while (plan := controller.plan).stop is None:       # knobs, lr and state of the next optimizer step
        ...                                             # train that step
        decision = controller.observe(loss)             # exactly once for each optimizer step

Whatever is wrong by the caller's hand is a PlateauError, whose text can be shown to a user as it is:

    PlateauError
    ├── CurriculumError        a curriculum that cannot be used; `faults`, each with its place in the file
    │   └── BindingError       one that does not fit this trainer or this run, or a binding that is none
    ├── ArgumentError          a value of the wrong kind; also a TypeError
    ├── StepError              an observation that does not belong to the planned step
    ├── NonFiniteLoss          so many NaN or infinite losses in a row that the run is dead
    ├── SnapshotError          a saved state that is damaged, or was saved under something else
    │   └── RegressionError    a knob that would fall: by a transition that is not marked, or by a resume
    ├── UnsoundError           a curriculum that is broken, and is therefore not trained
    └── (of the rooms)         LogError, ReplayError, SimulateError, RunError, CheckpointError and others, where
                               logs, simulations and runs are used
    BindingWarning             a UserWarning: states that a limit makes equal were merged
    ObservationWarning         a UserWarning: what a run waits for never came, or a step came after its end

Importing this loads nothing: each name is loaded where it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from plateau_rule.controller.binding import Binding, bind
    from plateau_rule.controller.controller import Controller
    from plateau_rule.controller.errors import (
        ArgumentError,
        BindingError,
        BindingWarning,
        CurriculumError,
        Fault,
        NonFiniteLoss,
        ObservationWarning,
        Place,
        PlateauError,
        RegressionError,
        SnapshotError,
        StepError,
    )
    from plateau_rule.controller.guards.diverging import Diverging
    from plateau_rule.controller.guards.gap import Gap
    from plateau_rule.controller.guards.level import Level
    from plateau_rule.controller.guards.own import OwnGuard
    from plateau_rule.controller.guards.patience import Patience
    from plateau_rule.controller.guards.plateau import Plateau
    from plateau_rule.controller.language.curriculum import (
        Check,
        Curriculum,
        Guard,
        Knob,
        Metric,
        Ramp,
        Range,
        Run,
        State,
        Transition,
    )
    from plateau_rule.controller.language.own_words import forget_guard, register_guard
    from plateau_rule.controller.language.rates import Rate, StateRate
    from plateau_rule.controller.language.reading import load, loads
    from plateau_rule.controller.language.writing import dumps
    from plateau_rule.controller.machine import Action, Machine
    from plateau_rule.controller.plan import Decision, Plan
    from plateau_rule.controller.soundness import UnsoundError, require_sound
    from plateau_rule.controller.verifier.findings import Finding, Report
    from plateau_rule.controller.verifier.verify import verify

__all__ = [
    "Action",
    "ArgumentError",
    "Binding",
    "BindingError",
    "BindingWarning",
    "Check",
    "Controller",
    "Curriculum",
    "CurriculumError",
    "Decision",
    "Diverging",
    "Fault",
    "Finding",
    "Gap",
    "Guard",
    "Knob",
    "Level",
    "Machine",
    "Metric",
    "NonFiniteLoss",
    "ObservationWarning",
    "OwnGuard",
    "Patience",
    "Place",
    "Plan",
    "Plateau",
    "PlateauError",
    "Ramp",
    "Range",
    "Rate",
    "RegressionError",
    "Report",
    "Run",
    "SnapshotError",
    "State",
    "StateRate",
    "StepError",
    "Transition",
    "UnsoundError",
    "bind",
    "dumps",
    "forget_guard",
    "load",
    "loads",
    "register_guard",
    "require_sound",
    "verify",
]

# What the imports above say to a type checker, said to Python.
_HOMES = {
    "binding": "Binding bind",
    "controller": "Controller",
    "errors": "ArgumentError BindingError BindingWarning CurriculumError Fault NonFiniteLoss ObservationWarning Place "
    "PlateauError RegressionError SnapshotError StepError",
    "guards.diverging": "Diverging",
    "guards.gap": "Gap",
    "guards.level": "Level",
    "guards.own": "OwnGuard",
    "guards.patience": "Patience",
    "guards.plateau": "Plateau",
    "language.curriculum": "Check Curriculum Guard Knob Metric Ramp Range Run State Transition",
    "language.own_words": "forget_guard register_guard",
    "language.rates": "Rate StateRate",
    "language.reading": "load loads",
    "language.writing": "dumps",
    "machine": "Action Machine",
    "plan": "Decision Plan",
    "soundness": "UnsoundError require_sound",
    "verifier.findings": "Finding Report",
    "verifier.verify": "verify",
}


if not TYPE_CHECKING:  # to a type checker, a module with __getattr__ has every name

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return import_module("importlib.metadata").version("plateau-rule")
        for home, names in _HOMES.items():
            if name in names.split():
                value = getattr(import_module(f"plateau_rule.controller.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
