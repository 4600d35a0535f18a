"""What a curriculum means, apart from how it is spelled: the canonical form and its fingerprints.

Comments, key order, the spelling of numbers and amounts, defaults written out, and the names of guards make no
difference; neither do `name`, `description` and `unit` (for people), `[run]` (the trainer's to override), `[check]` and
a state's `final` (no part of a run).
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from plateau_rule.controller.language.canonical import digest, plain, written
from plateau_rule.controller.language.consistency import NEXT, sources
from plateau_rule.controller.language.curriculum import Curriculum, Guard, word_of
from plateau_rule.controller.language.metrics import evaluated, guarded, metric_meaning
from plateau_rule.controller.language.rungs import spelled_out


def canonical(curriculum: Curriculum) -> dict[str, Any]:
    """The meaning of a curriculum as JSON-able data; two files that mean the same give equal data."""
    curriculum = spelled_out(curriculum)
    keys = transition_keys(curriculum)
    # Guards say themselves what their metrics mean; those that no guard watches still make evaluations.
    bringing = sorted(evaluated(curriculum) - guarded(curriculum))
    return {
        "format": curriculum.format,
        "lr": written(curriculum.lr),
        "knob": {name: written(knob, "unit") for name, knob in curriculum.knob.items()},
        "state": [written(state, "final") for state in curriculum.state],
        "transition": [_transition(curriculum, index, key) for index, key in enumerate(keys)],
        "ways": _ways(curriculum),
        "nonfinite": written(curriculum.nonfinite),
        **({"evaluated": bringing} if bringing else {}),
    }


def fingerprints(curriculum: Curriculum) -> tuple[str, dict[str, str]]:
    """SHA-256, in hex, of the whole meaning, and by name of each state with the transitions out of it."""
    meaning = canonical(curriculum)
    asked = [digest(transition) for transition in meaning["transition"]]
    states = {
        state["name"]: digest(
            {"state": state, "ways": [[asked[index], to] for index, to in meaning["ways"][state["name"]]]}
        )
        for state in meaning["state"]
    }
    return digest(meaning), states


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
    for transition in curriculum.written.transition:
        if transition.name is not None:
            found.append(transition.name)
            continue
        leaving = transition.from_
        spelled = f"{','.join(leaving) if isinstance(leaving, list) else leaving}>{transition.to}"
        seen[spelled] += 1
        found.append(spelled if seen[spelled] == 1 else f"{spelled}#{seen[spelled]}")
    return found


def _transition(curriculum: Curriculum, index: int, key: str) -> dict[str, Any]:
    transition = curriculum.transition[index]
    return {
        "key": key,
        "at": transition.at,
        "guards": [guard_meaning(curriculum, condition) for condition in transition.guards],
        "sustain": float(transition.sustain),
        "at_most": None if transition.at_most is None else float(transition.at_most),
        "actions": [a if isinstance(a, str) else {a.word: plain(a.value)} for a in transition.actions],
        "regress": transition.regress,
    }


def guard_meaning(curriculum: Curriculum, condition: Guard | str) -> dict[str, Any]:
    """What a condition means, as JSON-able data: names followed, numbers and amounts in one spelling."""
    guard = curriculum.resolve(condition)

    def of_part(part: Guard | str) -> dict[str, Any]:
        return guard_meaning(curriculum, part)

    word = word_of(guard)
    metric = word.metric(guard.value)
    said = {} if metric is None else metric_meaning(curriculum, metric)
    return {guard.word: word.meaning(guard.value, of_part), **({"metric": said} if said else {})}
