"""One commit: weights, optimizer, random numbers, data position, controller. Found, verified, loaded; no pickle.

A commit is a folder `step-00001000`. It is written as a folder of another name: each file is synced, the manifest with
sizes and SHA-256 comes last, the folder is synced, renamed, and its parent synced. Only then is it reported as saved.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from plateau_rule.fftcore.errors import CheckpointError, StorageError
from plateau_rule.fftcore.sealed import Frozen, first_fault, parse, seal, unseal
from plateau_rule.fftcore.storage import UNFINISHED, Disk, read_file

FORMAT = 2
KEPT = 2
CHECKPOINTS, MANIFEST = "checkpoints", "manifest.json"
STATE = "state.json"
DAMAGED = "damaged-"
LARGEST_JSON_BYTES = 16 << 20
_NAME = re.compile(r"step-(\d{8}|[1-9]\d{8,11})\Z", re.ASCII)
_GONE = re.compile(r"\.gone-\d+\Z", re.ASCII)


@dataclass(frozen=True)
class Commit:
    """A commit that was read whole, every byte as it was written."""

    step: int
    path: Path
    files: Mapping[str, bytes] = field(repr=False)
    state: Mapping[str, Any] = field(repr=False)


class Checkpoints:
    """The commits of one run.

    Args:
        folder: where they are; made when the first is saved.
        every: steps between two commits by plan; None where they are made by the clock, and each counts as planned.
        disk: what writes.
        keep: how many of the newest are kept, two at least. Beside them the newest two by plan are: one may be of the
            step that asks for a rollback, and the other is what it rolls back to.
    """

    def __init__(self, folder: Path, every: int | None, disk: Disk, keep: int = KEPT) -> None:
        self.folder, self.every, self.disk, self.keep = folder, every, disk, max(keep, KEPT)
        self.passed_over: list[str] = []
        self._refused: int | None = None

    def steps(self) -> list[int]:
        """The steps of all folders that could be commits, whole or not, oldest first."""
        return [step for step, path in self.named().items() if path.is_dir() and not path.is_symlink()]

    def path(self, step: int) -> Path:
        """Where the commit of a step is."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Commit these files; durable when this returns.

        Args:
            step: the next step to be taken.
            files: name to content; `state.json` among them.

        Raises:
            StorageError: the disk refused; the commits before are as they were.
            CheckpointError: the folder is a link.
        """
        self._refuse_link()
        self.disk.make_folder(self.folder)
        self.sweep()
        unfinished = self.folder / UNFINISHED
        try:
            self.disk.make_folder(unfinished)
            for name, content in files.items():
                self.disk.write_file(unfinished / name, content)
            self.disk.write_file(unfinished / MANIFEST, _manifest(step, files))
            self.disk.sync_folder(unfinished)
        except StorageError:
            with suppress(StorageError):  # a full disk has room for the logs again
                self.disk.remove(unfinished)
            raise
        if os.path.lexists(self.path(step)):
            self._make_way(step)
        self._refused = step  # until the disk has taken all of it: it can have its name, and not be durable
        self.disk.rename_folder(unfinished, self.path(step))
        self._prune()
        self._refused = None
        return self.path(step)

    def newest(self, planned_before: int | None = None) -> Commit | None:
        """Read the newest whole commit, or None where there is no commit at all.

        Damaged ones are passed over; `passed_over` says which and why.

        Args:
            planned_before: only commits made by plan before this step. Where that is every `every` steps, an
                uninterrupted run has the same ones; by the clock, no two runs do.

        Raises:
            CheckpointError: there are commits, and not one of them is whole.
        """
        self.passed_over = []
        named = self.named()
        if planned_before is not None:
            named = {step: path for step, path in named.items() if self._is_planned(step) and step < planned_before}
        for path in reversed(named.values()):
            try:
                return read_commit(path)
            except CheckpointError as error:
                self.passed_over.append(str(error))
        if named:
            raise CheckpointError(
                f"{self.folder}: no checkpoint here is whole: {'; '.join(self.passed_over)}. "
                "Put one back from a copy, or begin a new run with another --out"
            )
        return None

    def damaged(self) -> list[str]:
        """The names of what was set aside."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.name.startswith(DAMAGED))

    def set_aside(self, after: int) -> None:
        """Rename what has the name of a later commit and was passed over, so that the run can come by there again."""
        for step, path in self.named().items():
            if step > after:
                self._set_aside(path)

    def sweep(self) -> None:
        """Remove what an interrupted save or an interrupted removal has left."""
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if path.name == UNFINISHED or _GONE.match(path.name):
                    self.disk.remove(path)

    def _is_planned(self, step: int) -> bool:
        return self.every is None or step % self.every == 0

    def named(self) -> dict[int, Path]:
        """Everything that has a commit's name, whole or not, by its step, oldest first.

        Raises:
            CheckpointError: the folder is a link.
        """
        self._refuse_link()
        if not self.folder.is_dir():
            return {}
        steps = sorted(int(match[1]) for path in self.folder.iterdir() if (match := _NAME.match(path.name)))
        return {step: self.path(step) for step in steps}

    def _refuse_link(self) -> None:
        if self.folder.is_symlink():
            raise CheckpointError(
                f"{self.folder}: is a link, and a run keeps its checkpoints in its own folder: nothing outside it is "
                "written or removed. Move the folder itself here, or link the run's folder as a whole"
            )

    def _make_way(self, step: int) -> None:
        """Free the name of a step's commit: one that was refused here is made anew, another was found damaged."""
        if step == self._refused:
            self._let_go(step)
        else:
            self._set_aside(self.path(step))

    def _let_go(self, step: int) -> None:
        # Renamed first, so that half a commit never has a commit's name.
        self.disk.rename_folder(self.path(step), self.folder / f".gone-{step:08d}")

    def _set_aside(self, path: Path) -> None:
        names = (f"{DAMAGED}{path.name}{f'-{i}' if i else ''}" for i in count())
        free = next(name for name in names if not os.path.lexists(self.folder / name))
        self.disk.rename_folder(path, self.folder / free)

    def thin(self) -> None:
        """Remove all but the newest, of a run that had kept more."""
        self._prune()

    def _prune(self) -> None:
        steps = self.steps()
        kept = {*steps[-self.keep :], *[step for step in steps if self._is_planned(step)][-KEPT:]}
        for step in steps:
            if step not in kept:
                self._let_go(step)
        self.sweep()


