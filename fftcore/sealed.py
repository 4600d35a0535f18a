"""JSON documents that carry their own SHA-256, so that a change by hand or by a bad disk does not go unnoticed."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from plateau_rule.controller.language.canonical import digest

SEAL = "checksum"


class Frozen(BaseModel):
    """The form of a document: every name in it is known, and none is missing."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def seal(content: Mapping[str, Any]) -> bytes:
    """Spell a document as JSON, its checksum last."""
    return (json.dumps({**content, SEAL: _checksum(content)}, indent=1, allow_nan=False) + "\n").encode()


def unseal(source: bytes) -> dict[str, Any]:
    """Return a document without its checksum.

    Raises:
        ValueError: it is no JSON object, or was changed after it was sealed.
    """
    content = parse(source)
    if SEAL not in content:
        raise ValueError(f'it has no "{SEAL}"')
    if content.pop(SEAL) != _checksum(content):
        raise ValueError(f'it was changed after it was written: its "{SEAL}" differs')
    return content


def parse(source: bytes) -> dict[str, Any]:
    """Return a JSON object: UTF-8 without a byte-order mark, each name once, as it is written here.

    Raises:
        ValueError: it is none, or holds a number that JSON does not have.
    """
    if source.startswith(BOM_UTF8):
        raise ValueError("it begins with a byte-order mark, and was written without one")
    try:
        found = json.loads(source.decode(), parse_constant=_refuse, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("it holds broken JSON: too deeply nested") from None
    except ValueError as error:
        raise ValueError(f"it holds broken JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds broken JSON: an object is expected, and a {type(found).__name__} was found")
    return found


def first_fault(error: ValidationError) -> str:
    """Put the first of a document's faults into words: where it is, and what is wrong there."""
    first = error.errors()[0]
    where = ".".join(str(key) for key in first["loc"])
    return f"{where or 'the document':.100}: {first['msg']:.200}"


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object: of a name that stands twice, whoever reads it would take another value."""
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise ValueError(f'"{twice:.100}" stands twice')
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    try:
        return digest(content)
    except RecursionError:
        raise ValueError("it is too deeply nested") from None
    except ValueError:
        raise ValueError("it holds a number that JSON does not have") from None
