"""What a commit says about a run between two steps: `state.json`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from plateau_rule.fftcore.checkpoint import STATE, Commit
from plateau_rule.fftcore.config import Config
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.record import Record
from plateau_rule.fftcore.sealed import Frozen, first_fault
from plateau_rule.sim.run_files import RECORD

Natural = Annotated[int, Field(ge=0, strict=True)]


class LogState(Frozen):
    """How far a log was written, and the SHA-256 of that much of it."""

    bytes: Natural
    sha256: str


class RecordVersion(Frozen):
    """How often the run was resumed when its record was written, and the SHA-256 of the record."""

    resumed: Natural
    sha256: str


class SavedState(Frozen):
    """A run between two steps, but for its tensors.

    Args:
        step: the next step.
        run: what no resume changes, of the record.
        record: which version of it.
        controller: its snapshot.
        late: losses that it has not observed yet, and whether their steps were skipped.
        logs: by their names.
        answered: how many of the plan's requests are answered.
        scores: what the answered ones brought.
    """

    step: Natural
    run: dict[str, Any]
    record: RecordVersion
    controller: dict[str, Any]
    late: tuple[tuple[float, bool], ...]
    logs: dict[str, LogState]
    answered: Natural
    scores: dict[str, float]


def state_of(commit: Commit) -> SavedState:
    """Read a commit's state.

    Raises:
        CheckpointError: it is not what a run of ours says.
    """
    try:
        return SavedState.model_validate(commit.state)
    except ValidationError as error:
        raise CheckpointError(f"{commit.path}: {STATE} cannot be read: {first_fault(error)}") from None


def refuse_another_run(commit: Commit, record: Record) -> None:
    """Raise CheckpointError where a commit was not made in the run that a record describes, or under a later record.

    Args:
        commit: the one to go on from.
        record: as it was read. One that was written by a later resume may differ in what a resume can change.
    """
    state, version = state_of(commit), record.version(as_read=True)
    here = record.identity()
    try:
        there = record.identity_in(state.run)
    except ValueError:
        there = state.run
    if differing := sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key)):
        raise CheckpointError(
            f"{commit.path}: a checkpoint of another model or run: its {' and '.join(differing)} "
            f"{'differs' if len(differing) == 1 else 'differ'} from what "
            f"{RECORD} says. Put the run's own checkpoints back"
        )
    if version["resumed"] < state.record.resumed or (
        version["resumed"] == state.record.resumed and version["sha256"] != state.record.sha256
    ):
        raise CheckpointError(
            f"{commit.path}: was made under another {RECORD} than the one that is there. Put that one back from a copy"
        )


def config_of(commit: Commit) -> Config:
    """Read what model a commit is of, and how it was trained.

    Raises:
        CheckpointError: it is not what a run of ours says.
    """
    try:
        return Config.model_validate(state_of(commit).run.get("config"))
    except ValidationError as error:
        raise CheckpointError(f"{commit.path}: {STATE} cannot be read: config.{first_fault(error)}") from None
