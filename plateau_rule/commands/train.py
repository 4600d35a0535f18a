"""The command `plateau train`, which `python -m fftcore.run` is as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import OUT, Flag
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.fftcore.binding import NOTHING, Overrides, Resume, RunOptions
from plateau_rule.fftcore.run import begin_or_resume, rehearse_run
from plateau_rule.fftcore.saving import OnSaveError
from plateau_rule.fftcore.storage import Disk
from plateau_rule.sim.trackers import require_trackers


@Parameter(name="*")
@dataclass(frozen=True)
class SavingOptions:
    """How checkpoints are kept."""

    keep: Annotated[int, Parameter(validator=Number(gte=2))] = 2
    """How many of the newest checkpoints to keep, besides the two that a rollback may need."""
    on_save_error: OnSaveError = "stop"
    """What to do if the disk refuses a checkpoint: `stop`, or `warn` and go on without it."""


SAVING = SavingOptions()


@Parameter(name="*")
@dataclass(frozen=True)
class TrainOptions:
    """What is trained, for how long, and on what."""

    data: Path | None = None
    """The file to train on, any bytes. By default, the works of Shakespeare that come with the package."""
    preset: Literal["tiny", "base"] | None = None
    """`tiny` for a CPU (the default), or `base`, the published run."""
    epochs: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    """Epochs in the run, in place of the curriculum's. A resumed run can be made longer."""
    steps_per_epoch: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    """Optimizer steps in an epoch, in place of the curriculum's."""
    seed: Annotated[int | None, Parameter(validator=Number(gte=0, lte=2**63 - 1))] = None
    """Seed of the weights and of the batches; 0 by default."""
    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`; the GPU by default if there is one."""
    freeze_backbone: Path | None = None
    """A checkpoint or a run's folder. Keep its backbone as it is and train a new chunk head."""
    on_change: Literal["refuse", "accept"] = "refuse"
    """What to do on a resume if the curriculum was edited since: `refuse`, or `accept` and continue."""
    log_every: Annotated[int, Parameter(validator=Number(gte=1))] = 50
    """Steps between lines where the output is not a terminal."""
    unchecked: Flag = False
    """Train without asking `plateau check`; the run's record says so."""
    track: tuple[str, ...] = ()
    """A tracker, `tensorboard:FOLDER`, `mlflow:FOLDER`, `wandb:PROJECT` or `trackio:PROJECT`; repeat it for each."""


PLAIN = TrainOptions()


def train(
    curriculum: str,
    /,
    *,
    out: Annotated[Path | None, OUT] = None,
    resume: Annotated[Resume, Parameter(show_default=False, metavar="[auto]")] = False,
    config: Path | None = None,
    dry_run: Flag = False,
    options: TrainOptions = PLAIN,
    saving: SavingOptions = SAVING,
    overrides: Annotated[Overrides, Parameter(name="*", negative=None)] = NOTHING,
) -> int:
    """Train the byte-level language model under a curriculum, if `plateau check` calls nothing in it broken.

    Args:
        curriculum: A curriculum file, or the name of a shipped curriculum such as `plateau`.
        out: The run's folder. By default, `runs/` and the curriculum's name.
        resume: Continue the run in `out` from its newest complete checkpoint; with `auto`, begin it if there is none.
        config: A TOML file of options, `epochs = 20` for `--epochs 20`; the command line wins where both say something.
        dry_run: Say what the run would be, take and cost, by some steps that are forgotten, and write nothing.
        options: What is trained, for how long, and on what.
        saving: How checkpoints are kept.
        overrides: What replaces a value of the preset.

    Returns:
        0; 128 and the signal's number when the run was told to end, and was saved: 143, 130, 129, or 138 by SIGUSR1; 1
        if it went to its end and that could not be saved. Of a dry run, that of `plateau check`.
    """
    require_trackers(options.track)
    source, name = contents(curriculum)
    machine = loads(source, name)
    folder = out if out is not None else Path("runs") / machine.name
    asked = RunOptions(out=folder, config=config, overrides=overrides, **vars(options), **vars(saving))
    if dry_run:
        return rehearse_run(machine, source, asked, resume)
    return begin_or_resume(machine, source, asked, resume, Disk())
