"""The knobs of the byte model's trainer: how far each can be turned, and where a curriculum takes them; no torch."""

from __future__ import annotations

from plateau_rule.controller.machine import Machine
from plateau_rule.fftcore.config import BINS, TARGET, Config


def limits(config: Config) -> dict[str, int]:
    """Return the knobs that this trainer can turn, with their largest values."""
    return {
        "cutoff": BINS,
        "kernel_taps": config.model.kernel_len,
        "seq_len": config.model.seq_len,
        "batch_size": config.batch_size,
        "depth": config.model.layers,
    }


def target_of(machine: Machine) -> dict[str, float | str] | None:
    """Return the knobs that a curriculum leads to: those at the end of its last state that does not stop the training.

    None where no guard asks how good the model is under them.
    """
    if TARGET not in machine.guarded:
        return None
    last = [state for state in machine.states if state.stop is None][-1]
    return {**last.knobs, **{name: ramp.end for name, ramp in last.ramps.items()}}
