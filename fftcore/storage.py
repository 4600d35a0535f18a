"""The only file that writes: whole files, folders and logs, each synced before it counts.

How a file comes to stand where it belongs: it is written beside its place, synced, renamed, and the folder is synced.
A sync that fails is never tried again, since the kernel may have dropped the pages: what was being written is thrown
away, and what stood there before still stands.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plateau_rule.fftcore.errors import StorageError

UNFINISHED = ".unfinished"


class Disk:
    """Writes to a disk. Each system call that changes one has a method of its own, so that a test can make it fail."""

    def _open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)

    def _write(self, file: int, content: memoryview) -> int:
        return os.write(file, content)

    def _fsync(self, file: int) -> None:
        os.fsync(file)

    def _truncate(self, file: int, size: int) -> None:
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
        with _told(path):
            missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
            for folder in reversed(missing):
                self._mkdir(folder)
                self.sync_folder(folder.parent)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        with _told(path), self._opened(path, os.O_RDONLY | os.O_DIRECTORY) as file:
            self._fsync(file)

    def write_file(self, path: Path, content: bytes) -> None:
        """Write a file that does not exist yet, and sync it; its name is durable only with its folder."""
        with _told(path), self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            self._write_all(file, content)
            self._fsync(file)

    def replace_file(self, path: Path, content: bytes) -> None:
        """Put a whole file where none stood, or another: at any moment there is the old one or the new."""
        beside = path.with_name(f".{path.name}{UNFINISHED}")
        with _told(path):
            with suppress(FileNotFoundError):
                self._unlink(beside)
            self.write_file(beside, content)
            self._rename(beside, path)
            self.sync_folder(path.parent)

    def rename_folder(self, old: Path, new: Path) -> None:
        """Give a folder its name; durable when this returns."""
        with _told(new):
            self._rename(old, new)
            self.sync_folder(new.parent)

    def remove_folder(self, path: Path) -> None:
        """Remove a folder with all that is in it; links are removed, never followed."""
        with _told(path):
            for entry in sorted(path.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    self.remove_folder(entry)
                else:
                    self._unlink(entry)
            self._rmdir(path)

    def open_log(self, path: Path, size: int) -> Log:
        """Open a log to append to, cut back to its first `size` bytes.

        Raises:
            StorageError: it cannot be opened, or is shorter than that.
        """
        with _told(path):
            file = self._open(path, os.O_WRONLY | os.O_CREAT)
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode) or found.st_size < size:
                    raise StorageError(
                        f"{path}: a log of at least {size} bytes belongs here, as its checkpoint says, and "
                        f"{found.st_size} were found. Put the file back, or begin a new run with another --out"
                    )
                self._truncate(file, size)
                os.lseek(file, size, os.SEEK_SET)
                self._fsync(file)
            except BaseException:
                os.close(file)
                raise
        return Log(self, file, path, size)

    @contextmanager
    def _opened(self, path: Path, flags: int) -> Iterator[int]:
        file = self._open(path, flags)
        try:
            yield file
        finally:
            os.close(file)

    def _write_all(self, file: int, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[self._write(file, rest) :]


class Log:
    """A file that grows by whole lines; `size` is its length in bytes."""

    def __init__(self, disk: Disk, file: int, path: Path, size: int) -> None:
        self._disk, self._file, self.path, self.size = disk, file, path, size

    def write(self, line: str) -> None:
        """Append one line; a killed process loses none that was written."""
        content = line.encode() + b"\n"
        with _told(self.path):
            self._disk._write_all(self._file, content)
        self.size += len(content)

    def sync(self) -> None:
        """Make all lines durable, against a failing machine too."""
        with _told(self.path):
            self._disk._fsync(self._file)

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


def read_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; a link, a device and a longer file raise ValueError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as stream:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        if found.st_size > limit:
            raise ValueError(f"{path.name} has {found.st_size} bytes, and at most {limit} belong there")
        return stream.read()


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
