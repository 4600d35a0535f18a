"""What a curriculum means, apart from how it is spelled: the canonical form and its fingerprints.

Comments, key order, the spelling of numbers and amounts, defaults written out, and the names of guards make no
difference; neither do `name`, `description` and `unit` (for people), `[run]` (the trainer's to override) and `[check]`
(no part of a run).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from controller.amounts import parse_amount
from controller.language import Curriculum, Guard
from controller.sense import METHOD_KEYS, sources, target

_AMOUNTS = {"dwell", "length", "warmup", "over", "per"}


def canonical(curriculum: Curriculum) -> dict[str, Any]:
    """The meaning of a curriculum as JSON-able data; two files that mean the same give equal data."""
    return {
        "format": curriculum.format,
        "lr": _plain(curriculum.lr.model_dump()),
        "knob": {name: _plain(knob.model_dump(exclude={"unit"})) for name, knob in curriculum.knob.items()},
        "state": [_plain(state.model_dump()) for state in curriculum.state],
        "transition": [_transition(curriculum, index) for index in range(len(curriculum.transition))],
        "nonfinite": _plain(curriculum.nonfinite.model_dump()),
    }


def fingerprint(curriculum: Curriculum) -> str:
    """SHA-256 of the meaning, in hex."""
    return _hash(canonical(curriculum))


def state_fingerprint(curriculum: Curriculum, index: int) -> str:
    """SHA-256 of one state and the transitions out of it, in hex."""
    meaning, name = canonical(curriculum), curriculum.state[index].name
    leaving = [t for t in meaning["transition"] if any(source == name for source, _ in t["ways"])]
    return _hash({"state": meaning["state"][index], "transition": leaving})


def transition_key(curriculum: Curriculum, index: int) -> str:
    """The name that a transition's counter is saved under; it survives edits elsewhere in the file."""
    transition = curriculum.transition[index]
    if transition.name is not None:
        return transition.name

    def spelled(i: int) -> str:
        other = curriculum.transition[i]
        return f"{','.join(other.from_) if isinstance(other.from_, list) else other.from_}>{other.to}"

    earlier = sum(curriculum.transition[i].name is None and spelled(i) == spelled(index) for i in range(index))
    return spelled(index) + (f"#{earlier + 1}" if earlier else "")


def _hash(meaning: object) -> str:
    return hashlib.sha256(
        json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    ).hexdigest()


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(inner, name) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, "length" if key == "cycles" else key) for inner in value]
    if key in _AMOUNTS and value not in ("window", "full"):  # a knob may be called "length"
        return str(parse_amount(value))
    return value


def _transition(curriculum: Curriculum, index: int) -> dict[str, Any]:
    transition = curriculum.transition[index]
    return {
        "key": transition_key(curriculum, index),
        "ways": [[source, target(curriculum, index, source)] for source in sources(curriculum, index)],
        "at": transition.at,
        "guards": [guard_meaning(curriculum, condition) for condition in transition.guards],
        "sustain": float(transition.sustain),
        "at_most": None if transition.at_most is None else float(transition.at_most),
        "actions": [a if isinstance(a, str) else {a.word: _plain(a.value)} for a in transition.actions],
        "regress": transition.regress,
    }


def guard_meaning(curriculum: Curriculum, condition: Guard | str) -> dict[str, Any]:
    """What a condition means, as JSON-able data: names followed, numbers and amounts in one spelling."""
    guard = curriculum.resolve(condition)
    word, value = guard.word, guard.value
    if word in ("any", "all"):
        return {word: [guard_meaning(curriculum, part) for part in value]}
    if word == "not":
        return {word: guard_meaning(curriculum, value)}
    if word == "plateau":
        return {word: _plain(value.model_dump(include={"metric", "method", *METHOD_KEYS[value.method]}))}
    return {word: _plain(value.model_dump() if hasattr(value, "model_dump") else value, word)}
