"""Bytes to windows: which bytes a step trains on is a pure function of the seed, the step and the rank."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plateau_rule.fftcore.errors import TextError

Split = Literal["train", "validation", "test"]
TRAIN_SHARE, VALIDATION_SHARE = 0.90, 0.05  # the rest is the test split; all three are contiguous
EMBEDDED = "embedded"


class Batch(NamedTuple):
    """What one forward pass trains on."""

    windows_BW: Tensor
    """Bytes, uint8, (B, seq_len + chunk)."""
    phase: Tensor
    """The first position at which the chunk head drafts, 0 … chunk − 1, of no dimension."""


class Text:
    """A text in memory, split 90/5/5 into training, validation and test.

    Args:
        content: bytes, uint8, (N,); may be mapped from a file.
        name: what it is called in `run.json`: a path, or "embedded".
    """

    def __init__(self, content: Tensor, name: str) -> None:
        self.content_N = content
        self.name = name
        self.sha256 = hashlib.sha256(content.numpy().data).hexdigest()

    def __len__(self) -> int:
        return len(self.content_N)

    def split(self, split: Split) -> Tensor:
        """Return the bytes of one split, a view."""
        first = int(len(self) * TRAIN_SHARE)
        second = first + int(len(self) * VALIDATION_SHARE)
        begin, end = {"train": (0, first), "validation": (first, second), "test": (second, len(self))}[split]
        return self.content_N[begin:end]

    def require(self, window: int) -> None:
        """Raise TextError where a split is shorter than one window of `window` bytes."""
        shortest = min(len(self.split(split)) for split in ("train", "validation", "test"))
        if shortest < window:
            raise TextError(
                f"{self.name}: {len(self)} bytes leave {shortest} for validation, and one window takes {window}. "
                f"Give a text of at least {20 * window + 20} bytes, or a shorter seq_len"
            )


def read_text(path: Path | None) -> Text:
    """Read the text to train on: a file, any bytes, or the embedded default text.

    Args:
        path: the file; None takes the embedded text.

    Raises:
        TextError: there is no such file, or it is empty or cannot be read.
    """
    if path is None:
        from plateau_rule.fftcore.text import default_text

        return Text(torch.frombuffer(bytearray(default_text()), dtype=torch.uint8), EMBEDDED)
    if not path.is_file():
        what = "is no regular file" if path.exists() else "does not exist"
        raise TextError(f"{path}: the text to train on {what}. Name a file of bytes by --data, or leave --data out")
    try:
        if path.stat().st_size == 0:
            raise TextError(f"{path}: the text to train on is empty. Name a file of bytes by --data, or leave it out")
        # Copy on write: pages come as they are read, and the file is never written to.
        return Text(torch.from_numpy(np.memmap(path, np.uint8, mode="c")), str(path))
    except OSError as error:
        raise TextError(f"{path}: the text to train on cannot be read: {error.strerror}") from None


class Windows:
    """Draws training windows: every draw has its own generator, so that nothing needs to be remembered.

    Args:
        text: where the windows come from.
        seed: of the run.
        chunk: bytes beyond each window that the chunk head is trained on.
        device: where batches are needed.
    """

    def __init__(self, text: Text, seed: int, chunk: int, device: torch.device) -> None:
        self.train_N = text.split("train").to(device)
        self.seed, self.chunk, self.device = seed, chunk, device

    def batch(self, step: int, rank: int = 0, *, part: int = 0, batch_size: int, seq_len: int) -> Batch:
        """Return the windows of one forward pass.

        Args:
            step: optimizer step, from 0.
            rank: the process's rank, from 0.
            part: forward pass within the step, from 0.
            batch_size: windows.
            seq_len: bytes that the model reads of each.
        """
        generator = np.random.default_rng([self.seed, step, rank, part])
        width = seq_len + self.chunk
        starts_B = generator.integers(len(self.train_N) - width + 1, size=batch_size)
        drawn = torch.from_numpy(np.append(starts_B, generator.integers(self.chunk)))
        if self.device.type == "cuda":  # from pinned memory, so that the device is not waited for
            drawn = drawn.pin_memory().to(self.device, non_blocking=True)
        return Batch(self.train_N.unfold(0, width, 1)[drawn[:-1]], drawn[-1])


def held_out(text: Text, split: Split, count: int, width: int) -> Tensor:
    """Return `count` windows of `width` bytes, spread evenly over a split; fewer where they would overlap."""
    content_N = text.split(split)
    count = max(1, min(count, len(content_N) // width))
    starts = [i * (len(content_N) - width) // max(1, count - 1) for i in range(count)]
    return content_N.unfold(0, width, 1)[torch.tensor(starts)]
