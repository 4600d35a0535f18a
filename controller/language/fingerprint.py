"""What a curriculum means, apart from how it is spelled: the canonical form and its fingerprints.

Comments, key order, the spelling of numbers and amounts, defaults written out, and the names of guards make no
difference; neither do `name`, `description` and `unit` (for people), `[run]` (the trainer's to override) and `[check]`
(no part of a run).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import pairwise
from typing import Any

from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.consistency import METHOD_KEYS, NEXT, sources
from plateau_rule.controller.language.curriculum import Curriculum, Guard
from plateau_rule.controller.language.values import Table

_AMOUNTS = {"dwell", "length", "warmup", "over", "per"}


def canonical(curriculum: Curriculum) -> dict[str, Any]:
    """The meaning of a curriculum as JSON-able data; two files that mean the same give equal data."""
    keys = transition_keys(curriculum)
    return {
        "format": curriculum.format,
        "lr": _written(curriculum.lr),
        "knob": {name: _written(knob, "unit") for name, knob in curriculum.knob.items()},
        "state": [_written(state) for state in curriculum.state],
        "transition": [_transition(curriculum, index, key) for index, key in enumerate(keys)],
        "ways": _ways(curriculum),
        "nonfinite": _written(curriculum.nonfinite),
    }


def fingerprints(curriculum: Curriculum) -> tuple[str, dict[str, str]]:
    """SHA-256, in hex, of the whole meaning, and by name of each state with the transitions out of it."""
    meaning = canonical(curriculum)
    asked = [_hash(transition) for transition in meaning["transition"]]
    states = {
        state["name"]: _hash(
            {"state": state, "ways": [[asked[index], to] for index, to in meaning["ways"][state["name"]]]}
        )
        for state in meaning["state"]
    }
    return _hash(meaning), states


def _ways(curriculum: Curriculum) -> dict[str, list[tuple[int, str]]]:
    """For every state the transitions out of it: their places in the file, and the states that they enter."""
    names = [state.name for state in curriculum.state]
    following = dict(pairwise(names))
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    for index, transition in enumerate(curriculum.transition):
        for source in sources(curriculum, index):
            found[source].append((index, following[source] if transition.to == NEXT else transition.to))
    return found


def transition_keys(curriculum: Curriculum) -> list[str]:
    """The names that transitions are counted under; they survive edits elsewhere in the file."""
    seen = Counter[str]()
    found = []
    for transition in curriculum.transition:
        if transition.name is not None:
            found.append(transition.name)
            continue
        leaving = transition.from_
        spelled = f"{','.join(leaving) if isinstance(leaving, list) else leaving}>{transition.to}"
        seen[spelled] += 1
        found.append(spelled if seen[spelled] == 1 else f"{spelled}#{seen[spelled]}")
    return found


def _hash(meaning: object) -> str:
    return hashlib.sha256(
        json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    ).hexdigest()


def _written(table: Table, *without: str) -> Any:
    """What a table says that its defaults do not: a key that the language gains later changes no fingerprint."""
    return _plain(table.model_dump(exclude=set(without), exclude_defaults=True))


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(inner, name) for name, inner in value.items() if inner not in (None, {})}
    if isinstance(value, list | tuple):
        return [_plain(inner, "length" if key == "cycles" else key) for inner in value]
    if key in _AMOUNTS and value not in ("window", "full"):  # a knob may be called "length"
        return str(parse_amount(value))
    return value


def _transition(curriculum: Curriculum, index: int, key: str) -> dict[str, Any]:
    transition = curriculum.transition[index]
    return {
        "key": key,
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
        own = {"metric", "method", *METHOD_KEYS[value.method]}
        return {word: _written(value, *(type(value).model_fields.keys() - own))}
    return {word: _written(value) if isinstance(value, Table) else _plain(value, word)}
