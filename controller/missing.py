"""What a run waits for and does not get: metrics that guards ask for, evaluations, an end that was not seen.

None of it is an error, for it may still come; each is said once, early, since a knob may wait for it a whole training.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from difflib import SequenceMatcher

from plateau_rule.controller.errors import ObservationWarning, callers_level
from plateau_rule.controller.language.metrics import comes_at, every
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.state import MISSING, OVER, RunState

PATIENCE_EPOCHS = 2  # complete without a value: as many as the first evaluation may well take
NAMES_REMEMBERED = 64
ALIKE = 0.85  # of two names


def note_given(machine: Machine, run: RunState, names: Iterable[str]) -> None:
    """Remember which metrics came; say at once that one came under another name."""
    new = [name for name in names if name not in run.given]
    if not new:
        return
    run.given |= set(new[: NAMES_REMEMBERED - len(run.given)])
    strange = [name for name in new if name not in machine.guarded]
    if strange and (lacking := never_came(machine, run)):
        pairs = [(one, other) for one in lacking for other in strange if is_alike(one, other)]
        if pairs:
            _say(run, f'{_never_came(run, [pairs[0][0]])}. Did you mean "{pairs[0][1]}"?')


def never_came(machine: Machine, run: RunState) -> list[str]:
    """The metrics that guards ask for and that no observation has brought so far."""
    return sorted(machine.guarded - run.given)


def after_step(machine: Machine, run: RunState) -> None:
    """Say, after the first step, which metrics should have come with it; for a trainer that gives all it has."""
    if run.step == 1 and machine.guarded:
        lacking = [name for name in never_came(machine, run) if every(machine.curriculum, name) == "1 step"]
        if lacking:
            _say(run, _never_came(run, lacking))


def after_evaluation(machine: Machine, run: RunState) -> None:
    """Say which metrics an evaluation should have brought, and never did."""
    if lacking := [name for name in never_came(machine, run) if comes_at(machine.curriculum, name) == "eval"]:
        _say(run, _never_came(run, lacking))


def after_epoch(machine: Machine, run: RunState) -> None:
    """Say, when an epoch has closed, what should have come by now and never did."""
    lacking = never_came(machine, run)
    if run.epoch < PATIENCE_EPOCHS:
        lacking = [name for name in lacking if comes_at(machine.curriculum, name) != "eval"]
    if lacking:
        _say(run, _never_came(run, lacking))
    elif run.epoch >= PATIENCE_EPOCHS and run.evaluated < 0 and run.state.asks_evaluations:
        _say(run, f'no evaluation has come in {run.epoch} epochs, and transitions of "{run.state.name}" wait for one: '
                  "call controller.evaluated, or observe with eval_end=True")  # fmt: skip


def after_the_end(run: RunState, why: str) -> None:
    """Say that a step was observed after the run was over."""
    _say(run, f"step {run.step - 1} was observed, and {why}. Stop where plan.stop says so; call observe once for each "
              "optimizer step, not for each micro-batch", OVER)  # fmt: skip


def lines(machine: Machine, run: RunState) -> list[str]:
    """The same for `explain`: a line on the metrics of this state that never came."""
    asked = {metric for metric, _ in run.stay.detectors.values()}
    lacking = [name for name in never_came(machine, run) if name in asked]
    return [_never_came(run, lacking)] if lacking and run.step else []


def is_alike(one: str, other: str) -> bool:
    """Whether one metric's name may be another spelling of the other."""
    short, long = sorted((one.casefold(), other.casefold()), key=len)
    return long.startswith(short) or SequenceMatcher(None, short, long).ratio() >= ALIKE


def _never_came(run: RunState, lacking: list[str]) -> str:
    given = ", ".join(sorted(run.given)) or "no metric"
    return f"{', '.join(lacking)} {'was' if len(lacking) == 1 else 'were'} never given; given so far: {given}"


def _say(run: RunState, sentence: str, what: str = MISSING) -> None:
    if what not in run.said:
        run.said |= {what}
        warnings.warn(sentence, ObservationWarning, stacklevel=callers_level())
