"""One JSON object of lists, a list a metric: what Keras' History holds, and many a trainer's own summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.rows import Reader, RowBlock
from plateau_rule.sim.logs.series import is_loss
from plateau_rule.sim.logs.source import Source

LARGEST_BYTES = 1 << 26  # of such a file
_LOSSES = re.compile(rb'"[^"\n]{0,100}"\s*:\s*\[\s*-?(?:\d|NaN|Infinity)')
_BARE = re.compile(rb"(?<=[:\[,\s])-?(?:NaN|Infinity)(?=\s*[,\]}])")
Lists = dict[str, list[object]]


class ListsReader(Reader):
    """Lists of one length as columns: `{"loss": [2.5, 2.1], "val_loss": [2.6, 2.3]}`; perhaps inside another object."""

    format = "JSON lists"

    def __init__(self, source: Source) -> None:
        super().__init__()
        data = b""
        while (more := source.read()) and len(data) <= LARGEST_BYTES:
            data += more
        if len(data) > LARGEST_BYTES:
            raise LogError(source.name, "one JSON object of more than 64 MiB", remedy="Write the losses as JSON lines")
        try:
            self.lists = _lists_in(orjson.loads(_BARE.sub(b'"nan"', data)))
        except orjson.JSONDecodeError as error:
            raise LogError(source.name, f"JSON that cannot be read: {error}", remedy="Write the file again") from None

    def blocks(self) -> Iterator[RowBlock]:
        """All rows at once."""
        count = max(map(len, self.lists.values()), default=0)
        yield RowBlock(count, {name: values for name, values in self.lists.items() if len(values) == count})


def is_history(head: bytes) -> bool:
    """Whether this begins one JSON object that holds a list of numbers by a name."""
    objects = sum(line.lstrip()[:1] == b"{" for line in head.split(b"\n") if not line[:1].isspace())
    return objects == 1 and head.lstrip()[:1] == b"{" and _LOSSES.search(head) is not None


def _lists_in(document: object) -> Lists:
    """The lists that hold a loss, and those of the same length beside it; at the top, or one object below it."""
    inside = [value for value in document.values() if isinstance(value, dict)] if isinstance(document, dict) else []
    for each in [*([document] if isinstance(document, dict) else []), *inside]:
        lists = {name: value for name, value in each.items() if isinstance(value, list) and len(value) > 1}
        lengths = [len(value) for name, value in lists.items() if is_loss(name)]
        if lengths:
            return {name: value for name, value in lists.items() if len(value) == max(lengths)}
    return {}
