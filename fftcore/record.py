"""What a run folder says about its run: `run.json` holds everything needed to repeat it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from plateau_rule.controller.language.canonical import digest
from plateau_rule.fftcore.config import Config, Count, Positive
from plateau_rule.fftcore.errors import RunError, StorageError
from plateau_rule.fftcore.sealed import Frozen, first_fault, seal, unseal
from plateau_rule.fftcore.storage import Disk, read_file, unfinished
from plateau_rule.sim.run_files import CURRICULUM, RECORD

FORMAT: Literal[2] = 2
SUMMARY, CURVE = "summary.json", "curve.png"
LARGEST_RECORD_BYTES = 1 << 22

RESUMED = ("curriculum", "fingerprint", "checked", "ranks", "resumed")  # what a resume may change, or began elsewhere

Natural = Annotated[int, Field(ge=0)]


class CurriculumRecord(Frozen):
    """The curriculum: its name, and every byte of its file."""

    name: str
    text: str


class BoundRun(Frozen):
    """What the curriculum was bound to, as `sim` reads it for a replay."""

    limits: dict[str, int]
    epochs: Count
    steps_per_epoch: Count
    tokens_per_step: Count | tuple[Count | str, ...]  # a product with the knobs that decide it
    peak: Positive
    lag: Natural


class TextRecord(Frozen):
    """The text that is trained on."""

    name: str
    bytes: Natural
    sha256: str


class Resumed(Frozen):
    """One continuation."""

    step: int
    epochs: int
    command: tuple[str, ...]


class Branched(Frozen):
    """The run that the steps before `step` were trained in, under another curriculum."""

    run: str
    step: Count


class Record(Frozen):
    """All that is known of a run when it begins.

    Args:
        curriculum: what it was begun under, or was told to go on with.
        bound: what it was bound to.
        preset, config: the model and how it is trained.
        heads_only: whether the backbone is frozen and only the chunk head is trained; `backbone` says where it is from.
        card: the name of the GPU; None on a CPU.
        threads: that torch used on the CPU.
        ranks: how many processes it was begun on.
        checked: what `plateau check` said of each property before the first step; None where nobody asked it.
        branched: where it was branched off another run, if it was.
    """

    format: Literal[2] = FORMAT
    fingerprint: str
    curriculum: CurriculumRecord
    bound: BoundRun
    preset: str
    config: Config
    seed: Natural
    text: TextRecord
    heads_only: bool
    backbone: str | None
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d{1,4})?)$")]
    card: str | None = None
    threads: int
    ranks: Count = 1
    versions: dict[str, str]
    command: tuple[str, ...]
    checked: dict[str, str] | None = None
    resumed: tuple[Resumed, ...] = ()
    branched: Branched | None = None

    def identity(self) -> dict[str, Any]:
        """Return what no resume changes, in JSON's types: a checkpoint knows its run by it."""
        own = self.model_dump(mode="json", exclude=set(RESUMED))
        del own["bound"]["epochs"], own["text"]["name"]
        return own

    def identity_in(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return an identity that a checkpoint holds in the terms of today.

        A setting that it does not name is younger than it is, and was in force at its default.

        Args:
            said: the identity as it was written.

        Raises:
            ValueError: it is the identity of no run.
        """
        own = self.model_dump(mode="json")
        whole: dict[str, Any] = {**said, **{name: own[name] for name in RESUMED}}
        for name, key in (("bound", "epochs"), ("text", "name")):
            if not isinstance(said.get(name), Mapping):
                raise ValueError(f"{name} is missing")
            whole[name] = {**said[name], key: own[name][key]}
        return Record.model_validate(whole).identity()

    def version(self, as_read: bool = False) -> dict[str, Any]:
        """Return how often the run was resumed, and the SHA-256 of all that the record said then.

        Args:
            as_read: of what `run.json` said when it was read: an older version may not have known all that is here.
        """
        said = self.model_dump(mode="json", exclude={"ranks"}, exclude_unset=as_read)
        return {"resumed": len(self.resumed), "sha256": digest(said)}


def versions() -> dict[str, str]:
    """Return the versions of all that a result depends on."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in ("plateau-rule", "torch", "numpy", "safetensors", "pydantic"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def command_line() -> tuple[str, ...]:
    """Return the words that this process was started with."""
    return tuple(sys.argv)


def write_record(folder: Path, record: Record, disk: Disk) -> None:
    """Write `run.json`, which makes the folder a run."""
    disk.replace_file(folder / RECORD, seal(record.model_dump(mode="json")))


def write_curriculum(folder: Path, record: Record, disk: Disk) -> None:
    """Write the curriculum beside the record, as it was."""
    disk.replace_file(folder / CURRICULUM, record.curriculum.text.encode())


def holds_curriculum(folder: Path, record: Record) -> bool:
    """Return whether the curriculum that stands beside the record is the record's."""
    own = record.curriculum.text.encode()
    try:
        return read_file(folder / CURRICULUM, len(own)) == own
    except (OSError, ValueError):
        return False


def read_record(folder: Path) -> Record:
    """Read what a run folder says about its run.

    Raises:
        RunError: there is no run in this folder, or its record is damaged.
    """
    path = folder / RECORD
    try:
        content = unseal(read_file(path, LARGEST_RECORD_BYTES))
        if content.get("format") != FORMAT:
            raise ValueError(f"it has format {content.get('format')!s:.20}, and this version reads format {FORMAT}")
        return Record.model_validate(content)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{folder}: there is no run to resume here. Name the folder of one by --out, or leave --resume out to begin"
        ) from None
    except ValidationError as error:
        raise RunError(f"{path}: damaged: {first_fault(error)}. Put it back from a copy") from None
    except ValueError as error:
        raise RunError(f"{path}: damaged: {error}. Put it back from a copy") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds a run, whatever became of it."""
    return os.path.lexists(folder / RECORD)


def refuse_second_run(folder: Path) -> None:
    """Raise RunError where a folder holds a run already."""
    if holds_run(folder):
        raise RunError(
            f"{folder}: holds a run already. Continue it with --resume, or begin another with another --out; "
            "nothing in it was touched"
        )


def sweep(folder: Path, disk: Disk) -> None:
    """Remove what an interrupted replacement of a file has left."""
    for name in (RECORD, CURRICULUM, SUMMARY, CURVE):
        disk.remove(unfinished(folder / name))


def refuse_used_folder(folder: Path) -> None:
    """Raise RunError where a folder holds something already, or is none."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        what = "a link to nowhere" if there.is_symlink() else "a file"
        raise RunError(f"{there}: is {what}, and a run takes a folder. Name another by --out")
    refuse_second_run(folder)
    # A start that was cut off before its record was written has left no more than these.
    leftover = {CURRICULUM, unfinished(Path(CURRICULUM)).name, unfinished(Path(RECORD)).name}
    if folder.is_dir() and (found := sorted({entry.name for entry in folder.iterdir()} - leftover)):
        raise RunError(
            f"{folder}: holds files that are no run ({', '.join(found[:3])}{', …' if len(found) > 3 else ''}). "
            "Name a new folder by --out; nothing in it was touched"
        )


def make_run_folder(folder: Path, disk: Disk) -> None:
    """Make the folder of a new run.

    Raises:
        RunError: it holds something already, or is none.
        StorageError: it cannot be made.
    """
    refuse_used_folder(folder)
    try:
        disk.make_folder(folder)
    except StorageError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        raise StorageError(f"{folder}: cannot be made: {reason}. Name another folder by --out") from None
