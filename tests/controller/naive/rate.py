"""The learning rate, from every turn that a run has taken."""

from __future__ import annotations

from fractions import Fraction
from math import cos, pi
from typing import Any

from plateau_rule.controller.language.rates import GrowingCycles
from tests.controller.naive.counted import amount_of, unit_of
from tests.controller.naive.history import History, Turn


def amount(text: str) -> tuple[Fraction | None, str]:
    number, _, unit = text.partition(" ")
    return (Fraction(number), unit[0]) if unit else (None, number)


class Endless:
    """The lengths of cycles that grow: as many as there may be, each worked out when it is asked for."""

    def __init__(self, cycles: GrowingCycles) -> None:
        self.number, self.unit = cycles.first.split()
        self.factor = cycles.factor

    def __len__(self) -> int:
        return 64 if self.factor > 1 else 2**31

    def __getitem__(self, place: int) -> str:
        return f"{Fraction(self.number) * self.factor**place} {self.unit}"


def warming(bound: Any, state: str, at_start: bool) -> tuple[int, float | None]:
    """The steps of a warm-up that begins in a state, and where it begins."""
    run = bound.curriculum.lr
    own = next(s for s in bound.curriculum.state if s.name == state).lr
    text = own.warmup or (run.warmup if at_start or run.rewarm else None)
    steps = bound.steps(text, bound.total, state=state) if text else 0
    return steps, None if not steps else run.warmup_from if own.warmup_from is None else own.warmup_from


def measured(bound: Any, text: str, begun: int) -> tuple[str, Any]:
    """A length: its unit, and how many of it; of the rest in a unit that knobs decide, where it ends."""
    unit = unit_of(bound, text)
    if unit == "steps":
        return unit, bound.steps(text, bound.total, begun)
    return unit, bound.total if text == "rest" else amount_of(bound, text, bound.total)


def rate(history: History) -> float:
    """The rate, from every turn since the start; of `amounts`, the one at `cycle` or the only one is in force."""
    anchor, warm, start, cycle, scale, written = 0, 0, None, 0, 1.0, ""
    length: Any = ("steps", 0)
    amounts: Any = [""]
    bound, run, own = history.bound, history.bound.curriculum.lr, history.bound.curriculum.state[0].lr
    for turn in [*history.turns, Turn(history.step, "now", history.stay.state, history.bound)]:
        while cycle + 1 < len(amounts) and turn.step >= anchor + warm + length[1]:
            anchor, warm, start, cycle = anchor + warm + length[1], 0, None, cycle + 1
            written = amounts[cycle]
            length = measured(bound, written, anchor)
        bound, run = turn.bound, turn.bound.curriculum.lr
        own = next(s for s in bound.curriculum.state if s.name == turn.state).lr
        every: Any = Endless(run.cycles) if isinstance(run.cycles, GrowingCycles) else run.cycles
        cycle = min(cycle, len(every or [""]) - 1)
        amounts = [own.length or run.length or "rest"] if own.length or not every else every
        now = amounts[cycle] if len(amounts) > 1 else amounts[0]
        if turn.kind == "start":
            warm, start = warming(bound, turn.state, True)
        # The rest of a run in another measure is another length, though it is written alike.
        if turn.kind != "extend" and (amount(now) != amount(written) or unit_of(bound, now) != length[0]):
            written, length = now, measured(bound, now, anchor + warm)
        elif (
            now == "rest"
            and unit_of(bound, now) != "steps"
            and turn.kind in ("enter", "edit")
            and turn.step < anchor + warm
        ):
            length = measured(bound, now, anchor + warm)  # what is counted until then is another number now
        for word, factor in turn.actions:
            if word == "lr_restart":
                anchor, (warm, start) = turn.step, warming(bound, turn.state, False)
                length = measured(bound, now, anchor + warm)
            scale *= factor if word == "lr_scale" else 1.0
    passed, top = history.step - anchor, run.peak * scale * own.peak
    top *= run.peaks.factor**cycle if run.peaks else 1.0
    follow, first = 1.0, bound.curriculum.state[0]
    state = next(s for s in bound.curriculum.state if s.name == history.stay.state)
    for knob, exponent in run.follow.items():
        follow *= (bound.clamped(knob, state.set[knob]) / bound.clamped(knob, first.set[knob])) ** exponent
    top *= follow
    if passed < warm:
        share = (passed + 1) / (warm + 1) if start is None else start + (1 - start) * passed / warm
        return max(run.lowest, top * share)
    unit, most = length
    begun = 0 if unit == "steps" else history.counted(unit, anchor + warm)
    so_far = passed - warm if unit == "steps" else history.counted(unit) - begun
    long = amount_of(bound, "rest", most, begun) if unit != "steps" and written == "rest" else most
    x = 0.0 if so_far == 0 else 1.0 if so_far >= long else so_far / long
    x = float(x)
    low = run.floor if own.floor is None else own.floor
    decay = run.decay if own.decay is None else own.decay
    wsd = 1.0 if x < 1.0 - decay else min(1.0, (1.0 - x) / decay)
    shapes = {"constant": 1.0, "linear": 1.0 - x, "cosine": 0.5 * (1.0 + cos(pi * x)), "wsd": wsd}
    return max(run.lowest, top * (low + (1.0 - low) * shapes[own.shape or run.shape]))
