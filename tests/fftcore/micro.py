"""A run so small that a test can afford many: a second of one core, every part of the trainer in use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from plateau_rule import loads
from plateau_rule.fftcore.binding import Overrides, Resume, RunOptions
from plateau_rule.fftcore.run import begin_or_resume
from plateau_rule.fftcore.storage import Disk
from plateau_rule.fftcore.text import default_text

# Raises twice by the loss, at the ends of epochs 1 and 2: at this threshold any window of 6 is flat.
CURRICULUM = b"""
format = 1
name = "micro"
[run]
epochs = 4
steps_per_epoch = 8
[lr]
peak = 1e-2
length = "2 epochs"
[knob.cutoff]
ladder = [64, 256, "full"]
[[state]]
name = "low"
set = { cutoff = 64 }
[[state]]
name = "middle"
set = { cutoff = 256 }
[[state]]
name = "full"
set = { cutoff = "full" }
[[transition]]
from = "*"
to = "next"
at = "epoch"
guards = [{ min_epoch = 2 }, { plateau = { window = 6, threshold = 0.9 } }]
actions = ["lr_restart", "checkpoint"]
"""

OVERRIDES = Overrides(
    feed="gelu", d_model=8, layers=1, seq_len=24, kernel_len=12, kernel_groups=2, chunk=4, batch_size=2, save_every="5"
)


@cache
def micro_text() -> bytes:
    """The text that micro runs are trained on: 20 kB from the middle of the embedded one."""
    return default_text()[1_000_000:1_020_000]


def asked(out: Path, **changes: Any) -> RunOptions:
    """A command line for a micro run in `out`, its text beside it."""
    text = out.parent / "micro.txt"
    if not text.exists():
        text.write_bytes(micro_text())
    overrides = replace(OVERRIDES, **changes.pop("overrides", {}))
    given: dict[str, Any] = {"out": out, "data": text, "device": "cpu", "log_every": 1000, "overrides": overrides}
    return RunOptions(**given | changes)


def run(
    out: Path, *, resume: Resume = False, curriculum: bytes = CURRICULUM, disk: Disk | None = None, **changes: Any
) -> int:
    """Carry a micro run out, or resume it, and return its exit code."""
    line = asked(out, **changes)
    if resume is True and "overrides" not in changes:
        line = replace(line, overrides=Overrides())
    return begin_or_resume(loads(curriculum, "micro.toml"), curriculum, line, resume, disk or Disk())


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder, by its relative name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
