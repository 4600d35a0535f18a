"""Guards as formulas over atoms, and sets of guards that can be true together, as bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plateau_rule.controller.guards.kleene import FALSE, TRUE, join, join_sets, negate, negate_set

Node = tuple[str, Any]  # ("atom", index), ("not", node), ("any" or "all", [nodes])
Values = list[bool | None]


def possible(node: Node, verdicts: list[int]) -> int:
    """Which verdicts a guard can have, as bits, given those of the atoms; parts are taken as independent."""
    word, inner = node
    if word == "atom":
        return verdicts[inner]
    if word == "not":
        return negate_set(possible(inner, verdicts))
    return join_sets(word == "any", [possible(part, verdicts) for part in inner])


def truth(node: Node, values: Values) -> bool | None:
    """A guard's verdict, given its atoms' (Kleene)."""
    word, inner = node
    if word == "atom":
        return values[inner]
    if word == "not":
        return negate(truth(inner, values))
    return join(word == "any", (truth(part, values) for part in inner))


def can_fire(own: set[int], mine: set[int], hard: list[set[int]], blocking: int) -> bool:
    """Whether guards can hold (`mine`, of their group's truths) while none holds that blocks them."""
    return any(truth & blocking == 0 for truth in mine) and all(
        any(truth & blocking == 0 for truth in group) for group in hard if group is not own
    )


def can_stay(hard: list[set[int]], blocking: int) -> bool:
    """Whether no transition that is taken at one true look need hold."""
    return all(any(truth & blocking == 0 for truth in group) for group in hard)


def signs_of(node: Node, sign: bool) -> Iterator[tuple[int, bool]]:
    """Every atom of a guard, and whether the guard asks for it to be true or false."""
    word, inner = node
    if word == "atom":
        yield inner, sign
    elif word == "not":
        yield from signs_of(inner, not sign)
    else:
        for part in inner:
            yield from signs_of(part, sign)


def undecided(node: Node, verdicts: list[int]) -> Iterator[int]:
    """The atoms that a guard still asks, given what each can say: none of a part that others have decided."""
    word, inner = node
    if possible(node, verdicts) in (TRUE, FALSE):
        return
    if word == "atom":
        yield inner
    else:
        for part in [inner] if word == "not" else inner:
            yield from undecided(part, verdicts)


def union(truths: set[int]) -> int:
    """The guards that are in any of some sets."""
    found = 0
    for bits in truths:
        found |= bits
    return found


def common_to(truths: set[int]) -> int:
    """The guards that are in all of some sets."""
    found = -1
    for bits in truths:
        found &= bits
    return found
