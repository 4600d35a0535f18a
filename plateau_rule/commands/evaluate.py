"""The command `plateau evaluate`. What it needs is imported when it is called."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from pathlib import Path
from time import perf_counter
from typing import BinaryIO

from plateau_rule.commands.options import JsonFlag, Progress, UsageError, bar, print_json
from plateau_rule.commands.trained import NEWEST, TrainedOptions
from plateau_rule.controller.errors import visible

PIECE_BYTES = 1 << 16
CHECKED = 1024  # first bytes of the text that are scored byte by byte as well


def evaluate(
    run: Path,
    /,
    *,
    data: Path,
    which: TrainedOptions = NEWEST,
    device: str | None = None,
    as_json: JsonFlag = False,
) -> None:
    """Score a trained model on a file: bits per byte, each byte predicted from all before it.

    The file is one stream from its first byte to its last, read in blocks of 64 bytes; the first 1,024 are scored byte
    by byte as well, and the command fails where the two differ by more than 0.02 bits.

    Args:
        run: A run's folder, also of a run that is going on; one of its checkpoints; or an export.
        data: The file to predict, any bytes, as long as one likes.
        which: Which of the run's models.
        device: `cpu`, `cuda`, `cuda:1`; the GPU by default if there is one.
        as_json: Print one JSON object.
    """
    with data.open("rb") as stream:
        head = stream.read(CHECKED + 1)
        if len(head) < 2:
            raise UsageError(f"{visible(str(data))}: has {len(head)} bytes; expected at least 2, to predict one")
        trained = which.read(run, device)
        from plateau_rule.fftcore.evaluate import Score, score_text

        model = trained.model
        check = Score(score_text(model, [head], 1).bits_per_byte, score_text(model, [head]).bits_per_byte)
        check.refuse_leak("in blocks")
        begun = perf_counter()
        with bar("evaluating", "bytes") as progress:
            score = score_text(model, _pieces(head, stream, data.stat().st_size, progress))
        seconds = perf_counter() - begun
    if as_json:
        from plateau_rule.sim.run_folder import spelled

        found = {
            "run": str(run),
            "step": trained.step,
            "knobs": trained.knobs.model_dump(),
            "data": str(data),
            "bytes": score.predicted,
            "bits_per_byte": spelled(score.bits_per_byte),
            "byte_by_byte": {"bytes": len(head) - 1, "bits_per_byte": spelled(check.stream)},
            "seconds": seconds,
        }
        print_json(found)
        return
    bits = score.bits_per_byte
    print(f"{bits:.4f} bits/byte ({bits * log(2):.4f} nats) on {score.predicted:,} bytes of {visible(str(data))}")
    print(f"{trained}; {score.predicted / max(seconds, 1e-9):,.0f} bytes/s")
    print(f"first {len(head) - 1:,} bytes: {check.stream:.4f} bits/byte byte by byte, {check.parallel:.4f} in blocks")


def _pieces(head: bytes, stream: BinaryIO, size: int, progress: Progress | None) -> Iterator[bytes]:
    """Read a file piece by piece, of which the first was read already."""
    piece, done = head, 0
    while piece:
        yield piece
        done += len(piece)
        if progress is not None:
            progress(done, size or None)
        piece = stream.read(PIECE_BYTES)
