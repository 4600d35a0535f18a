"""The command `plateau branch`. What it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import OUT, Flag


def branch(
    run: Path,
    curriculum: str,
    /,
    *,
    at: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    out: Annotated[Path | None, OUT] = None,
    epochs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    unchecked: Flag = False,
) -> None:
    """Begin a run under another curriculum where a run of `plateau train` has already been on its way.

    The other curriculum is shown the losses that the run has logged. Up to the first step at which the two plan
    differently, their runs are one. The new folder begins at the newest checkpoint up to there; on a CPU its run ends
    with the weights of a run of its own, to the bit. The old run is left as it is.

    Args:
        run: The folder of a run that is over, or was stopped.
        curriculum: The other curriculum: a file, or the name of a shipped curriculum.
        at: Branch no later than before this step.
        out: The new run's folder. By default, `runs/` and the curriculum's name.
        epochs: Epochs in the new run, in place of the curriculum's. By default, as the old run was begun.
        unchecked: Do not ask `plateau check`; the run's record says so.
    """
    from plateau_rule.controller.errors import visible
    from plateau_rule.controller.language.reading import contents, loads
    from plateau_rule.fftcore.branching import BranchOptions
    from plateau_rule.fftcore.branching import branch as branch_run
    from plateau_rule.fftcore.storage import Disk

    source, name = contents(curriculum)
    other = loads(source, name)
    folder = out if out is not None else Path("runs") / other.name
    made = branch_run(run, other, source, BranchOptions(folder, at, epochs, unchecked), Disk())
    fork = made.fork
    part = (
        f"are alike in all {fork.step} steps so far" if fork.why is None else f"part at step {fork.step} ({fork.why})"
    )
    for note in made.notes:
        print(visible(note))
    print(visible(f"{run} and {other.name} {part}"))
    print(visible(f"{folder} goes on at step {made.step}: plateau train {curriculum} --resume --out {folder}"))
