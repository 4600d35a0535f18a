"""A trainer's largest values of its knobs: whether a curriculum fits them, and how a command line spells them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from sys import float_info

from plateau_rule.controller.errors import BindingError, Fault, visible
from plateau_rule.controller.language.consistency import nearest
from plateau_rule.controller.language.curriculum import FULL, Curriculum, Knob
from plateau_rule.controller.language.knob_values import PLURALS, hardness, kind_of_value
from plateau_rule.controller.language.ladders import ranks_of
from plateau_rule.controller.machine import Limits

LARGEST = float_info.max


def unfit_limits(curriculum: Curriculum, limits: Limits | None) -> Iterator[Fault]:
    """Knobs of a curriculum that a trainer cannot turn, or not as far as it asks for."""
    if limits is None:
        return
    spelled = ranks_of(curriculum)
    known = ", ".join(name if most is None else f"{name} (at most {most})" for name, most in sorted(limits.items()))
    for name, knob in curriculum.knob.items():
        if name not in limits:
            yield Fault("unknown-knob", ("knob", name), f'this trainer cannot turn the knob "{name}"',
                        f"one of its knobs: {known or 'none'}", nearest(name, limits), at_key=True)  # fmt: skip
        elif limits[name] is None:
            if asks_for_full(curriculum, name):
                yield Fault("bad-limit", ("knob", name), f'"full", and this trainer has no largest value of "{name}"',
                            "a limit that is a number", at_key=True)  # fmt: skip
        elif name in spelled:
            kind = PLURALS[kind_of_value(next(iter(spelled[name])))]
            yield Fault("bad-limit", ("knob", name), f"the limit {limits[name]} for a knob of {kind}",
                        f"none: {{{name!r}: None}}, or {name}=none on a command line", at_key=True)  # fmt: skip
        else:
            yield from _low_limit(name, knob, limits[name] or 0)


def asks_for_full(curriculum: Curriculum, name: str) -> bool:
    """Whether `full` stands among the values of a knob."""
    knob = curriculum.knob[name]
    written = [*(knob.ladder or ()), *([knob.range.max] if knob.range else ())]
    return FULL in [*written, *(state.set[name] for state in curriculum.state)]


def _low_limit(name: str, knob: Knob, limit: float) -> Iterator[Fault]:
    easiest = min(knob.ladder, key=hardness) if knob.ladder else knob.range.min if knob.range else 0
    which = "easiest" if knob.order == "up" else "smallest"
    if easiest != FULL and float(easiest) > limit:
        found = f"the {which} value {easiest} lies above this trainer's limit {limit}"
        yield Fault("limit-below-ladder", ("knob", name), found)


# On a command line


def limits_in(words: Iterable[str], option: str = "--limit") -> dict[str, float | None] | None:
    """Read limits as a command line spells them.

    Args:
        words: KNOB=NUMBER each, or KNOB=none where it has no largest value.
        option: how they were introduced, for the errors.

    Returns:
        The limits, or None where there are no words.

    Raises:
        BindingError: a word is something else, or a knob comes twice.
    """
    limits: dict[str, float | None] = {}
    faults = []
    for word in words:
        name, _, text = word.partition("=")
        number = _number_in(text)
        if not name or (number is None and text != "none"):
            faults.append(
                Fault("bad-limit", (), f'{option} "{visible(word)}"',
                      f"KNOB=NUMBER with a number above 0, such as {option} cutoff=1025")
            )  # fmt: skip
        elif name in limits:
            faults.append(Fault("bad-limit", (), f'{option} "{visible(word)}"', f"one limit for the knob {name}"))
        else:
            limits[name] = number
    if faults:
        raise BindingError(faults)
    return limits or None


def _number_in(text: str) -> float | None:
    """A finite number above 0, a whole one as int; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    if not 0 < number <= LARGEST:
        return None
    return int(number) if number.is_integer() else number


def for_every_knob(curriculum: Curriculum, limits: Limits | None) -> Limits | None:
    """Limits that name each knob of a curriculum: none is known of those that a person did not name.

    Raises:
        BindingError: one that is not named asks for `full`.
    """
    if limits is None:
        return None
    left = [name for name in curriculum.knob if name not in limits]
    if faults := [
        Fault("bad-limit", (), f'no limit of "{name}" is given, and it asks for "full"',
              f"one beside those that are given: --limit {name}=NUMBER")
        for name in left if asks_for_full(curriculum, name)
    ]:  # fmt: skip
        raise BindingError(faults)
    return {**dict.fromkeys(left), **limits}
