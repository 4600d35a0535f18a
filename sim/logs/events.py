"""TensorBoard event files.

A reader of our own, against the habit of taking a library: the only well-kept one is TensorBoard itself, which brings
seven packages and 57 MB (grpc, protobuf, a web server), more than everything else that this project installs by itself
but numpy, for a format of which a scalar needs five fields. So an event file can be read without an extra, and in
memory that does not grow with it. The tests compare the two readers on files of TensorBoard's own writers.

A file is a chain of TFRecords (length, checksum, data, checksum: tensorflow/core/lib/io/record_writer.h), each an
`Event` in protobuf's wire format (tensorflow/core/util/event.proto, framework/summary.proto, framework/tensor.proto).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

from plateau_rule.sim.logs.rows import Reader, Records, RowBlock, batches, merged
from plateau_rule.sim.logs.source import Source

LARGEST_RECORD = 1 << 22  # pictures and graphs are larger; a scalar takes some 100 bytes
CHECKED_RECORD = 1 << 16  # the checksum of a larger one, which holds pictures beside scalars, would take too long
BATCH_ROWS = 1000
# tensorflow/core/framework/types.proto: how each type is packed in tensor_content.
_PACKED = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}
# Fields of TensorProto that hold single values: float_val, double_val, int_val, int64_val.
_FLOAT_VAL, _DOUBLE_VAL, _INT_VAL, _INT64_VAL = 5, 6, 7, 10


class EventFile(Reader):
    """The scalars of an event file, those written as tensors of one number included; everything else is passed over."""

    format = "TensorBoard event file"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.dropped: Counter[str] = Counter()

    def blocks(self) -> Iterator[RowBlock]:
        """A row a step, as long as its scalars stand together."""
        rows = merged(self._scalars())
        for batch in batches(rows, BATCH_ROWS):
            yield RowBlock(len(batch), Records(batch), 0, self.dropped.copy())
            self.dropped.clear()
        yield RowBlock(0, Records([]), 0, self.dropped)

    def _scalars(self) -> Iterator[tuple[int, str, object]]:
        for record in self._records():
            try:
                yield from scalars(record)
            except (ValueError, struct.error):
                self.dropped["record is no Event"] += 1

    def _records(self) -> Iterator[bytes]:
        """The data of each record whose checksum is right; ends where the file is cut off or its chain is broken."""
        buffer = b""
        skip = 0  # bytes of a large record still to come
        while data := self.source.read():
            if skip >= len(data):
                skip -= len(data)
                continue
            buffer += data[skip:]
            skip = at = 0
            while len(buffer) - at >= 12:
                (length,) = struct.unpack_from("<Q", buffer, at)
                if struct.unpack_from("<I", buffer, at + 8)[0] != masked_crc(buffer[at : at + 8]):
                    self.warnings.append(f"{self.source.name}: damaged; only what stands before the damage was read")
                    return
                end = at + 12 + length + 4
                if length > LARGEST_RECORD:
                    self.dropped["record larger than 4 MiB (no scalar)"] += 1
                    skip, at = max(0, end - len(buffer)), min(end, len(buffer))
                    continue
                if end > len(buffer):
                    break
                record = buffer[at + 12 : end - 4]
                if length > CHECKED_RECORD or struct.unpack_from("<I", buffer, end - 4)[0] == masked_crc(record):
                    yield record
                else:
                    self.dropped["record with a wrong checksum"] += 1
                at = end
            buffer = buffer[at:]
        if buffer or skip:
            self.warnings.append(f"{self.source.name}: the last record is cut off, as in a run that is still going on")


def is_event_file(head: bytes) -> bool:
    """Whether this begins with a TFRecord: a length with its checksum."""
    return len(head) >= 12 and struct.unpack_from("<I", head, 8)[0] == masked_crc(head[:8])


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _table()


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli) as TFRecords mask it, so that a checksum of checksums means something."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def scalars(event: bytes) -> Iterator[tuple[int, str, object]]:
    """Step, tag and value of each scalar in an `Event`.

    Raises:
        ValueError, struct.error: the bytes are no message of protobuf.
    """
    step = 0
    summaries = []
    for field, value in fields(event):
        if field == 2 and isinstance(value, int):
            step = value
        elif field == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for field, value in fields(summary):
            if field == 1 and isinstance(value, bytes):
                tag, scalar = _value(value)
                if scalar is not None:
                    yield step, tag, scalar


def _value(message: bytes) -> tuple[str, object]:
    """Tag and number of a `Summary.Value`; None if it holds a picture, a histogram, a text or a larger tensor."""
    tag, scalar = "", None
    for field, value in fields(message):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif field == 2 and isinstance(value, float):
            scalar = value
        elif field == 8 and isinstance(value, bytes):
            scalar = _tensor(value)
    return tag, scalar


def _tensor(message: bytes) -> float | None:
    """The number in a `TensorProto` of one element."""
    kind, content, found = 0, b"", None
    for field, value in fields(message):
        if field == 1 and isinstance(value, int):
            kind = value
        elif field == 4 and isinstance(value, bytes):
            content = value
        elif field in (_FLOAT_VAL, _DOUBLE_VAL, _INT_VAL, _INT64_VAL):
            found = _single(field, value)
    code = _PACKED.get(kind)
    if code and len(content) == struct.calcsize(code):
        return float(struct.unpack(code, content)[0])
    return found


def _single(field: int, value: int | float | bytes) -> float | None:
    """A repeated field with one element, packed or not."""
    if not isinstance(value, bytes):
        return float(value)
    code = {_FLOAT_VAL: "<f", _DOUBLE_VAL: "<d"}.get(field)
    if code is None:
        number, end = _varint(value, 0)
        return float(_signed(number)) if end == len(value) else None
    return float(struct.unpack(code, value)[0]) if len(value) == struct.calcsize(code) else None


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Number and value of each field of a message in protobuf's wire format (protobuf.dev/programming-guides/encoding).

    Raises:
        ValueError, struct.error: the message is cut off, or of a wire type that is none.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield field, _signed(number)
        elif wire == 1:
            yield field, float(struct.unpack_from("<d", message, at)[0])
            at += 8
        elif wire == 5:
            yield field, float(struct.unpack_from("<f", message, at)[0])
            at += 4
        elif wire == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("field is cut off")
            yield field, message[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {wire}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    number = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError("number is cut off")


def _signed(number: int) -> int:
    """Two's complement of 64 bits."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