def _manifest(step: int, files: Mapping[str, bytes]) -> bytes:
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    return seal({"format": FORMAT, "step": step, "files": listed})


def read_commit(path: Path) -> Commit:
    """Read one commit and verify every byte of it.

    Raises:
        CheckpointError: it is damaged, or not a commit; the sentence begins with its path.
    """
    try:
        match = _NAME.match(path.name)
        if path.is_symlink():
            raise ValueError("it is a link, and no link is followed")
        if not path.is_dir() or not match:
            raise ValueError("not a folder that a commit was saved in")
        manifest = _read_manifest(path / MANIFEST)
        if manifest.step != int(match[1]):
            raise ValueError(f"its manifest belongs to step {manifest.step}")
        found = {entry.name for entry in path.iterdir()} - {MANIFEST}
        if found != manifest.files.keys():
            raise ValueError(f"it holds {sorted(found)}, and its manifest names {sorted(manifest.files)}")
        files = {name: read_verified(path / name, listed) for name, listed in manifest.files.items()}
        state = parse(files[STATE])
    except (OSError, ValueError, KeyError, MemoryError) as error:
        raise CheckpointError(f"{path}: {_why(error)}") from None
    return Commit(manifest.step, path, files, state)


class _Listed(Frozen):
    """One file of a commit."""

    bytes: Annotated[int, Field(ge=0, strict=True)]
    sha256: str


class _Manifest(Frozen):
    """What a commit holds."""

    format: int
    step: Annotated[int, Field(ge=0, strict=True)]
    files: dict[str, _Listed]


def _read_manifest(path: Path) -> _Manifest:
    try:
        content = unseal(read_file(path, LARGEST_JSON_BYTES))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if content.get("format") != FORMAT:
        raise ValueError(f"it has format {content.get('format')!s:.20}, and this version reads format {FORMAT}")
    return _Manifest.model_validate(content)


def read_verified(path: Path, listed: _Listed) -> bytes:
    """A file of a commit, if it is what its manifest says."""
    content = read_file(path, listed.bytes)
    if len(content) != listed.bytes:
        raise ValueError(f"{path.name} has {len(content)} bytes, and {listed.bytes} were written")
    if hashlib.sha256(content).hexdigest() != listed.sha256:
        raise ValueError(f"{path.name} was changed after it was written: its SHA-256 differs")
    return content


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"{Path(error.filename).name} is missing"
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    if isinstance(error, ValidationError):
        return f"its manifest is wrong: {first_fault(error)}"
    if isinstance(error, MemoryError):
        return "it does not fit into the memory"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error)
