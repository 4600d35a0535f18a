"""`python -m fftcore.run CURRICULUM`, the same as `plateau train CURRICULUM`: begin a run, or resume one."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import loads
from plateau_rule.fftcore.binding import (
    Resume,
    RunOptions,
    checked,
    continue_run,
    plan_run,
    read_same_text,
)
from plateau_rule.fftcore.errors import StorageError
from plateau_rule.fftcore.preparation import bind_record, make_learner, open_checkpoints
from plateau_rule.fftcore.ranks import World, together
from plateau_rule.fftcore.record import (
    SUMMARY,
    Record,
    Resumed,
    command_line,
    holds_curriculum,
    holds_run,
    make_run_folder,
    read_record,
    refuse_second_run,
    refuse_used_folder,
    sweep,
    write_curriculum,
    write_record,
)
from plateau_rule.fftcore.storage import Disk, locked
from plateau_rule.sim.run_files import CURRICULUM, RECORD
from plateau_rule.sim.trackers import open_tracks

if TYPE_CHECKING:
    from plateau_rule.fftcore.checkpoint import Checkpoints, Commit
    from plateau_rule.fftcore.data import Text
    from plateau_rule.fftcore.progress import Progress
    from plateau_rule.fftcore.signals import Caught
    from plateau_rule.fftcore.train import Training

GO, OVER = b"go", b"over"  # what rank 0 tells the others when all is ready


def begin_or_resume(curriculum: Curriculum, source: bytes, asked: RunOptions, resume: Resume, disk: Disk) -> int:
    """Do what `train` says, writing by `disk`.

    Args:
        curriculum: read from `source`.
        source: the curriculum's bytes.
        asked: the command line.
        resume: go on with the run in `asked.out`; "auto" begins one where there is none.
        disk: what writes.

    Returns:
        The exit code.
    """
    # Threads that wait sleep. Spinning ones starve whatever shares the cores with them, each other first: with both
    # cores of a machine busy, a step was seen to take 40 times as long. Read when torch is loaded, which is below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return together(lambda world: _train(curriculum, source, replace(asked, ranks=world.size), resume, disk, world))


def _train(curriculum: Curriculum, source: bytes, asked: RunOptions, resume: Resume, disk: Disk, world: World) -> int:
    if not world.writes:
        return _follow(asked, disk, world)
    if resume is True or (resume == "auto" and holds_run(asked.out)):
        return _resume(curriculum, source, asked, disk, world)
    return _begin(curriculum, source, asked, disk, world)


def _begin(curriculum: Curriculum, source: bytes, asked: RunOptions, disk: Disk, world: World) -> int:
    from plateau_rule.fftcore.device import enough_memory

    record, text = plan_run(curriculum, source, asked)
    make_run_folder(asked.out, disk)
    with locked(asked.out), enough_memory():
        refuse_second_run(asked.out)  # another process may have begun one since
        sweep(asked.out, disk)
        write_curriculum(asked.out, record, disk)
        write_record(asked.out, record, disk)
        return _carry_out(record, None, curriculum, text, asked, disk, world)


def _resume(curriculum: Curriculum, source: bytes, asked: RunOptions, disk: Disk, world: World) -> int:
    from plateau_rule.fftcore.device import enough_memory

    read_record(asked.out)  # where there is none, there may be no folder to lock
    with locked(asked.out), enough_memory():
        written = read_record(asked.out)
        record = continue_run(written, curriculum, source, asked)
        text = read_same_text(record, asked)
        return _carry_out(record, written, curriculum, text, asked, disk, world)


def rehearse_run(curriculum: Curriculum, source: bytes, asked: RunOptions, resume: Resume) -> int:
    """Say what `begin_or_resume` would do, and what that would take, on as many ranks; nothing is written.

    Returns:
        1 if the curriculum is broken, else 0; on ranks other than the first, 0.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return together(lambda world: _rehearse(curriculum, source, replace(asked, ranks=world.size), resume, world))


