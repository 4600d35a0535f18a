"""The command `plateau plot`. What it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from plateau_rule.commands.options import OUT, READING, ReadingOptions, UsageError, read_logs, short
from plateau_rule.commands.outputs import spare_inputs
from plateau_rule.commands.sources import is_curriculum
from plateau_rule.controller.errors import visible


def plot(
    *runs: str,
    out: Annotated[Path, OUT] = Path("curve.png"),
    steps_per_epoch: int | None = None,
    reading: ReadingOptions = READING,
) -> None:
    """Draw runs: losses, states, knobs and rate on one time axis.

    Args:
        runs: Runs to draw, one above the other: folders of `plateau train` runs, or logs.
        out: The picture to write (.png or .svg).
        steps_per_epoch: Optimizer steps in an epoch, for the axis of epochs and for logs that count within epochs.
        reading: How to read the logs.
    """
    from plateau_rule.sim.plots import draw, drawable
    from plateau_rule.sim.plots.picture import picture_of_log

    if not runs:
        raise UsageError("plateau plot: name a run's folder or a log")
    drawable(out)
    spare_inputs(runs=runs, out=out)  # also where it is the default
    if wrong := next(filter(is_curriculum, runs), None):
        name = visible(wrong)
        raise UsageError(
            f"{name} is a curriculum, and plot draws runs and logs. Its machine: plateau draw {name} -o machine.svg. "
            f"Its knobs and rate: plateau check {name} --plot rate.svg. Over a log: plateau replay {name} LOG --plot "
            "run.svg"
        )
    pictures = [picture_of_log(read_logs([run], reading, steps_per_epoch), short(run), steps_per_epoch) for run in runs]
    print(f"Drawn: {draw(pictures, out)}")
