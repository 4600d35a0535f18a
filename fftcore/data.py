"""Bytes to windows: which bytes a step trains on is a pure function of the seed and the step, on however many ranks."""

from __future__ import annotations

import hashlib
import os
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from plateau_rule.controller.errors import visible
from plateau_rule.fftcore.errors import TextError

Split = Literal["train", "validation", "test"]
TRAIN_SHARE, VALIDATION_SHARE = 0.90, 0.05  # the rest is the test split; all three are contiguous
EMBEDDED = "embedded"
LARGEST_IN_MEMORY = 1 << 30
PIECE_BYTES = 1 << 20


class WindowBatch(NamedTuple):
    """What one forward pass trains on."""

    windows_BW: Tensor
    """Bytes, uint8, (B, seq_len + chunk)."""
    phase: Tensor
    """The first position at which the chunk head drafts, 0 … chunk − 1, of no dimension."""


class Text(ABC):
    """A text, split 90/5/5 into training, validation and test.

    Args:
        name: what it is called in `run.json`: a path, or "embedded".
        size: bytes.
        sha256: of all of them.
    """

    in_memory: bool

    def __init__(self, name: str, size: int, sha256: str) -> None:
        self.name, self._size, self.sha256 = name, size, sha256

    def __len__(self) -> int:
        return self._size

    @abstractmethod
    def split(self, split: Split) -> Tensor:
        """Return the bytes of one split, uint8, (N,)."""

    @abstractmethod
    def windows(self, split: Split, starts_B: Sequence[int], width: int) -> Tensor:
        """Return windows of one split: uint8, (B, width).

        Args:
            split: which.
            starts_B: where they begin in the split.
            width: bytes of each.
        """

    @abstractmethod
    def warning(self) -> str | None:
        """Look whether the text is still what it was, and return what is to be said if not.

        Raises:
            TextError: it is not, and what was trained since may be on other bytes than the run's.
        """

    def span(self, split: Split) -> tuple[int, int]:
        """Return where a split begins and ends."""
        first = int(len(self) * TRAIN_SHARE)
        second = first + int(len(self) * VALIDATION_SHARE)
        return {"train": (0, first), "validation": (first, second), "test": (second, len(self))}[split]

    def require(self, window: int) -> None:
        """Raise TextError where a split is shorter than one window of `window` bytes."""
        shortest = min(end - begin for begin, end in map(self.span, get_args(Split)))
        if shortest < window:
            raise TextError(
                f"{self.name}: {len(self)} bytes leave {shortest} for validation, and one window takes {window}. "
                f"Give a text of at least {20 * window + 20} bytes, or a shorter seq_len"
            )


class TextInMemory(Text):
    """A text that was read whole.

    Args:
        content_N: bytes, uint8, (N,).
        name: what it is called.
        file: that it was read from, if it was.
    """

    in_memory = True

    def __init__(self, content_N: Tensor, name: str, file: TextFile | None = None) -> None:
        super().__init__(name, len(content_N), hashlib.sha256(content_N.numpy().data).hexdigest())
        self.content_N, self._file = content_N, file

    def split(self, split: Split) -> Tensor:
        """Return the bytes of one split, a view."""
        begin, end = self.span(split)
        return self.content_N[begin:end]

    def windows(self, split: Split, starts_B: Sequence[int], width: int) -> Tensor:
        """Return windows of one split."""
        return self.split(split).unfold(0, width, 1)[torch.tensor(starts_B)]

    def warning(self) -> str | None:
        """Look at the file again; what was read of it stays in memory whatever became of it."""
        if self._file is None or not self._file.differs(self.sha256):
            return None
        return (
            f"{self.name}: was changed since it was read. The run goes on with the bytes that it read; "
            "to resume it, the text must be as it was"
        )


class TextOnDisk(Text):
    """A text too long for the memory: windows are read when they are needed.

    It is not mapped: a mapped file that is cut short ends the process in the middle of a step, without a word.

    Args:
        file: opened.
        name: what it is called.
    """

    in_memory = False

    def __init__(self, file: TextFile, name: str) -> None:
        super().__init__(name, file.size, file.digest())
        self._file = file

    def split(self, split: Split) -> Tensor:
        """Read the bytes of one split."""
        begin, end = self.span(split)
        return self.windows(split, [0], end - begin)[0]

    def windows(self, split: Split, starts_B: Sequence[int], width: int) -> Tensor:
        """Read windows of one split."""
        begin, _ = self.span(split)
        content = b"".join(self._file.read(begin + start, width) for start in starts_B)
        return torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, width)

    def warning(self) -> None:
        """Look at the file again; the bytes that it held before are known no more."""
        if self._file.differs(self.sha256):
            raise self._file.changed()