def _rehearse(curriculum: Curriculum, source: bytes, asked: RunOptions, resume: Resume, world: World) -> int:
    from plateau_rule.fftcore.device import enough_memory
    from plateau_rule.fftcore.rehearsal import check_in_words, rehearse
    from plateau_rule.fftcore.state import state_of

    if not world.writes:
        return _rehearse_along(asked, world)
    written = None
    if resume is True or (resume == "auto" and holds_run(asked.out)):
        written = read_record(asked.out)
        record = continue_run(written, curriculum, source, asked)
        text = read_same_text(record, asked)
    else:
        refuse_used_folder(asked.out)
        record, text = plan_run(curriculum, source, replace(asked, unchecked=True))
    controller = bind_record(record, curriculum, asked)
    _, commit = open_checkpoints(record, written, controller, asked, Disk())
    if commit is not None:
        for line in controller.load_state_dict(state_of(commit).controller, on_change=asked.on_change):
            print(line)
    code = check_in_words(controller.machine, source, print)
    if code and not asked.unchecked:
        print("A dry run ends here: nothing is trained under a curriculum that is broken. Mend it, or say --unchecked")
        world.share(OVER)
        world.part()
        return code
    word = "would begin" if commit is None else f"would go on at step {commit.step}"
    print(f"A dry run: nothing is written, and the steps that are timed are forgotten. The run {word} in {asked.out}")
    world.share(GO)
    world.share(json.dumps(record.model_dump(mode="json")).encode())
    world.share_commit(commit)
    with enough_memory():
        learner, threads = make_learner(record, text, asked, commit, written is not None, world)
        for line in filter(None, (threads, *rehearse(record, controller, learner))):
            print(line)
    world.part()
    return code


def _rehearse_along(asked: RunOptions, world: World) -> int:
    """Take the steps that rank 0 times, and say nothing."""
    from plateau_rule.fftcore.device import enough_memory
    from plateau_rule.fftcore.rehearsal import rehearse
    from plateau_rule.fftcore.state import state_of

    if world.share(None) == GO:
        record = Record.model_validate(json.loads(world.share(None)))
        controller = bind_record(record, loads(record.curriculum.text, record.curriculum.name), asked)
        commit = world.share_commit(None)
        if commit is not None:
            controller.load_state_dict(state_of(commit).controller, on_change=asked.on_change)
        with enough_memory():
            learner, _ = make_learner(record, read_same_text(record, asked), asked, commit, commit is not None, world)
            for _ in rehearse(record, controller, learner):
                pass
    world.part()
    return 0


# Carrying it out


def _carry_out(
    record: Record,
    written: Record | None,
    curriculum: Curriculum,
    text: Text,
    asked: RunOptions,
    disk: Disk,
    world: World,
) -> int:
    """Train, and score. `written` is the record of the run that is resumed, as it was read."""
    from plateau_rule.fftcore.finish import finish
    from plateau_rule.fftcore.introduction import introduce
    from plateau_rule.fftcore.progress import progress
    from plateau_rule.fftcore.remaining import Remaining
    from plateau_rule.fftcore.saving import Saving
    from plateau_rule.fftcore.signals import Caught, Interruption
    from plateau_rule.fftcore.train import Training

    run, resume = record.bound, written is not None
    controller = bind_record(record, curriculum, asked)
    checkpoints, commit = open_checkpoints(record, written, controller, asked, disk)
    if written is not None:  # what was begun unchecked goes on so
        unchecked = asked.unchecked or written.checked is None
        record = record.model_copy(update={"checked": checked(controller, unchecked)})
    world.share(json.dumps(record.model_dump(mode="json")).encode())
    world.share_commit(commit)
    learner, threads = make_learner(record, text, asked, commit, resume, world)
    total_steps = run.epochs * run.steps_per_epoch
    remaining = Remaining(controller.machine, total_steps)
    with progress(total_steps, asked.log_every, remaining) as show, Caught(world.size) as caught:
        saving = Saving(checkpoints, record.config.save_every, asked.on_save_error, show.say)
        training = Training(record, controller, learner, asked.out, show, saving, text, disk)
        introduce(record, controller, learner, asked.out, show)
        if threads is not None:
            show.say(threads)
        try:
            if not _set_off(training, commit, resume, asked, checkpoints):
                return 0
            if asked.track and world.writes:
                training.tracks = open_tracks(asked.track, asked.out.resolve().name, controller)
            training.run(caught)
        finally:
            training.close()
        over = controller.plan.stop is not None
        if number := _signal(training, caught, show):
            show.say(f"told to end, and saved: step {saving.saved}. Go on with --resume --out {asked.out}")
            return 128 + number
        if over:
            try:
                with caught.at_once():
                    finish(record, curriculum, controller, learner, asked.out, show, disk, saving.refused)
            except Interruption as told:
                show.say(f"told to end before the run was scored; it is saved. Go on with --resume --out {asked.out}")
                return 128 + told.number
    unsaved = over and controller.plan.step in saving.refused
    return int(unsaved) if show.lost is None else _without_output(show.lost, over, saving.saved, asked.out)


