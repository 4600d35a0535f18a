"""What is settled when a run begins or goes on: the Controller, the step it stands at, the ratios of the groups."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from math import ceil
from typing import Any

from plateau_rule.adapters.errors import WiringError
from plateau_rule.adapters.saved import SavedRule
from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum

Groups = Sequence[MutableMapping[str, Any]]
"""An optimizer's parameter groups: `optimizer.param_groups`."""


def controller_for(
    given: Curriculum | Controller, binding: Binding, total_steps: int | None, steps_per_epoch: int | None
) -> tuple[Controller, list[str]]:
    """The Controller that was given, or a new one, bound to the run; and sentences about what does not quite fit.

    Args:
        given: a curriculum, or a Controller of the user's own.
        binding: what the user says of the trainer; it goes before what the trainer says of the run.
        total_steps: optimizer steps in the run, as the trainer knows them.
        steps_per_epoch: optimizer steps in an epoch, as the trainer knows them.
    """
    if isinstance(given, Controller):
        own = given.total_steps
        if own is None or total_steps is None or own == total_steps:
            return given, []
        return given, [
            f"the Controller is bound to {own} steps, and the trainer takes {total_steps}: rates and shares of the "
            "run follow the Controller"
        ]
    notes = []
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
    return Controller(given, binding, epochs=epochs, steps_per_epoch=per_epoch), notes


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


def ratios_of(framework: str, groups: Groups, saved: SavedRule | None) -> tuple[float, ...]:
    """Each group's rate divided by the largest, as it was when the run began.

    A resumed optimizer's rates are decayed ones, so that only the saved ratios count then.

    Raises:
        WiringError: they cannot be known, or were saved of other groups.
    """
    if saved is None:
        rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
        highest = max(rates, default=0.0)
        if not highest > 0:
            raise WiringError(
                f"{framework}: every parameter group has the rate 0, so how they compare is unknown. Give the "
                "optimizer a rate above 0; the curriculum replaces it"
            )
        return tuple(rate / highest for rate in rates)
    if len(saved.ratios) != len(groups):
        raise WiringError(
            f"{framework}: the optimizer has {len(groups)} parameter groups, and had {len(saved.ratios)} when the "
            "checkpoint was made. Make the same groups in the same order"
        )
    return saved.ratios


def out_of_order(given: int, planned: int) -> str:
    """Why a step that the trainer closes is not the one that is planned."""
    if given == planned - 1:
        return f"step {given} was closed a second time. Close each optimizer step once, not each micro-batch"
    if given < planned:
        why = f"step {given} was closed already, and the curriculum is at step {planned}"
    else:
        why = f"the trainer is at step {given}, the curriculum at step {planned}: {given - planned} were not closed"
    return f"{why}. Resume both from one checkpoint"
