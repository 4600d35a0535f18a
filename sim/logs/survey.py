"""Looks over the points once they are in order: how far apart they are, what they mean, what is odd about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from plateau_rule.sim.logs.points import Points, Spool
from plateau_rule.sim.logs.rows import Reader
from plateau_rule.sim.logs.series import PERPLEXITY, REWARD, Roles, granularity, is_eval, is_loss, words
from plateau_rule.sim.logs.smoothing import ema_coefficient, falls_within_epochs
from plateau_rule.sim.logs.spans import Span

MOST_POINTS = 80_000  # the last ones, that are looked at for averages
FEW_STEPS = 100  # a log of fewer steps than this may count epochs
_STEP_VALUES = ("nanoGPT", "llm.c", "of a run of ours")


@dataclass
class Survey:
    """What one pass over a log's points tells."""

    used: Span = field(default_factory=Span)
    nonfinite: int = 0
    negative: int = 0
    spacing: int = 1
    regular: float = 1.0
    gap: tuple[int, int] | None = None  # two neighbouring steps that are far apart
    epochs: tuple[float, float] | None = None
    ema: float | None = None
    restarting: bool = False  # running means that begin anew in each epoch


def survey(spool: Spool) -> Survey:
    """Look over two or more points that are in order of their steps."""
    result = Survey()
    spacings: Counter[int] = Counter()
    widest = 0
    first_epoch = last_epoch = np.nan
    tail: list[Points] = []
    for points in spool.parts():
        steps = points["step"]
        if result.used.last_step is not None:
            steps = np.concatenate(([result.used.last_step], steps))
        distances = np.diff(steps)
        for distance, count in zip(*np.unique(distances, return_counts=True), strict=True):
            spacings[int(distance)] += int(count)
        spacings = Counter(dict(spacings.most_common(1000)))
        if len(distances) and (most := int(distances.max())) > widest:
            widest, at = most, int(np.argmax(distances))
            result.gap = int(steps[at]), int(steps[at + 1])
        result.used.extend(points)
        result.nonfinite += int((~np.isfinite(points["loss"])).sum())
        result.negative += int((points["loss"] < 0).sum())
        epochs = points["epoch"][np.isfinite(points["epoch"])]
        if len(epochs):
            first_epoch = float(epochs[0]) if np.isnan(first_epoch) else first_epoch
            last_epoch = float(epochs[-1])
        tail = [*tail[-1:], points]
    result.spacing, count = max(spacings.items(), key=lambda item: (item[1], -item[0]))
    result.regular = count / (result.used.points - 1)
    if widest <= 10 * result.spacing:
        result.gap = None
    if not np.isnan(first_epoch):
        result.epochs = (first_epoch, last_epoch)
    _smoothness(result, np.concatenate(tail)[-MOST_POINTS:])
    return result


def _smoothness(result: Survey, points: Points) -> None:
    """Judge the last points, where they stand at one distance."""
    points = points[np.isfinite(points["loss"])]
    if result.regular < 0.9:
        return
    result.ema = ema_coefficient(points["loss"])
    if np.isfinite(points["epoch"]).all() and len(points):
        result.restarting = falls_within_epochs(points["loss"], points["epoch"])


def meaning(
    found: Survey, reader: Reader, roles: Roles, counted: str, undone: float | None, evals: int = 0
) -> tuple[str, str]:
    """What one value of the log is, and what that does to a guard that looks at it.

    Args:
        found: what its points tell.
        reader: its format.
        roles: its columns.
        counted: what its steps count.
        undone: the coefficient of a moving average that was taken back, or None.
        evals: the most values that a metric of its evaluations has.
    """
    named = words(roles.loss)
    apart = found.spacing if counted == "step" else 1
    every = f", one every {apart:,} steps" if apart > 1 else ""
    if not is_loss(roles.loss) and not is_eval(roles.loss):
        if named & REWARD:
            return (
                "reward" + every,
                "no loss: it rises as training goes well, and a guard on the loss takes that for none",
            )
        if named & PERPLEXITY:
            return (
                "perplexity" + every,
                "the exponential of a loss: a relative change of it is an absolute one of the loss",
            )
    if undone is not None:
        return "step value" + every, f"a moving average of coefficient {undone:g} was taken back"
    if is_eval(roles.loss):
        return "result of an evaluation" + every, "it has less noise than the training losses that a guard sees"
    if counted == "epoch" or reader.running or granularity(roles.loss) == 2:
        return "epoch value", (
            "the mean since the epoch began, read at its end: one observation is one epoch, and lags by half of it"
        )
    if found.restarting:
        return "running mean since the epoch began", (
            "it stands still late in an epoch and jumps where the next begins, whatever the loss does: a plateau in it"
            " may be the mean's own"
        )
    if found.ema is not None or named & {"ema", "smooth", "smoothed"}:
        return "exponential moving average" + every, (
            "neighbours share their noise: a window holds fewer independent losses than it seems, and lags"
        )
    if reader.averages and counted == "row":
        return "window mean over the logging interval", "one observation stands for logging_steps steps"
    if reader.averages and apart > 1:
        return f"window mean over {apart:,} steps", (
            f"most of the noise of single steps is averaged away, and one observation stands for {apart:,} of them"
        )
    if counted == "row":
        return "one value a row", "the log does not say how many steps lie between two of them"
    if (doubt := _doubt(found, reader, roles, apart, evals)) is not None:
        return f"one value{every}", doubt
    if apart == 1:
        return "step value", "what a guard sees in training"
    if granularity(roles.loss) == 0 or any(style in reader.format for style in _STEP_VALUES):
        return "step value" + every, f"a guard in training sees {apart:,} times as many"
    return f"one value{every}", "the log does not say whether it is the loss of that step or a mean since the last"


def _doubt(found: Survey, reader: Reader, roles: Roles, apart: int, evals: int) -> str | None:
    """Why the steps of a log may be no optimizer steps, or None."""
    if reader.counts_calls or reader.exported or roles.step == "_step":
        return "the tracker counts its own calls, which need not be optimizer steps"
    if apart > 1 or any(style in reader.format for style in _STEP_VALUES):
        return None
    if 10 * evals >= 9 * found.used.points:
        return "an evaluation stands beside each, so these steps may be epochs, or rounds"
    few = not reader.lines and found.used.points < FEW_STEPS and found.epochs is None
    return "so few steps may be epochs: the log does not say" if few and granularity(roles.loss) != 0 else None


def oddities(found: Survey, undone: float | None) -> list[str]:
    """What a user should know about these points, in sentences."""
    notes = []
    if found.gap:
        notes.append(f"nothing between steps {found.gap[0]:,} and {found.gap[1]:,}")
    if found.negative:
        notes.append(f"losses below 0: {found.negative:,}; a change measured by the size of such a loss means nothing")
    if found.nonfinite:
        notes.append(f"losses that are NaN or infinite: {found.nonfinite:,}, kept as events for the guards")
    if found.ema is not None and undone is None:
        ema = f"{found.ema:g}" if found.ema < 1 else "close to 1"
        remedy = f"ema={ema} (--ema) takes it back" if found.ema < 1 else "if you know it, ema=… (--ema) takes it back"
        notes.append(f"looks like a moving average of coefficient {ema}; {remedy}")
    return notes
