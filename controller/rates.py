"""Learning-rate shapes: pure functions of the phase, 0 on the step of a restart and 1 at the end of `length`."""

from __future__ import annotations

from math import cos, pi


def cosine(phase: float, decay: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, SGDR, equation 5)."""
    return 0.5 * (1.0 + cos(pi * phase))


def linear(phase: float, decay: float) -> float:
    """A straight line from 1 to 0."""
    return 1.0 - phase


def constant(phase: float, decay: float) -> float:
    """1 throughout; a floor has no effect."""
    return 1.0


def wsd(phase: float, decay: float) -> float:
    """Stable at 1, then a straight line to 0 over the last `decay` of the length (Hu et al. 2024, MiniCPM)."""
    return min(1.0, (1.0 - phase) / decay)


SHAPES = {"cosine": cosine, "linear": linear, "constant": constant, "wsd": wsd}


def multiplier(shape: str, floor: float, decay: float, phase_steps: int, length_steps: int) -> float:
    """What the peak is multiplied by.

    shape: a key of SHAPES; floor: 0 to 1, reached at the end of the length and held from there; decay: the share of
    the length over which `wsd` falls; phase_steps, length_steps: optimizer steps since the restart, and in the length.
    """
    if phase_steps <= 0:
        phase = 0.0
    elif phase_steps >= length_steps:
        phase = 1.0
    else:
        phase = phase_steps / length_steps
    return floor + (1.0 - floor) * SHAPES[shape](phase, decay)
