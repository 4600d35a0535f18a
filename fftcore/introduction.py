"""What is said before a run's first step: what it is, and what its user would want to know by then."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.machine import BoundState, Machine
from plateau_rule.controller.soundness import open_in_words
from plateau_rule.fftcore.config import PRESETS, steps_between
from plateau_rule.fftcore.device import changes
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.progress import Progress
from plateau_rule.fftcore.record import BoundRun, Record
from plateau_rule.fftcore.spectral import pass_band_db

UNCHECKED = "unchecked: whether this curriculum is sound was not asked (--unchecked)"
SILENT_DB = -20  # a kernel that keeps a tenth of its amplitude in its pass band mixes next to nothing


def _bytes_of_step(run: BoundRun) -> str:
    """How many bytes a step holds; at the most, where knobs decide it."""
    factors = run.tokens_per_step
    if isinstance(factors, int):
        return f"{factors} bytes"
    return f"up to {prod(run.limits[one] if isinstance(one, str) else one for one in factors)} bytes"


def introduce(record: Record, controller: Controller, learner: Learner, folder: Path, show: Progress) -> None:
    """Say what a run is, and each thing about it that its user would want to know, once."""
    model, run = record.config.model, record.bound
    count = sum(value.numel() for value in learner.model.parameters())
    show.say(
        f'"{record.curriculum.name}" in {folder}: {run.epochs} epochs of {run.steps_per_epoch} steps of '
        f"{_bytes_of_step(run)}, peak rate {run.peak:g}, on {learner.device}"
    )
    memories = ", every second one a memory, which no cutoff limits" if model.layers > 1 else ", too few for a memory"
    show.say(
        f"{count:,} parameters: {model.layers} layer{'s' * (model.layers > 1)} of {model.d_model} channels"
        f"{memories if model.memory else ''}, "
        f"{model.seq_len} bytes of context; text: {record.text.name}, {record.text.bytes:,} bytes"
    )
    checked = UNCHECKED if record.checked is None else open_in_words(record.checked)
    machine = controller.machine
    said = (*machine.notes, *replaced_peak(record, machine), *silent_states(machine))
    for line in (checked, *said, *_saved_by_the_clock(record, machine)):
        show.say(line)
    if learner.device.type == "cuda" and learner.product_type == torch.float32:
        show.say(f"{record.card or learner.device} does not compute in bfloat16: products are in float32, and slower")
    if (ranks := learner.world.size) > 1:
        show.say(
            f"{ranks} ranks: each takes one of {ranks} equal shares of every batch, of "
            f"{record.config.batch_size // ranks} windows at {record.config.batch_size}"
        )
    if changed := changes(record, learner.device, ranks):
        show.say(
            f"resumed {'; '.join(changed)}. It goes on from the same weights; its figures can differ in the last "
            "digits from those of a run that was not interrupted"
        )


def _saved_by_the_clock(record: Record, machine: Machine) -> Iterator[str]:
    ways = [way for state in machine.states for way in state.transitions]
    asks = any(action.name == "rollback" for way in ways for action in way.actions)
    if asks and steps_between(record.config.save_every) is None:
        yield (
            f"saved every {record.config.save_every}: a rollback goes to the newest checkpoint, whose step depends on "
            "the clock, so that no two runs go the same way from there. Give --save-every in steps if they must"
        )


def replaced_peak(record: Record, machine: Machine) -> Iterator[str]:
    """Say that the preset's peak rate counts, where the file has another."""
    own = machine.curriculum.lr.peak
    if own != machine.peak and machine.peak == PRESETS[record.preset].peak:
        yield (
            f"the peak rate is {machine.peak:g}, that of the preset {record.preset}; the file's {own:g} is not taken: "
            f"--peak {own:g} does that"
        )


def silent_states(machine: Machine) -> Iterator[str]:
    """Say which states have a cutoff so low for their taps that kernels pass nothing, below the cutoff either."""
    for state in machine.states:
        cutoff_bins, taps = (_lowest(machine, state, name) for name in ("cutoff", "kernel_taps"))
        gain_db = pass_band_db(cutoff_bins, taps)
        if gain_db < SILENT_DB:
            yield (
                f'state "{state.name}": {taps} taps are too few for a cutoff of {cutoff_bins} bins: they are damped by '
                f"{-gain_db:.0f} dB below the cutoff as well, so that convolutions mix hardly anything along time. "
                "Raise either"
            )


def _lowest(machine: Machine, state: BoundState, knob: str) -> int:
    """Return the lowest value that a knob has in a state; its limit where the curriculum does not set it."""
    limit = (machine.limits or {})[knob]
    values = [state.knobs.get(knob, limit)]
    if knob in state.ramps:
        values += [state.ramps[knob].start, state.ramps[knob].end]
    return int(min(value for value in values if not isinstance(value, str)))
