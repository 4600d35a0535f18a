"""A run that goes another way from a step on: what two curricula share is trained once.

Up to the first step at which two curricula plan differently, their runs are one: the same weights, moments and random
numbers. A branch takes these over from a checkpoint, and writes the logs as a run of its own would have written them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.fftcore.binding import bind_to_trainer, bound_run, checked
from plateau_rule.fftcore.checkpoint import CHECKPOINTS, STATE, Checkpoints, Commit, read_commit
from plateau_rule.fftcore.config import METRICS as SCORES
from plateau_rule.fftcore.config import TARGET, steps_between
from plateau_rule.fftcore.errors import CheckpointError, RunError
from plateau_rule.fftcore.knobs import limits, target_of
from plateau_rule.fftcore.record import (
    Branched,
    CurriculumRecord,
    Record,
    command_line,
    read_record,
    refuse_used_folder,
    versions,
    write_curriculum,
    write_record,
)
from plateau_rule.fftcore.state import refuse_another_run, state_of
from plateau_rule.fftcore.storage import Disk, locked, opened_file, unfinished
from plateau_rule.sim.run_files import DECISIONS, METRICS, RECORD
from plateau_rule.sim.run_folder import decision_row, one_line, plan_row


@dataclass(frozen=True)
class BranchOptions:
    """What was asked for.

    Attributes:
        out: the new run's folder.
        at: the step to branch at, at the latest; None: the first at which the plans differ.
        epochs: of the new run, in place of the curriculum's; None: as the old run was bound.
        unchecked: do not ask whether the curriculum is sound.
    """

    out: Path
    at: int | None = None
    epochs: int | None = None
    unchecked: bool = False


@dataclass(frozen=True)
class Fork:
    """Where two curricula part.

    Attributes:
        step: the first that is not shared, or that the run has not come to.
        why: what differs in the plans of that step; None where the run ends before anything does.
        last: the last step whose checkpoint is one of both runs.
        ends_alike: nothing differs, and the run is over.
    """

    step: int
    why: str | None
    last: int
    ends_alike: bool = False


@dataclass(frozen=True)
class Branch:
    """A run to be, at the step where it goes on.

    Attributes:
        run: the folder of the run that it branches off.
        record: of the new run.
        controller: bound to it, at its beginning.
        commit: the checkpoint that it goes on from.
        fork: where the curricula part.
        notes: what is to be said beside.
    """

    run: Path
    record: Record
    controller: Controller
    commit: Commit
    fork: Fork
    notes: tuple[str, ...]

    @property
    def step(self) -> int:
        """At which the new run goes on; all before it is shared."""
        return self.commit.step


def branch(run: Path, curriculum: Curriculum, source: bytes, asked: BranchOptions, disk: Disk) -> Branch:
    """Make a run under another curriculum from the steps that it shares with one that was trained.

    Args:
        run: the folder of a run that is over, or was stopped.
        curriculum: the other one, read from `source`.
        source: its bytes.
        asked: where to, and when.
        disk: what writes.

    Raises:
        RunError: nothing is shared, nothing differs, or the run is not what its logs say.
        CheckpointError: no checkpoint is early enough and whole.
    """
    if not (run / RECORD).exists():  # and there may be no folder to lock
        raise RunError(f"{run}: there is no run here to branch off. Name the folder of one, such as runs/sizes")
    refuse_used_folder(asked.out)
    with locked(run):
        found = find_branch(run, curriculum, source, asked)
        if found.fork.ends_alike:
            raise RunError(
                f"{run} and {curriculum.name} plan alike at each of the {found.fork.step} steps: there is nothing to "
                "branch, for a run of its own would end with the same weights"
            )
        write_branch(found, asked.out, disk)
    return found


def find_branch(run: Path, curriculum: Curriculum, source: bytes, asked: BranchOptions) -> Branch:
    """Find where a run under another curriculum may go on from one that was trained; nothing is written.

    Raises:
        RunError: nothing is shared, or the run is not what its logs say.
        CheckpointError: no checkpoint is early enough and whole.
    """
    record = read_record(run)
    fork = _fork(run, record, _controller(record, curriculum, asked.epochs))
    if asked.at is not None and asked.at > fork.last:
        raise RunError(f"--at {asked.at}: {run} and {curriculum.name} share {fork.last} steps. Give no more")
    commit, notes = _commit(run, record, curriculum, fork, fork.last if asked.at is None else asked.at)
    if versions() != record.versions:
        notes.append(
            f"{run} was trained with other versions than those here: to the bit, a run of its own may end otherwise"
        )
    controller = _controller(record, curriculum, asked.epochs)
    changed = {
        "fingerprint": controller.fingerprint,
        "curriculum": CurriculumRecord(name=curriculum.name, text=source.decode()),
        "bound": bound_run(controller, record.config),
        "command": command_line(),
        "checked": checked(controller, asked.unchecked),
        "resumed": (),
        "branched": Branched(run=str(run.absolute()), step=commit.step),
    }
    return Branch(run, record.model_copy(update=changed), controller, commit, fork, tuple(notes))


def _controller(record: Record, curriculum: Curriculum, epochs: int | None) -> Controller:
    """The controller of a run of its own, bound as the old one: by its command line, where that spoke for the file.

    Raises:
        RunError: its epochs have another length.
    """
    run, old, new = record.bound, loads(record.curriculum.text, record.curriculum.name).run, curriculum.run
    if epochs is None:
        epochs = new.epochs if run.epochs == old.epochs and new.epochs is not None else run.epochs
    if run.steps_per_epoch == old.steps_per_epoch and new.steps_per_epoch not in (None, run.steps_per_epoch):
        raise RunError(
            f"{curriculum.name}: its epochs have {new.steps_per_epoch} steps, and those of the run "
            f"{run.steps_per_epoch}: the two are scored at different steps, and share none. Begin a run of its own"
        )
    length = (epochs, run.steps_per_epoch)
    return bind_to_trainer(curriculum, record.config, *length, record.config.peak, run.lag, record.ranks)


# Where two runs part


def _fork(run: Path, record: Record, new: Controller) -> Fork:
    """Show both curricula what the run has logged, up to the first step at which they plan differently.

    Raises:
        RunError: that is the first of all.
    """
    bound = record.bound
    old = bind_to_trainer(
        loads(record.curriculum.text, record.curriculum.name),
        record.config,
        bound.epochs,
        bound.steps_per_epoch,
        bound.peak,
        bound.lag,
        record.ranks,
    )
    name = new.machine.curriculum.name
    if target_of(old.machine) != target_of(new.machine):
        raise RunError(
            f"{run} and {name} ask for {TARGET} under other knobs, and share nothing. Begin a run of its own"
        )
    fork = _part(run, record, old, new)
    if fork.step == 0 and fork.why is not None:
        raise RunError(
            f"{run} and {name} differ from step 0 on ({fork.why}), and share nothing. Begin a run of its own"
        )
    return fork


def _part(run: Path, record: Record, old: Controller, new: Controller) -> Fork:
    lates: tuple[Late, Late] = (deque(), deque())
    for row in _rows(run):
        plan = old.plan
        if row != row | plan_row(plan):
            raise RunError(
                f"{run / METRICS}: the row of step {row['step']} is not what the run's curriculum plans: the run was "
                "gone on with under another one, or made longer, and cannot be branched. Begin a run of its own"
            )
        if why := _difference(record, plan, new.plan):
            return _fork_at(plan, new.plan, why)
        try:
            for controller, late in zip((old, new), lates, strict=True):
                _observe(controller, row, late)
        except NonFiniteLoss:
            return Fork(plan.step, None, plan.step)
    why = _difference(record, old.plan, new.plan)
    return replace(_fork_at(old.plan, new.plan, why), ends_alike=why is None and old.plan.stop is not None)


def _fork_at(old: Plan, new: Plan, why: str | None) -> Fork:
    # A checkpoint of this step may hold what the old plan has asked for, such as weights of an earlier step.
    return Fork(old.step, why, old.step if old.requests == new.requests else old.step - 1)


def _difference(record: Record, old: Plan, new: Plan) -> str | None:
    """Say in what two plans differ that decides what is trained; names of states do not."""
    before, after = ({**limits(record.config), **plan.knobs} for plan in (old, new))
    if (old.stop is None) != (new.stop is None):
        return "one of them ends there"
    if old.stop is not None:
        return None
    if moved := [name for name in before if before[name] != after[name]]:
        return f"{moved[0]} {before[moved[0]]} and {after[moved[0]]}"
    if old.lr != new.lr:
        return f"rate {_apart(old.lr, new.lr)}"
    asked = (" and ".join(map(str, plan.requests)) or "nothing" for plan in (old, new))
    return None if old.requests == new.requests else "the trainer is asked for {}, or for {}".format(*asked)


def _apart(one: float, other: float) -> str:
    """Two numbers that differ, with as many figures as show it."""
    figures = next(n for n in (3, 6, 17) if f"{one:.{n}g}" != f"{other:.{n}g}")
    return f"{one:.{figures}g} and {other:.{figures}g}"


Late = deque[tuple[float, bool]]  # losses that are not observed yet, and whether their steps were skipped


def _observe(controller: Controller, row: Mapping[str, Any], late: Late) -> Decision | None:
    """Show a controller what a step has brought, as it was shown while training."""
    late.append((float(row["loss"]), bool(row.get("skipped"))))
    loss, skipped = late.popleft() if len(late) > controller.lag else (None, False)
    scores: dict[str, Any] = {name: float(row[name]) for name in (*SCORES, TARGET) if name in row}
    return controller.observe(loss, eval_end=bool(scores), step=row["step"], skipped=skipped, **scores)


def _rows(run: Path) -> Iterator[dict[str, Any]]:
    """The rows of the run's losses; a last one that is torn is none."""
    try:
        with opened_file(run / METRICS) as log:
            for line in log:
                if line.endswith(b"\n"):
                    row = json.loads(line)
                    row["step"], row["loss"]  # what every row has
                    yield row
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run / METRICS}: cannot be read: {error}. Put it back from a copy") from None


