"""The command `plateau export`. What it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from plateau_rule.commands.options import OUT
from plateau_rule.commands.trained import NEWEST, TrainedOptions


def export(run: Path, /, *, out: Annotated[Path, OUT], which: TrainedOptions = NEWEST) -> None:
    """Write a trained model into a folder of its own: `model.safetensors`, and `config.json` with the knobs in force.

    `plateau generate` and `plateau evaluate` take such a folder in place of a run's.

    Args:
        run: A run's folder, also of a run that is going on; one of its checkpoints; or an export.
        out: The folder to write: a new one, or an export that is to be replaced.
        which: Which of the run's models.
    """
    trained = which.read(run, "cpu")
    from plateau_rule.fftcore.export import write_export
    from plateau_rule.fftcore.storage import Disk

    written = write_export(trained, out, Disk())
    print(f"Exported: {out} ({trained}; {written:,} bytes of weights)")
