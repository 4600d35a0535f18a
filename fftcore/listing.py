"""The runs below a folder and their checkpoints, each verified as a resume would; nothing is written."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plateau_rule.fftcore.checkpoint import CHECKPOINTS, Checkpoints, read_commit
from plateau_rule.fftcore.errors import CheckpointError, RunError
from plateau_rule.fftcore.record import LARGEST_RECORD_BYTES, Record, read_record
from plateau_rule.fftcore.sealed import parse
from plateau_rule.fftcore.state import SavedState, refuse_another_run, state_of
from plateau_rule.fftcore.storage import Disk, opened_file, read_file
from plateau_rule.sim.run_files import METRICS, RECORD

SCORE = "val_bpb"
LONGEST_ROW_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class ListedCommit:
    """One checkpoint of a run.

    Args:
        step: the next step to be taken.
        path: its folder.
        state, knobs, lr: what the plan of that step says; None where it cannot be read.
        bits_per_byte: of the last evaluation before it.
        bytes: that its files have.
        damage: why it cannot be gone on from; None if every byte is as it was written.
    """

    step: int
    path: Path
    state: str | None = None
    knobs: Mapping[str, Any] | None = None
    lr: float | None = None
    bits_per_byte: float | None = None
    bytes: int = 0
    damage: str | None = None


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run.

    Args:
        folder: the run's.
        curriculum: the name of what it is trained under.
        trainer: what trains it.
        steps: that it has in all, as it is bound; None where that is not said.
        commits: its checkpoints, oldest first.
        set_aside: names of checkpoints that a resume found damaged.
        damage: why the run cannot be gone on with; None if it can.
    """

    folder: Path
    curriculum: str | None = None
    trainer: str = "plateau train"
    steps: int | None = None
    commits: tuple[ListedCommit, ...] = ()
    set_aside: tuple[str, ...] = ()
    damage: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it is damaged."""
        return self.damage is None and all(commit.damage is None for commit in self.commits)


def list_runs(folder: Path) -> list[ListedRun]:
    """List the runs in a folder and below it, by name; links are not followed.

    Raises:
        RunError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        wrong = f"{folder} is no folder" if folder.exists() else f"there is no folder {folder} here"
        raise RunError(f"{wrong}. Name one that holds runs, or a run's own: plateau runs FOLDER")
    found = [_listed(place) for place in _run_folders(folder)]
    if not found:
        raise RunError(f"{folder}: no run is here or below, that is, no folder with a {RECORD}. Name another folder")
    return found


def _run_folders(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        if RECORD in (*files, *folders) or (CHECKPOINTS in folders and _commits(Path(place)).steps()):
            folders.clear()
            yield Path(place)


def _commits(folder: Path) -> Checkpoints:
    return Checkpoints(folder / CHECKPOINTS, None, Disk())


def _listed(folder: Path) -> ListedRun:
    record, damage = None, None
    try:
        record = read_record(folder)
    except RunError as error:
        if (other := _of_another_trainer(folder)) is not None:
            return other
        damage = _within(folder, error)
    try:
        checkpoints = _commits(folder)
        places, aside = checkpoints.named(), checkpoints.damaged()
    except (CheckpointError, OSError) as error:
        places, aside, damage = {}, [], damage or _within(folder, error)
    commits = _verified(folder, places, record)
    if damage is None and not any(commit.damage is None for commit in commits):
        damage = "no checkpoint is whole" if commits else "there is no checkpoint yet"
    return ListedRun(
        folder=folder,
        curriculum=None if record is None else record.curriculum.name,
        steps=None if record is None else record.bound.epochs * record.bound.steps_per_epoch,
        commits=commits,
        set_aside=tuple(aside),
        damage=damage,
    )


def _within(folder: Path, error: Exception) -> str:
    """Say what is wrong in a folder, without its own name."""
    return str(error).removeprefix(f"{folder}{os.sep}").removeprefix(f"{folder}: ")


def _of_another_trainer(folder: Path) -> ListedRun | None:
    """List a run that an adapter wrote down; its checkpoints are its trainer's."""
    try:
        content = parse(read_file(folder / RECORD, LARGEST_RECORD_BYTES))
        return ListedRun(folder=folder, curriculum=str(content["curriculum"]["name"]), trainer=str(content["trainer"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _verified(folder: Path, places: Mapping[int, Path], record: Record | None) -> tuple[ListedCommit, ...]:
    """Read each commit, one after the other, and compare the logs with what it says of them."""
    listed, states = dict[int, ListedCommit](), dict[int, SavedState]()
    for step, path in places.items():
        try:
            commit = read_commit(path)
            state = states[step] = state_of(commit)
            if record is not None:
                refuse_another_run(commit, record)
        except CheckpointError as error:
            if os.path.lexists(path):  # else the run goes on, and has removed it meanwhile
                listed[step] = ListedCommit(step=step, path=path, bytes=_size(path), damage=_within(path, error))
        else:
            listed[step] = ListedCommit(step=step, path=path, bytes=_size(path), **_plan(state))
    logs = {name for state in states.values() for name in state.logs}
    for name in sorted(logs):
        marks = _marks(folder / name, {state.logs[name].bytes for state in states.values() if name in state.logs})
        for step, state in states.items():
            if name in state.logs and step in listed:
                sha256, score = marks.get(state.logs[name].bytes, ("", None))
                if listed[step].damage is None and sha256 != state.logs[name].sha256:
                    listed[step] = replace(listed[step], damage=f"{name} does not begin as it says")
                elif name == METRICS:
                    listed[step] = replace(listed[step], bits_per_byte=score)
    return tuple(listed.values())


def _plan(state: SavedState) -> dict[str, Any]:
    plan = state.controller.get("plan")
    return {name: plan.get(name) for name in ("state", "knobs", "lr")} if isinstance(plan, dict) else {}


def _size(path: Path) -> int:
    with suppress(OSError):
        found = (entry.lstat() for entry in (path.iterdir() if not path.is_symlink() else ()))
        return sum(entry.st_size for entry in found if stat.S_ISREG(entry.st_mode))
    return 0


def _marks(path: Path, sizes: set[int]) -> dict[int, tuple[str, float | None]]:
    """Return the SHA-256 of a log's first bytes for each of these sizes, and the last evaluation in them."""
    digest, at, score = hashlib.sha256(), 0, None
    marks: dict[int, tuple[str, float | None]] = {0: (digest.hexdigest(), None)}
    with suppress(OSError, ValueError), opened_file(path) as log:
        while line := log.readline(LONGEST_ROW_BYTES):
            digest.update(line)
            at += len(line)
            if f'"{SCORE}"'.encode() in line:
                with suppress(ValueError, RecursionError, TypeError, KeyError):
                    score = float(json.loads(line)[SCORE])
            if at in sizes:
                marks[at] = digest.hexdigest(), score
    return marks