# The new run


def _commit(run: Path, record: Record, curriculum: Curriculum, fork: Fork, last: int) -> tuple[Commit, list[str]]:
    """The newest whole checkpoint up to a step, and what was passed over.

    Raises:
        CheckpointError: there is none.
    """
    every = steps_between(record.config.save_every)
    named = Checkpoints(run / CHECKPOINTS, every, Disk()).named()
    rolls_back = any("rollback" in transition.actions for transition in curriculum.transition)
    notes = []
    for step, path in sorted(named.items(), reverse=True):
        if not 0 < step <= last:
            continue
        try:
            commit = read_commit(path)
            refuse_another_run(commit, record)
            state = state_of(commit)
            for name, log in state.logs.items():
                Disk().open_log(run / name, log.bytes, log.sha256).close()
        except CheckpointError as error:
            notes.append(f"passed over: {error}")
            continue
        # A rollback goes to a checkpoint by plan, and later ones must find what a run of its own would find.
        if rolls_back and (state.answered or (every is not None and step % every)):
            continue
        return commit, notes
    early = min((step for step in named if step), default=None)
    have = "there is none" if early is None else f"the earliest is of step {early}"
    why = "" if fork.why is None else f" ({fork.why} at step {fork.step})"
    raise CheckpointError(
        f"{run}: no checkpoint beyond step 0 is in the {last} steps shared with {curriculum.name}{why}; {have}. "
        "`plateau train --keep 100` keeps more of them. Begin a run of its own"
    )


