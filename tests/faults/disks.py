"""Disks on which something happens at one system call, counted from 1."""

from __future__ import annotations

import errno
import os
import signal
from itertools import count
from pathlib import Path

from plateau_rule.fftcore.storage import Disk


class CountedDisk(Disk):
    """A disk that counts its calls, whichever thread makes them, and does `happen` before each.

    Args:
        only: calls of one kind alone are counted, such as "fsync".
    """

    def __init__(self, only: str = "") -> None:
        self._only = only
        self._numbers = count(1)  # one step of it is not interrupted by another thread
        self.calls = 0

    def happen(self, call: str, number: int) -> None:
        """Do what is to happen before a call."""

    def _count(self, call: str) -> int:
        if self._only not in ("", call):
            return 0
        number = next(self._numbers)
        self.calls = max(self.calls, number)
        self.happen(call, number)
        return number

    def _open(self, path: Path, flags: int) -> int:
        self._count("open")
        return super()._open(path, flags)

    def _write(self, file: int, content: memoryview) -> int:
        self._count("write")
        return self.write(file, content)

    def write(self, file: int, content: memoryview) -> int:
        """Write, uncounted."""
        return super()._write(file, content)

    def fsync(self, file: int) -> None:
        self._count("fsync")
        super().fsync(file)

    def truncate(self, file: int, size: int) -> None:
        self._count("truncate")
        super().truncate(file, size)

    def _mkdir(self, path: Path) -> None:
        self._count("mkdir")
        super()._mkdir(path)

    def _rename(self, old: Path, new: Path) -> None:
        self._count("rename")
        super()._rename(old, new)

    def _unlink(self, path: Path) -> None:
        self._count("unlink")
        super()._unlink(path)

    def _rmdir(self, path: Path) -> None:
        self._count("rmdir")
        super()._rmdir(path)


class FailingDisk(CountedDisk):
    """Call number `at` fails, and all after it if `for_ever`; a short write writes half and fails at the rest."""

    def __init__(self, at: int, error: int, for_ever: bool, short: bool = False, only: str = "") -> None:
        super().__init__(only)
        self.at, self.error, self.for_ever, self.short = at, error, for_ever, short

    def happen(self, call: str, number: int) -> None:
        """Fail, if it is time."""
        if self.short and call == "write" and number == self.at:
            return
        if number == self.at or (self.for_ever and number > self.at):
            raise OSError(self.error, os.strerror(self.error))

    def _write(self, file: int, content: memoryview) -> int:
        if self._count("write") == self.at and self.short:
            content = content[: (len(content) + 1) // 2]
        return self.write(file, content)


class KillingDisk(CountedDisk):
    """The process is killed at call number `at`: before it, or in the middle of it if it is a write and `torn`."""

    def __init__(self, at: int, torn: bool) -> None:
        super().__init__()
        self.at, self.torn = at, torn

    def happen(self, call: str, number: int) -> None:
        """Die, if it is time."""
        if number == self.at and not (self.torn and call == "write"):
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, file: int, content: memoryview) -> int:
        if self._count("write") == self.at and self.torn:
            self.write(file, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return self.write(file, content)


FAULTS = (errno.ENOSPC, errno.EIO)
