"""The command `plateau generate`. What it needs is imported when it is called."""

from __future__ import annotations

import codecs
import os
import sys
from math import isfinite
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import Flag, UsageError
from plateau_rule.commands.trained import NEWEST, TrainedOptions

if TYPE_CHECKING:
    from plateau_rule.fftcore.generate import Sampling, Writer
    from plateau_rule.fftcore.trained import Trained

PROMPT = b"\n\n"  # as at the beginning of a paragraph
STDIN = Path("-")
COMPARED = 256  # bytes that are drawn again byte by byte for --stats


def generate(
    run: Path,
    /,
    *,
    prompt: str | None = None,
    prompt_file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    count: Annotated[int, Parameter(name="--bytes", validator=Number(gte=1))] = 400,
    temperature: float = 0.8,
    top_p: float = 1.0,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lte=2**63 - 1))] = 0,
    which: TrainedOptions = NEWEST,
    device: str | None = None,
    byte_by_byte: Flag = False,
    stats: Flag = False,
) -> None:
    """Let a trained model write on after a prompt.

    The bytes go to the standard output as they are drawn, and nothing else does. A pipe or a file gets them as they
    are. A terminal shows them as text: � stands for what is no UTF-8, and for what a terminal would obey.

    Args:
        run: A run's folder, also of a run that is going on; one of its checkpoints; or an export.
        prompt: What comes before; by default, an empty line.
        prompt_file: A file with the prompt, any bytes; - is the standard input.
        count: How many bytes to write.
        temperature: Divides the logits. Below 1 likely bytes become likelier; 0 always takes the likeliest.
        top_p: Only the likeliest bytes that together reach this probability can be drawn.
        seed: The same seed gives the same text.
        which: Which of the run's models.
        device: `cpu`, `cuda`, `cuda:1`; the GPU by default if there is one.
        byte_by_byte: Draft nothing. The text is the same; drafts only make it come sooner.
        stats: Say at the end, on the standard error, how fast it was, and how much of that drafts brought.
    """
    if not (isfinite(temperature) and temperature >= 0):
        raise UsageError(f"--temperature {temperature:g}: expected a number of at least 0")
    if not 0 < top_p <= 1:
        raise UsageError(f"--top-p {top_p:g}: expected a number above 0, up to 1")
    before = _prompt(prompt, prompt_file)
    trained = which.read(run, device)
    from plateau_rule.fftcore.evaluate import scoring
    from plateau_rule.fftcore.generate import Sampling, Writer

    sampling = Sampling(temperature, top_p)
    with scoring(trained.model):
        writer = Writer(trained.model, before, sampling, seed, drafts=not byte_by_byte)
        text, passes_s = _written(writer, count)
        if stats:
            _tell(trained, writer, before, sampling, seed, text, passes_s)


def _prompt(prompt: str | None, prompt_file: Path | None) -> bytes:
    if prompt is not None and prompt_file is not None:
        raise UsageError("--prompt and --prompt-file: name one of them")
    if prompt_file is not None:
        content = sys.stdin.buffer.read() if prompt_file == STDIN else prompt_file.read_bytes()
    else:
        content = PROMPT if prompt is None else os.fsencode(prompt)
    if not content:
        raise UsageError("the prompt is empty; expected at least one byte")
    return content


def _written(writer: Writer, count: int) -> tuple[bytes, list[float]]:
    """Write to the standard output as the bytes come; what was written, and the seconds that each pass took."""
    text, passes_s = bytearray(), list[float]()
    show = Shown(sys.stdout) if sys.stdout.isatty() else None
    try:
        while len(text) < count:
            begun = perf_counter()
            piece = writer.more(count - len(text))
            passes_s.append(perf_counter() - begun)
            text += piece
            if show is not None:
                show.write(piece)
            else:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
    finally:
        if show is not None:
            show.close()
    return bytes(text), passes_s


class Shown:
    """Shows bytes on a terminal as text, a character as soon as all of its bytes are there.

    Args:
        terminal: where to.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal, self._last = terminal, "\n"
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, piece: bytes) -> None:
        """Show what is whole."""
        self._show(self._decoder.decode(piece))

    def close(self) -> None:
        """Show what is left, and end the line."""
        self._show(self._decoder.decode(b"", final=True))
        self._show("" if self._last == "\n" else "\n")

    def _show(self, text: str) -> None:
        from plateau_rule.controller.errors import visible

        shown = "\n".join(visible(line) for line in text.split("\n"))
        encoding = self._terminal.encoding or "utf-8"
        self._terminal.write(shown.encode(encoding, "replace").decode(encoding))
        self._terminal.flush()
        self._last = (self._last + text)[-1]


def _tell(
    trained: Trained, writer: Writer, before: bytes, sampling: Sampling, seed: int, text: bytes, passes_s: list[float]
) -> None:
    """Say how fast a text was written, and compare it with one that is drawn byte by byte."""
    from plateau_rule.fftcore.generate import Writer as Again

    seconds = max(sum(passes_s), 1e-9)
    print(f"{trained}: {len(text):,} bytes in {seconds:.2f} s, {len(text) / seconds:,.0f} bytes/s", file=sys.stderr)
    count = writer.count
    if not count.drafted:
        print(f"drafts: {writer.why_not or 'none'}", file=sys.stderr)
        return
    again, slow, singly_s = Again(trained.model, before, sampling, seed, drafts=False), bytearray(), list[float]()
    while len(slow) < min(COMPARED, len(text)):
        begun = perf_counter()
        slow += again.more(1)
        singly_s.append(perf_counter() - begun)
    # By the middle pass of each: on a busy machine, a few take many times as long, and tell nothing.
    ratio = len(text) / count.passes * median(singly_s) / median(passes_s)
    same = "the same" if text.startswith(slow) else "ANOTHER"
    print(
        f"drafts: {count.kept / count.drafted:.0%} stood, {len(text) / count.passes:.2f} bytes a pass"
        f"{f'; {writer.why_not}' if writer.why_not else ''}; {ratio:.2f} times as fast as byte by byte"
        f"{'' if ratio >= 1 else ', so slower: --byte-by-byte is the faster way here'} "
        f"({len(slow)} bytes drawn again, {same} text)",
        file=sys.stderr,
    )
