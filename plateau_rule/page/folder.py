"""Which words name the folder of a run; to know it, no curriculum needs to be understood."""

from __future__ import annotations

from pathlib import Path

from plateau_rule.sim.run_files import METRICS, RECORD


def run_folder(named: str) -> Path | None:
    """The folder of a run, if that is what was named, by itself or by its log."""
    path = Path(named)
    folder = path.parent if path.name == METRICS else path
    return folder if (folder / RECORD).is_file() else None
