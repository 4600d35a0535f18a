"""The command `plateau import`."""

from __future__ import annotations

import sys
from pathlib import Path

from plateau_rule.commands.options import Flag, Output, UsageError, write_text
from plateau_rule.commands.sources import STDIN, Source, refuse_options
from plateau_rule.controller.errors import visible


def import_(file: Source, *, steps_per_epoch: int | None = None, nearest: Flag = False, output: Output = None) -> int:
    """Turn the schedule of another trainer into a curriculum.

    Reads the arguments of Megatron-LM (--rampup-batch-size, --step-batch-size-schedule, --lr and what belongs to it)
    or of Hugging Face's Transformers (lr_scheduler_type and what belongs to it), from a shell script, a file of
    arguments, JSON or YAML; which it is, is found by what stands there. Rate and batch are those of that trainer at
    every step, or a sentence says which argument the language has no word for. `plateau check` has seen the curriculum:
    its first lines say what was found.

    Exits with 1 if a property of the curriculum is broken.

    Args:
        file: A file with arguments. `-` reads the standard input.
        steps_per_epoch: Optimizer steps in an epoch, which Transformers' arguments do not say.
        nearest: Let what Megatron-LM turns within a step turn with it; the first lines say what.
        output: Write the curriculum to this file, which must be new, instead of the standard output.
    """
    refuse_options("import", (file,))
    if output is not None and output.exists():
        raise UsageError(f"{visible(str(output))} exists. Name a new file to write to; nothing was changed")
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise UsageError(f"--steps-per-epoch {steps_per_epoch}; expected at least 1")
    from plateau_rule.sim.schedules import import_schedule

    name = "<stdin>" if file == STDIN else file
    text, report = import_schedule(_content(file), name, steps_per_epoch=steps_per_epoch, nearest=nearest)
    write_text(text, output)
    return report.exit_code()


def _content(file: str) -> bytes:
    """What is to be read: of a file that is too large, no more than shows it."""
    from plateau_rule.sim.schedules.arguments import LARGEST_BYTES

    if file == STDIN:
        return sys.stdin.buffer.read(LARGEST_BYTES + 1)
    path = Path(file)
    if path.is_dir():
        raise UsageError(f"{visible(file)} is a folder. Name a file with the arguments of a trainer")
    with path.open("rb") as opened:
        return opened.read(LARGEST_BYTES + 1)
