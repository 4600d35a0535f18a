"""A disk that a machine's failure is played on: what was not synced may be lost, each part of it by itself."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product, takewhile
from pathlib import Path
from threading import Lock

from plateau_rule.fftcore.storage import Disk

Tree = bytes | tuple[tuple[str, "Tree"], ...]  # a file's bytes, or a folder's names, each with what is there
Call = tuple[object, ...]


class RecordingDisk(Disk):
    """A disk that writes down its calls, in the order in which they were made, whichever thread made them.

    Args:
        folder: whose calls are written down.
        unsynced: "files" or "folders", which are then written down as if they had not been synced.
    """

    def __init__(self, folder: Path, unsynced: str = "") -> None:
        self.folder, self.unsynced, self.calls = folder, unsynced, list[Call]()
        self._lock, self._paths = Lock(), dict[int, Path]()

    def note(self, *call: object) -> None:
        """Write a call down."""
        self.calls.append(
            tuple(str(word.relative_to(self.folder)) if isinstance(word, Path) else word for word in call)
        )

    def _open(self, path: Path, flags: int) -> int:
        with self._lock:
            if flags & os.O_CREAT and not path.exists():
                self.note("create", path)
            file = super()._open(path, flags)
            self._paths[file] = path
            return file

    def _write(self, file: int, content: memoryview) -> int:
        with self._lock:
            written = super()._write(file, content)
            self.note("write", self._paths[file], bytes(content[:written]))
            return written

    def fsync(self, file: int) -> None:
        """Sync a file or a folder; of what is outside nothing is written down."""
        with self._lock:
            super().fsync(file)
            path = self._paths[file]
            if path.is_relative_to(self.folder) and self.unsynced != ("folders" if path.is_dir() else "files"):
                self.note("sync", path)

    def truncate(self, file: int, size: int) -> None:
        """Cut a file off."""
        with self._lock:
            super().truncate(file, size)
            self.note("truncate", self._paths[file], size)

    def _mkdir(self, path: Path) -> None:
        with self._lock:
            super()._mkdir(path)
            if path != self.folder:
                self.note("mkdir", path)

    def _rename(self, old: Path, new: Path) -> None:
        with self._lock:
            super()._rename(old, new)
            self.note("rename", old, new)

    def _unlink(self, path: Path) -> None:
        with self._lock:
            super()._unlink(path)
            self.note("remove", path)

    def _rmdir(self, path: Path) -> None:
        with self._lock:
            super()._rmdir(path)
            self.note("remove", path)


@dataclass
class File:
    """A file: what it holds, and what of it is sure to be there after a crash."""

    content: bytes = b""
    synced: bytes = b""

    def left(self) -> Sequence[bytes]:
        """Everything that a crash could leave of it: the old, the new, half of what is new, or as many zeros."""
        if self.content == self.synced:
            return [self.content]
        kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.content, self.synced, strict=False)))
        new = self.content[kept:]
        return [
            *{self.synced, self.content, self.content[: kept + len(new) // 2], self.content[:kept] + bytes(len(new))}
        ]


@dataclass
class Folder:
    """A folder: its names, those that are sure to be there after a crash, and what was done to them since."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)
    since: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, changes: dict[str, File | Folder | None]) -> None:
        """Do something to names, all of it or nothing after a crash."""
        _apply(self.names, changes)
        self.since.append(changes)

    def sync(self) -> None:
        """Make sure of all names."""
        self.synced, self.since = dict(self.names), []

    def left(self, chance: random.Random | None = None) -> Iterator[Tree]:
        """Everything that a crash could leave of it, or one of these by chance."""
        kept = [[False, True]] * len(self.since) if chance is None else [[chance.random() < 0.5] for _ in self.since]
        for choice in product(*kept):
            names = dict(self.synced)
            for changes, is_kept in zip(self.since, choice, strict=True):
                if is_kept:
                    _apply(names, changes)
            parts = [
                [(name, left) for left in (part.left(chance) if isinstance(part, Folder) else _of(part, chance))]
                for name, part in sorted(names.items())
            ]
            yield from product(*parts)


def _of(file: File, chance: random.Random | None) -> Sequence[bytes]:
    return file.left() if chance is None else [chance.choice(file.left())]


def _apply(names: dict[str, File | Folder], changes: dict[str, File | Folder | None]) -> None:
    for name, part in changes.items():
        if part is None:
            names.pop(name, None)
        else:
            names[name] = part


class Machine:
    """What a machine has on its disk after some calls, in a folder that was empty."""

    def __init__(self) -> None:
        self.root = Folder()

    def do(self, call: Call) -> None:
        """Carry out one call that was written down."""
        what, place = str(call[0]), Path(str(call[1]))
        above, name = self._folder(place.parent), place.name
        part = self._at(place)
        if what == "mkdir":
            above.change({name: Folder()})
        elif what == "create":
            above.change({name: File()})
        elif what == "remove":
            above.change({name: None})
        elif what == "rename":
            assert part is not None
            above.change({name: None, Path(str(call[2])).name: part})
        elif isinstance(part, Folder):
            part.sync()
        elif isinstance(part, File):
            if what == "sync":
                part.synced = part.content
            elif isinstance(call[2], bytes):
                part.content += call[2]
            elif isinstance(call[2], int):
                part.content = part.content[: call[2]]

    def _at(self, place: Path) -> File | Folder | None:
        part: File | Folder | None = self.root
        for name in place.parts:
            part = part.names.get(name) if isinstance(part, Folder) else None
        return part

    def _folder(self, place: Path) -> Folder:
        folder = self._at(place)
        assert isinstance(folder, Folder)
        return folder


def lay(left: Tree, place: Path) -> None:
    """Put what a crash has left on a real disk."""
    if isinstance(left, bytes):
        place.write_bytes(left)
        return
    place.mkdir()
    for name, part in left:
        lay(part, place / name)
