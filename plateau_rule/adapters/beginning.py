"""What is settled when a run begins or goes on: the Controller, and the step it stands at."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from plateau_rule.adapters.errors import WiringError
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import BindingError
from plateau_rule.controller.language.curriculum import Curriculum


def controller_for(
    given: Curriculum | Controller,
    binding: Binding,
    total_steps: int | None,
    steps_per_epoch: int | None,
    lead: Mapping[str, int] | None = None,
    by_loader: bool = False,
) -> tuple[Controller, list[str]]:
    """The Controller that was given, or a new one, bound to the run; and sentences about what does not quite fit.

    Args:
        given: a curriculum, or a Controller of the user's own.
        binding: what the user says of the trainer; it goes before what the trainer says of the run.
        total_steps: optimizer steps in the run, as the trainer knows them.
        steps_per_epoch: optimizer steps in an epoch, as the trainer knows them.
        lead: what a loader needs that draws ahead, where the user does not say it.
        by_loader: how many steps an epoch has depends on knobs, so that the loader ends it.
    """
    if isinstance(given, Controller):
        own = given.total_steps
        if own is None or total_steps is None or own == total_steps:
            return given, []
        return given, [
            f"the Controller is bound to {own} steps, and the trainer takes {total_steps}: rates and shares of the "
            "run follow the Controller"
        ]
    notes: list[str] = []
    if by_loader and binding.epochs is None and binding.steps_per_epoch is None:
        try:
            return Controller(given, binding, lead=lead or None), notes
        except BindingError:  # it measures something on the length of the run
            if total_steps is None:
                raise
    epochs, per_epoch = binding.epochs, binding.steps_per_epoch or steps_per_epoch
    if epochs is None and total_steps is not None:
        if per_epoch is None and given.run.steps_per_epoch is None:
            per_epoch = total_steps
            notes.append(f"the trainer knows no epochs: its {total_steps} steps count as one")
        if per_epoch is not None:
            epochs = ceil(total_steps / per_epoch)
            if epochs * per_epoch != total_steps:
                notes.append(
                    f"the trainer takes {total_steps} steps, which are no whole epochs of {per_epoch}: shares of the "
                    f"run are measured on {epochs * per_epoch}"
                )
    return Controller(given, binding, epochs=epochs, steps_per_epoch=per_epoch, lead=lead or None), notes


def refuse_unknown_knobs(framework: str, given: Curriculum | Controller, **by_argument: Mapping[str, object]) -> None:
    """Refuse a function for a knob that the curriculum does not have.

    Args:
        framework: that the message names.
        given: the curriculum, or a Controller with one.
        by_argument: the functions by knob, by the name of the argument that they came in.

    Raises:
        WiringError: there is one.
    """
    known = (given.machine.curriculum if isinstance(given, Controller) else given).knob
    for argument, functions in by_argument.items():
        for name in functions:
            if name not in known:
                raise WiringError(
                    f"{framework}: {argument} has a function for {name!r}, and the curriculum has no such knob. "
                    f"Expected one of: {', '.join(known) or 'none'}"
                )


def refuse_other_step(framework: str, step: int, trainer_step: int, was_saved: bool) -> None:
    """Refuse a trainer that goes on at another step than the curriculum.

    Args:
        framework: that the message names.
        step: where the curriculum stands.
        trainer_step: where the trainer stands.
        was_saved: whether the curriculum's state came out of a checkpoint.

    Raises:
        WiringError: they differ.
    """
    if step == trainer_step:
        return
    if was_saved:
        why = (
            f"the trainer goes on at step {trainer_step}, and the curriculum's state is of step {step}. Resume both "
            "from one checkpoint"
        )
    elif trainer_step:
        why = (
            f"the trainer goes on at step {trainer_step}, and there is no state of the curriculum: the checkpoint was "
            "made without it, or it was not loaded. Resume from a checkpoint that holds it; or say where the run "
            f"stands: make the Controller yourself, call its adopt(step={trainer_step}), and give it in place of the "
            "curriculum"
        )
    else:
        why = f"training begins at step 0, and the Controller is at step {step}. Give a new run a new Controller"
    raise WiringError(f"{framework}: {why}")


def out_of_order(given: int, planned: int) -> str:
    """Why a step that the trainer closes is not the one that is planned."""
    if given == planned - 1:
        return f"step {given} was closed a second time. Close each optimizer step once, not each micro-batch"
    if given < planned:
        why = f"step {given} was closed already, and the curriculum is at step {planned}"
    else:
        why = f"the trainer is at step {given}, the curriculum at step {planned}: {given - planned} were not closed"
    return f"{why}. Resume both from one checkpoint"
