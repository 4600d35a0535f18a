"""The command `plateau diff`. What reads logs is imported only where it is asked for."""

from __future__ import annotations

import warnings
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from plateau_rule.commands.options import (
    LATE,
    READING,
    JsonFlag,
    LateOptions,
    ReadingOptions,
    Several,
    UsageError,
    bound_to,
    print_json,
    read_logs,
    require_knobs,
)
from plateau_rule.commands.sources import STDIN, Source, content_of, refuse_options
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.edit.difference import as_dict, difference, in_words, section
from plateau_rule.controller.edit.meaning import Edit
from plateau_rule.controller.errors import BindingWarning, CurriculumError, Fault, visible
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS

if TYPE_CHECKING:
    from plateau_rule.controller.plan import Decision


def diff(
    old: Source,
    new: Source,
    /,
    *,
    log: Several = (),
    as_json: JsonFlag = False,
    budget: int = MOST_CONFIGURATIONS,
    reading: ReadingOptions = READING,
    bound: LateOptions = LATE,
) -> None:
    """Say what an edit of a curriculum means: for every possible loss, for your logs, and for a run under way.

    `plateau diff plateau mine.toml` compares what was edited, when each state is entered, the rates at raises, the
    verdicts of `plateau check`, and says of each state whether a run that stands in it can resume under the new file.

    Args:
        old: A curriculum file, the name of a shipped curriculum, or `-` for the standard input.
        new: The same after the edit.
        log: A log to replay under both; repeat it for parts of one run.
        as_json: Print one JSON object.
        budget: Try at most this many configurations of each; what is left then is not decided.
        reading: How to read the log.
        bound: What both curricula are bound to.
    """
    refuse_options("diff", (old, new))
    if old == new == STDIN:
        raise UsageError("plateau diff: - and -; expected the standard input for one of the two files")
    curricula = _both(old, new)
    binding = bound.binding()
    require_knobs(binding, *curricula)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)
        machines = [bind(curriculum, bound_to(curriculum, binding)) for curriculum in curricula]
    found = difference(machines[0], machines[1], budget=budget)
    replayed = _replayed(curricula, log, reading, binding) if log else None
    if as_json:
        print_json(as_dict(found, old, new) | ({} if replayed is None else {"log": _as_data(*replayed)}))
        return
    for line in in_words(found, visible(old), visible(new)):
        print(line)
    if replayed is not None:
        changes = tuple(_moved(*replayed))
        for line in section("over the log", changes, "not taken"):
            print(visible(line))
        if not changes:
            print(f"over the log: the same {len(replayed[0])} transitions" if replayed[0] else "over the log: none")


def _both(old: str, new: str) -> list[Curriculum]:
    """Read both; where both are wrong, both are told."""
    curricula, faults = list[Curriculum](), list[Fault]()
    for name in (old, new):
        try:
            curricula.append(loads(*content_of(name)))
        except CurriculumError as error:
            faults += error.faults
    if faults:
        raise CurriculumError(list(dict.fromkeys(faults)))
    return curricula


def _replayed(
    curricula: list[Curriculum], log: Several, reading: ReadingOptions, binding: Binding
) -> tuple[list[Decision], list[Decision]]:
    """The transitions that each takes over a log."""
    from plateau_rule.sim.replayer.replay import replay

    history = read_logs(log, reading, binding.steps_per_epoch, curricula=curricula)
    old, new = (list(replay(curriculum, history, binding).decisions) for curriculum in curricula)
    return old, new


def _moved(old: list[Decision], new: list[Decision]) -> list[Edit]:
    """What both did, one transition after the other."""
    told: list[Edit] = []
    for number, (was, now) in enumerate(zip_longest(old, new), 1):
        pair = [None if one is None else f"step {one.step}, {one.from_state} to {one.to_state}" for one in (was, now)]
        if pair[0] != pair[1]:
            told.append(Edit(f"transition {number}", *pair))
    return told


def _as_data(old: list[Decision], new: list[Decision]) -> dict[str, Any]:
    rows = [[{"step": d.step, "from": d.from_state, "to": d.to_state} for d in taken] for taken in (old, new)]
    return {"old": rows[0], "new": rows[1]}
