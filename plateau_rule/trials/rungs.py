"""The rungs of a ladder: each as a curriculum that stays there, and the ladder that climbs them when it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plateau_rule.controller.language.curriculum import Check, Curriculum, Guard, Rate, State, StateRate, Transition
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.language.rungs import spelled_out
from plateau_rule.trials.budget import TrialError, changed

Setting = Mapping[str, Any]  # a value of every knob
ON_PURPOSE = "one schedule goes on through all raises, as in the constant runs that they were chosen by"


def settings_of(curriculum: Curriculum, knob: str | None = None) -> list[Setting]:
    """The rungs, easiest first: the settings of the states in their order, or the ladder of one knob.

    Args:
        curriculum: whose ladder it is.
        knob: whose ladder is meant, the other knobs as in the last state; None for the settings of the states.

    Raises:
        TrialError: there is no such knob, or no two rungs.
    """
    states = [state for state in spelled_out(curriculum).state if state.stop is None]
    found: list[Setting] = []
    for state in states:
        if dict(state.set) not in found:
            found.append(dict(state.set))
    if knob is not None:
        if knob not in curriculum.knob:
            raise TrialError(f'{curriculum.name} has no knob "{knob}"; it has {", ".join(curriculum.knob) or "none"}')
        rungs = curriculum.knob[knob].ladder
        if rungs is None or len(rungs) < 2:
            has = "a range" if rungs is None else "one rung"
            raise TrialError(
                f'{curriculum.name}: the knob "{knob}" has {has}, and rungs are compared: write a ladder of two or more'
            )
        found = [{**found[-1], knob: rung} for rung in rungs]
    if len(found) < 2:
        laddered = [name for name, each in curriculum.knob.items() if len(each.ladder or []) > 1]
        hint = f"; --knob {laddered[0]} probes the rungs of that ladder" if laddered else ""
        raise TrialError(f"{curriculum.name}: its states have one setting alone, and there is nothing to compare{hint}")
    return found


def moved(settings: Sequence[Setting]) -> list[str]:
    """The knobs in which settings differ."""
    return [name for name in settings[0] if any(each[name] != settings[0][name] for each in settings)]


def constant(curriculum: Curriculum, setting: Setting, name: str) -> Curriculum:
    """A run that stays on one rung; its rate falls once, over the whole run.

    Args:
        curriculum: whose rate, knobs and metrics it has.
        setting: the rung.
        name: of the curriculum.
    """
    states = spelled_out(curriculum).state
    state = next((state for state in states if dict(state.set) == dict(setting)), states[-1])
    peak = state.lr.peak * _followed(curriculum, states[0], setting)
    own = StateRate(**{**state.lr.model_dump(include={"shape", "floor", "decay"}, exclude_none=True), "peak": peak})
    return changed(
        curriculum,
        name=name,
        description=None,
        lr=_once(curriculum.lr),
        state=[State(name="rung", set=dict(setting), lr=own)],
        transition=None,
        guard=None,
        check=None,
    )


def _once(rate: Rate) -> Rate:
    """A rate that falls over the whole run."""
    return changed(rate, length="rest", cycles=None, peaks=None, follow=None, rewarm=None)


def _followed(curriculum: Curriculum, first: State, setting: Setting) -> float:
    """What the rate is multiplied by where it follows knobs."""
    factor = 1.0
    for name, exponent in curriculum.lr.follow.items():
        factor *= (hardness(setting[name]) / hardness(first.set[name])) ** exponent
    return factor


def priced(curriculum: Curriculum, knob: str, prices: Sequence[float]) -> Curriculum:
    """The curriculum with a price for each rung of a knob's ladder."""
    table = changed(curriculum.knob[knob], cost=list(prices))
    return changed(curriculum, knob={**curriculum.knob, knob: table})


def ladder(curriculum: Curriculum, rungs: Sequence[Setting], waits: Sequence[str], name: str) -> Curriculum:
    """A curriculum that climbs from rung to rung after fixed waits, under one schedule of the rate.

    Args:
        curriculum: whose rate, knobs, metrics and run it has.
        rungs: at least one.
        waits: how long to stay on each of them but the last, such as "340 cost".
        name: of the curriculum.
    """
    names = [f"rung-{place}" for place in range(1, len(rungs) + 1)]
    steps = zip(names, names[1:], waits, strict=False)
    return changed(
        curriculum,
        name=name,
        description=None,
        lr=changed(_once(curriculum.lr), follow=curriculum.lr.follow or None),
        state=[State(name=name, set=dict(rung)) for name, rung in zip(names, rungs, strict=True)],
        transition=[Transition(from_=a, to=b, guards=[Guard(dwell=wait)]) for a, b, wait in steps] or None,
        guard=None,
        check=Check(waive={"aligned": ON_PURPOSE}) if waits else None,
    )