def write_branch(branch: Branch, out: Path, disk: Disk) -> None:
    """Write the folder of a run that has come to its branch; it has its name only when it is whole."""
    record, controller, commit = branch.record, branch.controller, branch.commit
    place = unfinished(out.absolute())
    disk.remove(place)
    disk.make_folder(place)
    logs = {name: disk.open_log(place / name) for name in (METRICS, DECISIONS)}
    late: Late = deque()
    for row in _rows(branch.run):
        if (plan := controller.plan).step == commit.step:
            break
        logs[METRICS].write(one_line(row | plan_row(plan)))
        if decision := _observe(controller, row, late):
            logs[DECISIONS].write(one_line(decision_row(decision, controller.plan.requests)))
    state = {
        **commit.state,
        "run": record.identity(),
        "record": record.version(),
        "controller": controller.state_dict(),
        "logs": {name: {"bytes": log.size, "sha256": log.sha256} for name, log in logs.items()},
    }
    for log in logs.values():
        log.sync()
        log.close()
    told = json.dumps(state, indent=1, allow_nan=False).encode()
    Checkpoints(place / CHECKPOINTS, None, disk).save(commit.step, {**commit.files, STATE: told})
    write_curriculum(place, record, disk)
    write_record(place, record, disk)
    if out.is_dir():
        disk.remove(out)  # empty, or all but: no run is in it
    disk.rename_folder(place, out.absolute())
