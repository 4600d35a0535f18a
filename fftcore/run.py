"""`python -m fftcore.run CURRICULUM`, the same as `plateau train CURRICULUM`: begin a run, or resume one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plateau_rule.controller import Curriculum
from plateau_rule.fftcore.binding import (
    Asked,
    bound,
    continued,
    planned,
    the_same_text,
)
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.record import Record, Resumed, command_line, make_run_folder, read_record, write_record
from plateau_rule.fftcore.storage import Disk, locked

if TYPE_CHECKING:
    from plateau_rule.fftcore.data import Text
    from plateau_rule.fftcore.learner import Learner


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
    import torch

    from plateau_rule.fftcore.checkpoint import Checkpoints
    from plateau_rule.fftcore.device import device_of, take_threads
    from plateau_rule.fftcore.finish import finish
    from plateau_rule.fftcore.introduction import introduce
    from plateau_rule.fftcore.learner import Learner
    from plateau_rule.fftcore.progress import progress
    from plateau_rule.fftcore.train import CHECKPOINTS, Caught, Training

    run = record.bound
    controller = bound(curriculum, record.config, run.epochs, run.steps_per_epoch, run.peak, run.lag)
    checkpoints = Checkpoints(asked.out / CHECKPOINTS, record.config.save_every, disk)
    commit = checkpoints.newest() if resume else None
    if resume and commit is None and controller.fingerprint != record.fingerprint and asked.on_change == "refuse":
        raise RunError(f"{asked.out}: was begun under another curriculum. Resume with {asked.out}/curriculum.toml")
    device = device_of(record, asked.device) if resume else torch.device(record.device)
    take_threads(record, device)
    learner = Learner(record.config, text, record.seed, device, record.heads_only)
    if record.backbone is not None and commit is None:
        _take_backbone(learner, Path(record.backbone))
    with progress(run.epochs * run.steps_per_epoch, asked.log_every) as show, Caught() as caught:
        training = Training(record, controller, learner, asked.out, show, checkpoints, disk)
        introduce(record, controller, learner, asked.out, show)
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


def _take_backbone(learner: Learner, path: Path) -> None:
    """Put the weights of a commit into a learner, but for its chunk head, which begins anew."""
    from plateau_rule.fftcore.checkpoint import read_commit, unpack_weights

    own = {name: value.clone() for name, value in learner.model.chunk_head.state_dict().items()}
    unpack_weights(read_commit(path), learner.model)
    learner.model.chunk_head.load_state_dict(own)


if __name__ == "__main__":
    from plateau_rule.commands import app as plateau

    sys.exit(plateau.main(["train", *sys.argv[1:]]))