class TextFile:
    """A file that a text was read from, kept open, so that it is the same one whatever becomes of its name.

    Args:
        path: a regular file that is not empty.

    Raises:
        TextError: it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        remedy = "Name a file of bytes by --data, or leave --data out"
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise TextError(f"{path}: the text to train on does not exist. {remedy}") from None
        except OSError as error:
            raise TextError(f"{path}: the text to train on cannot be read: {error.strerror}") from None
        except ValueError:  # a null character, which a record or a settings file can hold
            raise TextError(f"{visible(str(path))}: the text to train on: no file can have such a name") from None
        weakref.finalize(self, os.close, self._descriptor)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise TextError(f"{path}: the text to train on is no regular file. {remedy}")
        if found.st_size == 0:
            raise TextError(f"{path}: the text to train on is empty. {remedy}")
        self.size = found.st_size
        self._seen = self._stamp()

    def read(self, at: int, count: int) -> bytes:
        """Read some bytes.

        Raises:
            TextError: they are not there any more, or cannot be read.
        """
        pieces = []
        while count:
            try:
                piece = os.pread(self._descriptor, min(count, PIECE_BYTES), at)
            except OSError as error:
                raise TextError(f"{self.path}: the text to train on cannot be read: {error.strerror}") from None
            if not piece:
                raise self.changed()
            pieces.append(piece)
            at, count = at + len(piece), count - len(piece)
        return b"".join(pieces)

    def digest(self) -> str:
        """Return the SHA-256 of all bytes."""
        digest = hashlib.sha256()
        for at in range(0, self.size, PIECE_BYTES):
            digest.update(self.read(at, min(PIECE_BYTES, self.size - at)))
        return digest.hexdigest()

    def differs(self, sha256: str) -> bool:
        """Return whether it holds other bytes than those of this hash, which it is read again for only if touched."""
        now = self._stamp()
        if now == self._seen:
            return False
        self._seen = now
        try:
            return os.fstat(self._descriptor).st_size != self.size or self.digest() != sha256
        except TextError:
            return True

    def changed(self) -> TextError:
        """Return what is to be said if it is no longer what it was."""
        return TextError(
            f"{self.path}: was changed while it was trained on. Put the text back as it was, and go on with --resume; "
            "the checkpoints were made before the change was seen"
        )

    def _stamp(self) -> tuple[int, int, int]:
        """Return its size and its times of change; the second of these cannot be set back."""
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_text(path: Path | None, largest_in_memory: int | None = None) -> Text:
    """Read the text to train on: a file, any bytes, or the embedded default text.

    Args:
        path: the file; None takes the embedded text.
        largest_in_memory: bytes, 1 GiB by default; a longer text is read window by window.

    Raises:
        TextError: there is no such file, or it is empty or cannot be read.
    """
    if path is None:
        from plateau_rule.fftcore.text import default_text

        return TextInMemory(torch.frombuffer(bytearray(default_text()), dtype=torch.uint8), EMBEDDED)
    file = TextFile(path)
    if file.size > (LARGEST_IN_MEMORY if largest_in_memory is None else largest_in_memory):
        return TextOnDisk(file, str(path))
    return TextInMemory(torch.frombuffer(bytearray(file.read(0, file.size)), dtype=torch.uint8), str(path), file)


class Windows:
    """Draws training windows: every draw has its own generator, so that nothing needs to be remembered.

    Args:
        text: where the windows come from.
        seed: of the run.
        chunk: bytes beyond each window that the chunk head is trained on.
        device: where batches are needed.
    """

    def __init__(self, text: Text, seed: int, chunk: int, device: torch.device) -> None:
        self.text, self.train_N = text, text.split("train").to(device) if text.in_memory else None
        self.seed, self.chunk, self.device = seed, chunk, device

    def batch(
        self, step: int, *, part: int = 0, batch_size: int, seq_len: int, rank: int = 0, ranks: int = 1
    ) -> WindowBatch:
        """Return the windows of one forward pass, or the share of them that one of several ranks takes.

        Args:
            step: optimizer step, from 0.
            part: forward pass within the step, from 0.
            batch_size: windows, of all ranks together; a multiple of `ranks`.
            seq_len: bytes that the model reads of each.
            rank: whose share: the first ranks take the first windows.
            ranks: how many take a share.
        """
        # The 0 stands where the rank stood when each rank drew its own: runs that were begun then draw what they drew.
        generator = np.random.default_rng([self.seed, step, 0, part])
        width = seq_len + self.chunk
        begin, end = self.text.span("train")
        starts_B = generator.integers(end - begin - width + 1, size=batch_size)
        phase = int(generator.integers(self.chunk))
        starts_B = starts_B[rank * batch_size // ranks : (rank + 1) * batch_size // ranks]
        if self.train_N is None:
            windows_BW = self.text.windows("train", starts_B.tolist(), width)
            return WindowBatch(self._moved(windows_BW), self._moved(torch.tensor(phase)))
        drawn = self._moved(torch.tensor([*starts_B.tolist(), phase]))
        return WindowBatch(self.train_N.unfold(0, width, 1)[drawn[:-1]], drawn[-1])

    def _moved(self, drawn: Tensor) -> Tensor:
        """Bring a tensor to the device; from pinned memory, so that the device is not waited for."""
        return drawn.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else drawn


def held_out(text: Text, split: Split, count: int, width: int) -> Tensor:
    """Return `count` windows of `width` bytes, spread evenly over a split; fewer where they would overlap."""
    begin, end = text.span(split)
    count = max(1, min(count, (end - begin) // width))
    return text.windows(split, [i * (end - begin - width) // max(1, count - 1) for i in range(count)], width)
