"""The only file that writes: whole files, folders and logs, each synced before it counts.

How a file comes to stand where it belongs: it is written beside its place, synced, renamed, and the folder is synced.
A sync that fails is never tried again, since the kernel may have dropped the pages: what was being written is thrown
away, and what stood there before still stands.

Nothing outside a run's folder is touched, whatever was put inside: a link is removed or refused, never followed, and
a pipe or a device is not waited for.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from plateau_rule.fftcore.errors import StorageError

UNFINISHED = ".unfinished"
NOTHING_SHA256 = hashlib.sha256().hexdigest()
PIECE_BYTES = 1 << 20


class Disk:
    """Writes to a disk. Each system call that changes one has a method of its own, so that a test can make it fail."""

    def _open(self, path: Path, flags: int) -> int:
        # Not blocking: of a pipe, an open that blocks would wait for ever for the other end.
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)

    def _write(self, file: int, content: memoryview) -> int:
        return os.write(file, content)

    def fsync(self, file: int) -> None:
        """Make what an open file holds durable."""
        os.fsync(file)

    def truncate(self, file: int, size: int) -> None:
        """Cut an open file off behind `size` bytes."""
        os.ftruncate(file, size)

    def _mkdir(self, path: Path) -> None:
        path.mkdir()

    def _rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def _unlink(self, path: Path) -> None:
        path.unlink()

    def _rmdir(self, path: Path) -> None:
        path.rmdir()

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it that are missing; durable when this returns."""
        for folder in reversed((path, *path.parents)):
            with _told(folder):
                if not folder.is_dir():
                    self._mkdir(folder)
                    self.sync_folder(folder.parent)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        with _told(path):
            # Followed if it is a link, which changes nothing: a run's folder, or the one it is in, may be one.
            place = Path(os.path.realpath(path))
            with self._opened(place, os.O_RDONLY | os.O_DIRECTORY) as file:
                self.fsync(file)

    def write_file(self, path: Path, content: bytes) -> None:
        """Write a file that does not exist yet, and sync it; its name is durable only with its folder."""
        with _told(path), self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            self.write_all(file, content)
            self.fsync(file)

    def replace_file(self, path: Path, content: bytes) -> None:
        """Put a whole file where none stood, or another: at any moment there is the old one or the new."""
        beside = unfinished(path)
        with _told(path):
            self.remove(beside)
            self.write_file(beside, content)
            self._rename(beside, path)
            self.sync_folder(path.parent)

    def rename_folder(self, old: Path, new: Path) -> None:
        """Give a folder its name; durable when this returns."""
        with _told(new):
            self._rename(old, new)
            self.sync_folder(new.parent)

    def remove(self, path: Path) -> None:
        """Remove whatever stands at a path: a folder with all that is in it; of a link, the link alone."""
        folders, emptied = [path], []
        with _told(path):
            # Folder by folder, not by recursion: how deep they are is for whoever made them to say.
            while folders:
                place = folders.pop()
                try:
                    entries = sorted(place.iterdir()) if stat.S_ISDIR(place.lstat().st_mode) else None
                except FileNotFoundError:
                    continue
                if entries is None:
                    self._unlink(place)
                else:
                    folders += entries
                    emptied.append(place)
            for folder in reversed(emptied):
                self._rmdir(folder)

    def open_log(self, path: Path, size: int = 0, sha256: str = NOTHING_SHA256) -> AppendLog:
        """Open a log to append to, and verify its beginning; nothing is changed before `Log.cut`.

        Args:
            path: the log; made where it is missing and nothing is expected of it.
            size: bytes that it holds at least.
            sha256: of these bytes.

        Raises:
            StorageError: it cannot be opened, or does not begin as it was written.
        """
        remedy = "Put the file back from a copy, or begin a new run with another --out"
        with _told(path):
            if size and not os.path.lexists(path):
                raise StorageError(f"{path}: is missing, and a log of at least {size} bytes belongs here. {remedy}")
            if what := _not_a_log(path):
                raise StorageError(f"{path}: {what}; a log is a file of its own. {remedy}")
            file = self._open(path, os.O_RDWR | (0 if size else os.O_CREAT))
            try:
                found = os.fstat(file)
                if found.st_size < size:
                    raise StorageError(
                        f"{path}: a log of at least {size} bytes belongs here, as its checkpoint says, and "
                        f"{found.st_size} were found. {remedy}"
                    )
                digest = _digest(file, size)
                if digest.hexdigest() != sha256:
                    raise StorageError(f"{path}: was changed after it was written, as its checkpoint says. {remedy}")
            except BaseException:
                os.close(file)
                raise
        return AppendLog(self, file, path, size, digest)

    @contextmanager
    def _opened(self, path: Path, flags: int) -> Iterator[int]:
        file = self._open(path, flags)
        try:
            yield file
        finally:
            os.close(file)

    def write_all(self, file: int, content: bytes) -> None:
        """Write every byte, in as many calls as the system takes."""
        rest = memoryview(content)
        while rest:
            rest = rest[self._write(file, rest) :]


class AppendLog:
    """A file that grows by whole lines; `size` is its length in bytes, `sha256` that of all of them."""

    def __init__(self, disk: Disk, file: int, path: Path, size: int, digest: hashlib._Hash) -> None:
        self._disk, self._file, self.path, self.size, self._digest = disk, file, path, size, digest

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that was written."""
        return self._digest.hexdigest()

    def cut(self) -> None:
        """Cut off what stands behind the bytes that were verified."""
        with _told(self.path):
            self._disk.truncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            self._disk.fsync(self._file)

    def write(self, line: str) -> None:
        """Append one line; a killed process loses none that was written."""
        content = line.encode() + b"\n"
        with _told(self.path):
            self._disk.write_all(self._file, content)
        self.size += len(content)
        self._digest.update(content)

    def sync(self) -> None:
        """Make all lines durable, against a failing machine too."""
        with _told(self.path):
            self._disk.fsync(self._file)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to one process; the kernel ends the lock with the process.

    Raises:
        StorageError: another process holds it.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"{folder}: another process is training here. Wait for it, or name another folder by --out"
            ) from None
        yield
    finally:
        os.close(file)


@contextmanager
def opened_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to read; a link and a device raise ValueError, and no pipe is waited for."""
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link, and no link is followed")
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        yield stream


def read_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; a link, a device and a longer file raise ValueError."""
    with opened_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise ValueError(f"{path.name} has {size} bytes, and at most {limit} belong there")
        return stream.read()


def _not_a_log(path: Path) -> str | None:
    """Say what stands in a log's place that is none; None if it is one, or nothing."""
    if not os.path.lexists(path):
        return None
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    return "has another name as well, a hard link" if found.st_nlink > 1 else None


def unfinished(path: Path) -> Path:
    """Return where a file is written before it stands at `path`."""
    return path.with_name(f".{path.name}{UNFINISHED}")


def _digest(file: int, size: int) -> hashlib._Hash:
    """Hash the first bytes of a file."""
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(file, min(PIECE_BYTES, size - at), at):
        digest.update(piece)
        at += len(piece)
    return digest


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say which file the disk refused, and what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}. "
            "What was saved before is whole; make room or mend the disk, and continue with --resume"
        ) from error
