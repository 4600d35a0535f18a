"""A user's file: every name of `plateau_rule`, with the types that a user may rely on; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import plateau_rule
from plateau_rule import (
    Action,
    ArgumentError,
    Binding,
    BindingError,
    BindingWarning,
    Check,
    Controller,
    Curriculum,
    CurriculumError,
    Decision,
    Diverging,
    Fault,
    Finding,
    Gap,
    Guard,
    Knob,
    Level,
    Machine,
    Metric,
    NonFiniteLoss,
    ObservationWarning,
    OwnGuard,
    Patience,
    Place,
    Plan,
    Plateau,
    PlateauError,
    Ramp,
    Range,
    Rate,
    RegressionError,
    Report,
    Run,
    SnapshotError,
    State,
    StateRate,
    StepError,
    Transition,
    UnsoundError,
    bind,
    dumps,
    forget_guard,
    load,
    loads,
    register_guard,
    require_sound,
    verify,
)


def reading(path: Path, text: str) -> str:
    """A curriculum is read from a path, from a name, from its text, and written again."""
    curricula: list[Curriculum] = [load(path), load("plateau"), loads(text), loads(text.encode())]
    return dumps(curricula[0])


def building() -> Curriculum:
    """A curriculum is built of its parts, under the words of the language."""
    guards: list[Guard | str] = [
        Guard(any=[Guard(plateau=Plateau(window=200)), Guard(patience=Patience(steps=50))]),
        Guard(not_=Guard(below=Level(value=3.0))),
        Guard(diverging=Diverging()),
        Guard(gap=Gap(over="1 epoch", value=1e-3)),
    ]
    return Curriculum(
        name="mine",
        run=Run(epochs=3, steps_per_epoch=100),
        lr=Rate(peak=2e-4, floor=0.1, length="3 epochs"),
        knob={"cutoff": Knob(ladder=[128, "full"]), "length": Knob(range=Range(min=1, max=8))},
        metric={"val_accuracy": Metric(goal="max", at="eval", every="1 epoch", unit="share")},
        state=[
            State(name="coarse", set={"cutoff": 128, "length": 1}, ramp={"length": Ramp(to=8, over="1 epoch")}),
            State(name="full", set={"cutoff": "full", "length": 8}, lr=StateRate(floor=0.05)),
        ],
        transition=[Transition(from_="*", to="next", guards=guards, actions=["lr_restart"])],
        check=Check(waive={"escape": "a loss that improves may stay"}),
    )


def binding(curriculum: Curriculum) -> Machine:
    """What a trainer says is one value, or said by name; numbers may be numpy's."""
    said = Binding({"cutoff": 1025}, metrics=["val_loss"], epochs=np.int64(3), peak=np.float32(1e-3), lag=1)
    length: int | None = said.epochs
    limits: Mapping[str, float | None] | None = said.limits
    machines = [
        bind(curriculum),
        bind(curriculum, said),
        bind(curriculum, said, epochs=length),
        bind(curriculum, limits),
        bind(curriculum, {"cutoff": 1025, "mix": None}),
        bind(curriculum, limits={"cutoff": np.int32(1025)}, steps_per_epoch=100, tokens_per_step=None),
    ]
    return machines[0]


def checking(machine: Machine) -> Sequence[str]:
    """A bound curriculum is verified, and the report can be read."""
    report: Report = verify(machine)
    report = require_sound(machine, unless="checked=False")
    findings: Sequence[Finding] = report.findings
    answers: Sequence[str] = [verdict.answer for verdict in report.verdicts]
    return [*answers, *(finding.sentence for finding in findings if report.broken or report.exit_code(strict=True))]


def training(curriculum: Curriculum, losses: Sequence[float]) -> dict[str, Any]:
    """A training loop: plan, step, observe; what is saved is plain data."""
    controller = Controller(curriculum, Binding({"cutoff": 1025}), epochs=50, steps_per_epoch=1000)
    controller = Controller(curriculum, limits={"cutoff": 1025}, peak=1e-3, lag=0)
    for loss in losses:
        plan: Plan = controller.plan
        knobs: Mapping[str, float | str] = plan.knobs
        rate: float = plan.lr
        requests: tuple[Action, ...] = plan.requests
        decision: Decision | None = controller.observe(np.float32(loss), step=plan.step, val_loss=loss)
        if decision is not None:
            raised: tuple[str, ...] = decision.raises
            print(knobs, rate, requests, raised, *decision.guards)
    lines: list[str] = controller.explain()
    notes: tuple[str, ...] = controller.load_state_dict(controller.state_dict(), on_change="accept")
    print(*lines, *notes)
    return controller.state_dict()


def mistakes(error: CurriculumError) -> list[str]:
    """Every error is a PlateauError; a curriculum's has faults with places."""
    errors: list[type[PlateauError]] = [
        CurriculumError,
        BindingError,
        ArgumentError,
        StepError,
        NonFiniteLoss,
        SnapshotError,
        RegressionError,
        UnsoundError,
    ]
    warnings: list[type[UserWarning]] = [BindingWarning, ObservationWarning]
    wrong: type[TypeError] = ArgumentError
    faults: tuple[Fault, ...] = error.faults
    places: list[Place | None] = [fault.place for fault in faults]
    return [*(one.__name__ for one in (*errors, *warnings)), wrong.__name__, *map(str, places)]


NAMES: list[str] = plateau_rule.__all__


@register_guard("quiet")
class Quiet(OwnGuard):
    """The last value is small."""

    window: int = 5
    """Values."""

    def push(self, memory: list[float], value: float) -> None:
        memory[:] = [*memory, value][-self.window :]

    def holds(self, memory: list[float]) -> bool:
        return max(memory) < 1.0


def forgetting() -> type[OwnGuard]:
    forget_guard("quiet")
    return Quiet
