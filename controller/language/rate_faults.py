"""Whether what `[lr]`, and `lr` of each state, say of the rate fits together."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_rule.controller.errors import Fault, Key
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.faults import empty_faults, rest_faults, unknown
from plateau_rule.controller.language.knob_values import NUMBER, hardness, kind_of_value
from plateau_rule.controller.language.rates import GrowingCycles, Rate

Path = tuple[Key, ...]


def rate_faults(curriculum: Curriculum, entered_by_restart: set[str]) -> Iterator[Fault]:
    """All of them.

    Args:
        curriculum: the curriculum.
        entered_by_restart: the names of the states that some transition with `lr_restart` enters.
    """
    rate = curriculum.lr
    if rate.length is not None and rate.cycles is not None:
        yield Fault("length-and-cycles", ("lr", "cycles"), "both length and cycles", "one of the two", at_key=True)
    yield from _cycle_faults(rate)
    yield from empty_faults(rate.length, ("lr", "length"), "a length that lasts")
    yield from rest_faults(rate.warmup, ("lr", "warmup"))
    if rate.lowest > rate.peak:
        yield Fault("lowest-above-peak", ("lr", "lowest"), f"lowest {rate.lowest:g} above the peak {rate.peak:g}",
                    "a rate below the peak")  # fmt: skip
    if rate.rewarm and rate.warmup is None:
        yield Fault(
            "rewarm-without-warmup", ("lr", "rewarm"), "rewarm without a warmup", "a warmup to repeat", at_key=True
        )
    if rate.warmup_from is not None and rate.warmup is None and all(s.lr.warmup is None for s in curriculum.state):
        yield _idle(("lr", "warmup_from"), '"warmup_from" without a warmup', "a warmup that begins there")
    if "decay" in rate.model_fields_set and "wsd" not in {state.lr.shape or rate.shape for state in curriculum.state}:
        yield _idle(("lr", "decay"), f'"decay" with shape "{rate.shape}"', 'shape "wsd"')
    yield from _follow_faults(curriculum)
    yield from _state_faults(curriculum, entered_by_restart)


def _follow_faults(curriculum: Curriculum) -> Iterator[Fault]:
    for name, exponent in curriculum.lr.follow.items():
        path: Path = ("lr", "follow", name)
        values = {i: state.set[name] for i, state in enumerate(curriculum.state) if name in state.set}
        if name not in curriculum.knob:
            yield unknown("unknown-knob", path, "knob", name, curriculum.knob, at_key=True)
        elif any(kind_of_value(value) != NUMBER for value in values.values()):
            yield Fault("follow-without-numbers", path, f"{name}, whose values are no numbers", "a knob of numbers",
                        "Write the rate of each state: lr = { peak = … }.", at_key=True)  # fmt: skip
        elif below := [i for i, value in values.items() if hardness(value) <= 0]:
            yield Fault("follow-without-numbers", ("state", below[0], "set", name), f"{name} = {values[below[0]]}, "
                        f"and the rate follows {name}", "numbers above 0")  # fmt: skip
        elif exponent == 0 or len(set(values.values())) == 1:
            why = "the exponent 0" if exponent == 0 else f"a knob that is {next(iter(values.values()))} in every state"
            yield _idle(path, why, "a rate that changes with the knob")
        for i, state in enumerate(curriculum.state):
            if name in state.ramp:
                found, hint = f"a ramp of {name}, which the rate follows", "The rate is worked out once for each state."
                yield Fault("ramp-under-follow", ("state", i, "ramp", name), found, "a state for each value", hint,
                            at_key=True)  # fmt: skip


def _idle(path: Path, found: str, expected: str) -> Fault:
    """A key that would have no effect."""
    return Fault("key-without-effect", path, found, expected, at_key=True)


def _cycle_faults(rate: Rate) -> Iterator[Fault]:
    if rate.peaks is not None and rate.cycles is None:
        yield _idle(("lr", "peaks"), '"peaks" without cycles', "cycles, each of which has a peak")
    if isinstance(rate.cycles, GrowingCycles):
        yield from rest_faults(rate.cycles.first, ("lr", "cycles", "first"))
        yield from empty_faults(rate.cycles.first, ("lr", "cycles", "first"), "a cycle that lasts")
        return
    cycles = rate.cycles or []
    for i, cycle in enumerate(cycles):
        if cycle == "rest" and i + 1 < len(cycles):
            yield Fault("rest-not-last", ("lr", "cycles", i), '"rest" before the last cycle', '"rest" as the last one')
        yield from empty_faults(cycle, ("lr", "cycles", i), "a cycle that lasts")


def _state_faults(curriculum: Curriculum, entered_by_restart: set[str]) -> Iterator[Fault]:
    for i, state in enumerate(curriculum.state):
        path: Path = ("state", i, "lr")
        yield from empty_faults(state.lr.length, (*path, "length"), "a length that lasts")
        shape = state.lr.shape or curriculum.lr.shape
        if state.lr.decay is not None and shape != "wsd":
            yield _idle((*path, "decay"), f'"decay" with shape "{shape}"', 'shape "wsd"')
        yield from rest_faults(state.lr.warmup, (*path, "warmup"))
        if state.lr.warmup is not None and i > 0 and state.name not in entered_by_restart:
            yield _idle((*path, "warmup"), f'"warmup" in "{state.name}", which no transition enters by lr_restart',
                        "lr_restart in a transition that enters it")  # fmt: skip
        if state.lr.warmup_from is not None and state.lr.warmup is None:
            yield _idle((*path, "warmup_from"), '"warmup_from" without a warmup', "a warmup of the state")
