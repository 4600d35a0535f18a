"""Opens a log, whatever it is packed in, and hands out whole lines; never more than a few MiB at a time."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from plateau_rule.sim.logs.errors import LogError

BLOCK_BYTES = 1 << 18
HEAD_BYTES = 1 << 16
LINE_BYTES = 1 << 20  # a longer line is passed over
# Text rarely packs better than 30:1 and deflate cannot do better than 1032:1. Only what is packed tighter than any
# real log, and large, is a bomb.
BOMB_RATIO = 300
BOMB_BYTES = 1 << 28

# First bytes: (what it is, what to do with it).
FOREIGN: dict[bytes, tuple[str, str]] = {
    b"PK\x03\x04": ("a zip archive", "Unpack it and name the log inside"),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "Unpack it first: unzstd FILE"),
    b"\xfd7zXZ\x00": ("packed with xz", "Unpack it first: unxz FILE"),
    b"BZh": ("packed with bzip2", "Unpack it first: bunzip2 FILE"),
    b"\x1f\x8b": ("packed with gzip twice", "Unpack it once: gunzip FILE"),
    b":W&B": ("a W&B run in its own binary form", "Export the run's history from W&B as CSV"),
    b"PAR1": ("a Parquet file", "Convert it to CSV"),
    b"\x89HDF": ("an HDF5 file", "Convert it to CSV"),
    b"\x89PNG": ("a PNG picture", "Name the log it was drawn from"),
    b"%PDF": ("a PDF document", "Name the log it was made from"),
    b"\x80\x02": ("a Python pickle", "A pickle can run code and is never opened; save the losses as CSV"),
    b"\x80\x03": ("a Python pickle", "A pickle can run code and is never opened; save the losses as CSV"),
    b"\x80\x04": ("a Python pickle", "A pickle can run code and is never opened; save the losses as CSV"),
    b"\x80\x05": ("a Python pickle", "A pickle can run code and is never opened; save the losses as CSV"),
}


class Source:
    """A log as a stream of bytes: unpacked, in UTF-8 if it is text, with its first bytes to look at.

    Args:
        path: a regular file, or "-" for the standard input.
        name: what to call it in a message; its path by default.
        tick: called after each read; `position` then tells how much of the file itself has been read.

    `head` holds the first 64 KiB, which `read` and `lines` hand out as well.
    """

    def __init__(self, path: str | Path, name: str | None = None, tick: Callable[[], None] | None = None) -> None:
        self.path = Path(path)
        self.name = name or str(path)
        self.warnings: list[str] = []
        self.long_lines = 0
        self.bytes_out = 0
        self.position = 0
        self._tick = tick
        self._raw = self._open(str(path))
        status = os.fstat(self._raw.fileno())
        self.size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.packed = self._raw.peek(2)[:2] == b"\x1f\x8b"
        self._stream: io.BufferedReader | gzip.GzipFile = gzip.GzipFile(fileobj=self._raw) if self.packed else self._raw
        self._decoder: codecs.IncrementalDecoder | None = None
        try:
            self._pending = self.head = self._fill(HEAD_BYTES)
            self._refuse_foreign()
        except LogError:
            self.close()
            raise

    def _open(self, path: str) -> io.BufferedReader:
        """Open a regular file; nothing that could block or never end."""
        if path == "-":
            return sys.stdin.buffer  # type: ignore[return-value]  # a BufferedReader wherever Python has a stdin
        try:
            mode = Path(path).stat().st_mode
            piped = stat.S_ISFIFO(mode) and path.startswith("/dev/")
            if not (stat.S_ISREG(mode) or piped):
                raise LogError(
                    path, "this is neither a file nor a folder", remedy="Name a log file, or - for the input"
                )
            return Path(path).open("rb")
        except FileNotFoundError:
            raise LogError(path, "there is no such file", remedy="Check the path") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise LogError(path, f"cannot be opened: {reason}", remedy="Check the path and its permissions") from None

    def close(self) -> None:
        """Give the file back; the standard input stays open."""
        if sys.stdin is None or self._raw is not sys.stdin.buffer:
            self._raw.close()

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """The next bytes, at most about `size`; empty at the end."""
        if self._pending:
            pending, self._pending = self._pending, b""
            return pending
        data = self._more(size)
        if self._tick is not None:
            self.position = self._raw.tell() if self.size_bytes is not None else self.bytes_out
            self._tick()
        return data

    def _fill(self, size: int) -> bytes:
        """At least `size` bytes, or all there are."""
        parts = []
        while size > 0 and (part := self._more(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _more(self, size: int) -> bytes:
        while True:
            data = self._unpacked(size)
            if self.bytes_out == 0 and data:
                data = self._find_encoding(data)
            self.bytes_out += len(data)
            if self._decoder is None:
                return data
            text = self._decoder.decode(data, final=not data)
            if text or not data:
                return text.encode("utf-8", "replace")

    def _find_encoding(self, data: bytes) -> bytes:
        """Windows shells write redirected output as UTF-16; everything else here is UTF-8 or plain ASCII."""
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
        return data.removeprefix(codecs.BOM_UTF8)

    def _unpacked(self, size: int) -> bytes:
        try:
            data = self._stream.read1(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if self.bytes_out == 0:
                raise LogError(self.name, f"looks like gzip and is not ({error})", remedy="Pack it again") from None
            self.warnings.append(f"{self.name}: the gzip stream is cut off or damaged; what came before that was read")
            return b""
        except OSError as error:
            raise LogError(self.name, f"reading failed: {error.strerror}", remedy="Try a copy of it") from None
        if self.packed and self.bytes_out > BOMB_BYTES and self.bytes_out > BOMB_RATIO * max(1, self._raw.tell()):
            raise LogError(
                self.name,
                f"unpacks to more than {BOMB_RATIO} times its size, as no log does",
                remedy="Unpack it by hand if you trust it",
            )
        return data

    def _refuse_foreign(self) -> None:
        for magic, (what, remedy) in FOREIGN.items():
            if self.head.startswith(magic):
                raise LogError(self.name, f"this is {what}", "a log of losses", remedy)
        if not self.head:
            raise LogError(self.name, "the file is empty", remedy="Name the log of a run that has made some steps")

    def lines(self) -> Iterator[bytes]:
        """Blocks of whole lines, each with its newline but perhaps the last; lines above 1 MiB are left out."""
        rest = b""
        too_long = False
        old_mac = b"\r" in self.head and b"\n" not in self.head
        while data := self.read():
            if old_mac:
                data = data.replace(b"\r", b"\n")
            end = data.rfind(b"\n") + 1
            if end == 0:
                rest = b"" if too_long else rest + data
                if len(rest) > LINE_BYTES:
                    self.long_lines, rest, too_long = self.long_lines + 1, b"", True
                continue
            start = data.find(b"\n") + 1 if too_long else 0
            too_long = False
            # A line number counts the line that was left out, too.
            whole = b"\n" + data[start:end] if start else rest + data[:end]
            rest = data[end:]
            yield whole
        if rest:
            yield rest
