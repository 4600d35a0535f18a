"""One spelling for data that means the same, and its hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from plateau_rule.controller.language.amounts import AMOUNT, parse_amount
from plateau_rule.controller.language.values import Table

_AMOUNTS = {"every", "length", "warmup", "over", "per", "first"}  # keys that hold an amount of time


def canonical_json(data: Any) -> str:
    """The one JSON text of data: keys sorted, no blanks, ASCII alone.

    Raises:
        ValueError: the data holds NaN or an infinity.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(data: Any) -> str:
    """SHA-256, in hex, of data's canonical JSON."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def written(table: Table, *without: str) -> Any:
    """What a table says that its defaults do not: a key that the language gains later changes no fingerprint."""
    return plain(table.model_dump(exclude=set(without), exclude_defaults=True))


def plain(value: Any, key: str = "") -> Any:
    """A value in one spelling: numbers as floats, amounts of time as they are printed; what is not given is left out.

    Args:
        value: the value.
        key: the key that holds it; it tells an amount of time from other texts.
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, dict):
        return {name: plain(inner, name) for name, inner in value.items() if inner not in (None, {})}
    if isinstance(value, list | tuple):
        return [plain(inner, "length" if key == "cycles" else key) for inner in value]
    if key in _AMOUNTS and isinstance(value, str) and AMOUNT.match(value):  # a knob may be called "length"
        return str(parse_amount(value))
    return value