def _set_off(
    training: Training, commit: Commit | None, resume: bool, asked: RunOptions, checkpoints: Checkpoints
) -> bool:
    """Begin, or go back to a commit, on all ranks; False if the run is over."""
    from plateau_rule.fftcore.finish import was_finished

    record, controller, show, world = training.record, training.controller, training.show, training.world
    if commit is None:
        training.begin()
    else:
        for line in checkpoints.passed_over:
            show.say(f"passed over: {line}")
        training.resume(commit, asked.on_change)
        if controller.fingerprint == record.fingerprint and was_finished(asked.out, controller.plan):
            show.say(
                f"nothing is left to do: this run is over, and {asked.out / SUMMARY} says how good it is. "
                "Make it longer with --epochs, or begin another with another --out"
            )
            world.share(OVER)
            world.part()
            return False
        checkpoints.set_aside(commit.step)
    if resume:
        training.record = _note_resume(record, controller, asked, show, checkpoints.disk)
        checkpoints.sweep()
    world.share(GO)
    return True


def _signal(training: Training, caught: Caught, show: Progress) -> int | None:
    """Return the signal that told the run to end; one that a rank has caught tells all of them."""
    if training.world.size == 1:
        return caught.signal
    return training.told if training.told and show.lost is None else None


def _follow(asked: RunOptions, disk: Disk, world: World) -> int:
    """Train along with rank 0, which writes and speaks for all.

    Returns:
        The exit code: that of rank 0, but for what that does when the run is over.
    """
    from plateau_rule.fftcore.checkpoint import Checkpoints
    from plateau_rule.fftcore.device import enough_memory
    from plateau_rule.fftcore.progress import Silence
    from plateau_rule.fftcore.saving import Saving
    from plateau_rule.fftcore.signals import Caught
    from plateau_rule.fftcore.train import Training

    record = Record.model_validate(json.loads(world.share(None)))
    show, curriculum = Silence(), loads(record.curriculum.text, record.curriculum.name)
    controller = bind_record(record, curriculum, asked)
    text = read_same_text(record, asked)
    commit = world.share_commit(None)
    with enough_memory(), Caught(world.size) as caught:
        learner, _ = make_learner(record, text, asked, commit, commit is not None, world)
        saving = Saving(Checkpoints(asked.out, None, disk), record.config.save_every, asked.on_save_error, show.say)
        training = Training(record, controller, learner, asked.out, show, saving, text, disk)
        try:
            if commit is None:
                training.begin()
            else:
                training.resume(commit, asked.on_change)
            if world.share(None) == GO:
                training.run(caught)
            else:
                world.part()
        finally:
            training.close()
    return 128 + training.told if training.told else 0


def _note_resume(record: Record, controller: Controller, asked: RunOptions, show: Progress, disk: Disk) -> Record:
    """Write into the record that the run was resumed, and the curriculum beside it if that is another; the record."""
    sweep(asked.out, disk)
    if asked.on_change == "accept" or not os.path.lexists(asked.out / CURRICULUM):
        write_curriculum(asked.out, record, disk)
    elif not holds_curriculum(asked.out, record):
        show.say(
            f"{asked.out / CURRICULUM}: is not what this run is trained under, which {RECORD} holds; left as it is"
        )
    note = Resumed(step=controller.plan.step, epochs=record.bound.epochs, command=command_line())
    changed = {"resumed": (*record.resumed, note), "fingerprint": controller.fingerprint}
    noted = record.model_copy(update=changed)
    write_record(asked.out, noted, disk)
    return noted


def _without_output(error: OSError, over: bool, saved: int | None, out: Path) -> int:
    """Say to the standard error that the standard output is lost, and return the exit code."""
    end = "the run is over" if over else f"the run has ended, and is saved: step {saved}. Go on with --resume"
    told = f"the standard output cannot be written: {error.strerror}; {end}. All of it is in {out}"
    if not isinstance(error, BrokenPipeError):
        raise StorageError(told)
    with suppress(OSError):
        print(told, file=sys.stderr)
    return 128 + signal.SIGPIPE


if __name__ == "__main__":
    from plateau_rule.commands import app as plateau

    sys.exit(plateau.main(["train", *sys.argv[1:]]))
