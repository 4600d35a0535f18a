"""Steps in an epoch, and where steps count from, as a log shows them."""

from __future__ import annotations

from math import ceil, floor, inf

import numpy as np

from plateau_rule.sim.logs.log import Log


def first_step_of(log: Log) -> int:
    """0 or 1: whether a log names a step by its index, or by how many are complete after it.

    Regular logs tell: 0, 50, 100 and 49, 99, 149 are indices; 50, 100, 150 and 1, 2, 3 are counts.
    """
    first, spacing = log.report.used.first_step or 0, log.report.spacing
    if log.report.counted == "row" or first == 0:
        return 0
    if spacing == 1:
        return int(first == 1)
    return int(first % spacing == 0)


def epoch_steps_of(log: Log) -> int | None:
    """Steps in an epoch, counted by the log or measured on it; None where it does not tell."""
    if log.report.epoch_steps is not None or log.report.counted != "step":
        return log.report.epoch_steps
    found = steps_per_epoch_of(log, first_step_of(log))
    return None if found is None else found[0]


def steps_per_epoch_of(log: Log, first_step: int = 0) -> tuple[int, bool] | None:
    """Tell the steps in an epoch by the epochs that a log holds.

    Whole epochs tell by where they change: epoch e begins at e times the number. Fractions tell by their slope.

    Args:
        log: a log.
        first_step: what it calls a run's first step.

    Returns:
        The number of steps and whether it is exact; None where the log does not tell.
    """
    if log.report.epochs is None:
        return None
    low, high, changes, fraction = 0.0, inf, 0, False
    first: tuple[int, float] | None = None
    last: tuple[int, float] | None = None
    offset = 0.0
    for chunk in log.chunks():
        if chunk.epoch is None:
            return None
        known = np.isfinite(chunk.epoch)
        steps, epochs = chunk.step[known] - first_step, chunk.epoch[known]
        if not len(steps):
            continue
        if first is None:
            first = (int(steps[0]), float(epochs[0]))
            # Some count epochs from 1: their first is complete at the first change.
            offset = 1.0 if first[1] == 1.0 and first[0] <= log.report.spacing else 0.0
        if last is not None:
            steps, epochs = np.concatenate(([last[0]], steps)), np.concatenate(([last[1]], epochs))
        fraction = fraction or bool((np.floor(epochs) != epochs).any())
        for at in np.flatnonzero(np.diff(np.floor(epochs)) > 0).tolist():
            begins = floor(float(epochs[at + 1]) - offset)
            if begins > 0:
                changes += 1
                low, high = max(low, (int(steps[at]) + 1) / begins), min(high, int(steps[at + 1]) / begins)
        last = (int(steps[-1]), float(epochs[-1]))
    if first is None or last is None:
        return None
    if fraction:
        passed = last[1] - first[1]
        return (max(1, round((last[0] - first[0]) / passed)), False) if passed > 0 else None
    if not changes:
        return None
    if ceil(low) <= floor(high):
        return max(1, (ceil(low) + floor(high)) // 2), ceil(low) == floor(high)
    return (max(1, round((last[0] - first[0]) / (last[1] - first[1]))), False) if last[1] > first[1] else None
