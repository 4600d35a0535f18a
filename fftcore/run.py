"""`python -m fftcore.run CURRICULUM`, the same as `plateau train CURRICULUM`: begin a run, or resume one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.controller import Controller, Curriculum, loads
from plateau_rule.controller.language.reading import contents
from plateau_rule.fftcore.binding import (
    NOTHING,
    Asked,
    Overrides,
    bound,
    chosen_device,
    continued,
    planned,
    the_same_text,
)
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.record import Record, Resumed, command_line, make_run_folder, read_record, write_record
from plateau_rule.fftcore.storage import Disk, locked

if TYPE_CHECKING:
    import torch

    from plateau_rule.fftcore.data import Text
    from plateau_rule.fftcore.learner import Learner
    from plateau_rule.fftcore.progress import Progress


def train(
    curriculum: str,
    *,
    data: Path | None = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    preset: Literal["tiny", "base"] | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    seed: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    device: str | None = None,
    freeze_backbone: Path | None = None,
    on_change: Literal["refuse", "accept"] = "refuse",
    log_every: Annotated[int, Parameter(validator=Number(gte=1))] = 50,
    overrides: Overrides = NOTHING,
) -> int:
    """Train the byte-level language model under a curriculum.

    Args:
        curriculum: a curriculum file, or the bare name of a shipped one such as `plateau`.
        data: the text to train on, any bytes; the embedded works of Shakespeare by default.
        out: the run's folder; `runs/` and the curriculum's name by default.
        resume: go on with the run in `out`, from its newest whole checkpoint.
        preset: `tiny` for a CPU (the default), or `base`, the published run.
        epochs: length of the run, in place of the curriculum's; on a resume, a longer one.
        steps_per_epoch: optimizer steps in an epoch, in place of the curriculum's.
        seed: of weights and windows, 0 by default.
        device: `cpu`, `cuda`, `cuda:1`; the GPU by default if there is one.
        freeze_backbone: a checkpoint, or the run it belongs to: keep its backbone as it is and train a new chunk head.
        on_change: what to do on a resume if the curriculum was edited since: `refuse`, or `accept` and go on.
        log_every: steps from one line to the next where there is no terminal.
        overrides: what replaces a value of the preset.

    Returns:
        0; 143 or 130 when the run was told to end, and was saved.
    """
    # Threads that wait sleep. Spinning ones starve whatever shares the cores with them, each other first: with both
    # cores of a machine busy, a step was seen to take 40 times as long. Read when torch is loaded, which is below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    source, name = contents(curriculum)
    machine = loads(source, name)
    asked = Asked(
        data=data,
        out=out if out is not None else Path("runs") / machine.name,
        preset=preset,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        seed=seed,
        device=device,
        freeze_backbone=freeze_backbone,
        on_change=on_change,
        log_every=log_every,
        overrides=overrides,
    )
    return begin_or_resume(machine, source, asked, resume, Disk())


def begin_or_resume(curriculum: Curriculum, source: bytes, asked: Asked, resume: bool, disk: Disk) -> int:
    """Do what `train` says, writing by `disk`.

    Args:
        curriculum: read from `source`.
        source: the curriculum's bytes.
        asked: the command line.
        resume: go on with the run in `asked.out`.
        disk: what writes.

    Returns:
        The exit code.
    """
    if resume:
        record = continued(read_record(asked.out), curriculum, source, asked)
        text = the_same_text(record, asked)
    else:
        record, text = planned(curriculum, source, asked)
        make_run_folder(asked.out, disk)
    with locked(asked.out):
        if not resume:
            write_record(asked.out, record, disk)
        return _carry_out(record, curriculum, text, asked, resume, disk)


# Carrying it out


def _carry_out(record: Record, curriculum: Curriculum, text: Text, asked: Asked, resume: bool, disk: Disk) -> int:
    from plateau_rule.fftcore.checkpoint import Checkpoints
    from plateau_rule.fftcore.finish import finish
    from plateau_rule.fftcore.learner import Learner
    from plateau_rule.fftcore.progress import progress
    from plateau_rule.fftcore.train import CHECKPOINTS, Caught, Training

    run = record.bound
    controller = bound(curriculum, record.config, run.epochs, run.steps_per_epoch, run.peak, run.lag)
    checkpoints = Checkpoints(asked.out / CHECKPOINTS, record.config.save_every, disk)
    commit = checkpoints.newest() if resume else None
    if resume and commit is None and controller.fingerprint != record.fingerprint and asked.on_change == "refuse":
        raise RunError(f"{asked.out}: was begun under another curriculum. Resume with {asked.out}/curriculum.toml")
    learner = Learner(record.config, text, record.seed, _device(record, asked, resume), record.heads_only)
    if record.backbone is not None and commit is None:
        _take_backbone(learner, Path(record.backbone))
    with progress(run.epochs * run.steps_per_epoch, asked.log_every) as show, Caught() as caught:
        training = Training(record, controller, learner, asked.out, show, checkpoints, disk)
        _introduce(record, controller, learner, asked.out, show)
        try:
            if commit is None:
                training.begin()
            else:
                for line in checkpoints.passed_over:
                    show.say(f"passed over: {line}")
                training.resume(commit, asked.on_change)
                checkpoints.set_aside(commit.step)
            if resume:
                note = Resumed(step=controller.plan.step, epochs=run.epochs, command=command_line())
                changed = {"resumed": (*record.resumed, note), "fingerprint": controller.fingerprint}
                write_record(asked.out, record.model_copy(update=changed), disk)
            training.run(caught)
        finally:
            training.close()
        if caught.signal is not None:
            show.say(f"told to end, and saved: step {training.saved}. Go on with --resume --out {asked.out}")
            return 128 + caught.signal
        finish(record, curriculum, controller, learner, asked.out, show, disk)
    return 0


def _device(record: Record, asked: Asked, resume: bool) -> torch.device:
    """Return the device that is asked for; a resumed run stays where it was, if that is here."""
    if resume and asked.device is None:
        try:
            return chosen_device(record.device)
        except RunError:
            pass
    return chosen_device(asked.device)


def _take_backbone(learner: Learner, path: Path) -> None:
    """Put the weights of a commit into a learner, but for its chunk head, which begins anew."""
    from plateau_rule.fftcore.checkpoint import read_commit, unpack_weights

    own = {name: value.clone() for name, value in learner.model.chunk_head.state_dict().items()}
    unpack_weights(read_commit(path), learner.model)
    learner.model.chunk_head.load_state_dict(own)


def _introduce(record: Record, controller: Controller, learner: Learner, out: Path, show: Progress) -> None:
    model, run = record.config.model, record.bound
    count = sum(value.numel() for value in learner.model.parameters())
    show.say(
        f'"{record.curriculum["name"]}" in {out}: {run.epochs} epochs of {run.steps_per_epoch} steps of '
        f"{run.tokens_per_step} bytes, peak rate {run.peak:g}, on {learner.device}"
    )
    show.say(
        f"{count:,} parameters: {model.layers} layers of {model.d_model} channels, {model.seq_len} bytes of context; "
        f"text: {record.text.name}, {record.text.bytes:,} bytes"
    )
    for line in controller.machine.notes:
        show.say(line)


if __name__ == "__main__":
    from plateau_rule.commands import app as plateau

    sys.exit(plateau.main(["train", *sys.argv[1:]]))
