"""The learning rate, from every turn that a run has taken."""

from __future__ import annotations

from fractions import Fraction
from math import cos, pi

from tests.controller.naive.history import History, Turn


def amount(text: str) -> tuple[Fraction | None, str]:
    number, _, unit = text.partition(" ")
    return (Fraction(number), unit[0]) if unit else (None, number)


def rate(history: History) -> float:
    """The rate, from every turn since the start; of `amounts`, the one at `cycle` or the only one is in force."""
    anchor, warm, cycle, length, scale, amounts, written = 0, 0, 0, 0, 1.0, [""], ""
    bound, run, own = history.bound, history.bound.curriculum.lr, history.bound.curriculum.state[0].lr
    for turn in [*history.turns, Turn(history.step, "now", history.stay.state, history.bound)]:
        while cycle + 1 < len(amounts) and turn.step >= anchor + warm + length:
            anchor, warm, cycle = anchor + warm + length, 0, cycle + 1
            written = amounts[cycle]
            length = bound.steps(written, bound.total, anchor)
        bound, run = turn.bound, turn.bound.curriculum.lr
        own = next(s for s in bound.curriculum.state if s.name == turn.state).lr
        cycle = min(cycle, len(run.cycles or [""]) - 1)
        amounts = [own.length or run.length or "rest"] if own.length or not run.cycles else run.cycles
        now = amounts[cycle] if len(amounts) > 1 else amounts[0]
        warmup = bound.steps(run.warmup, bound.total) if run.warmup else 0
        if turn.kind == "start":
            warm = warmup
        if turn.kind != "extend" and amount(now) != amount(written):
            written, length = now, bound.steps(now, bound.total, anchor)
        for word, factor in turn.actions:
            if word == "lr_restart":
                anchor, warm = turn.step, warmup if run.rewarm else 0
                length = bound.steps(now, bound.total, anchor)
            scale *= factor if word == "lr_scale" else 1.0
    passed, top = history.step - anchor, run.peak * scale * own.peak
    if passed < warm:
        return float(top * ((passed + 1) / (warm + 1)))
    x = 0.0 if passed == warm else 1.0 if passed - warm >= length else (passed - warm) / length
    low = run.floor if own.floor is None else own.floor
    decay = run.decay if own.decay is None else own.decay
    wsd = 1.0 if x < 1.0 - decay else min(1.0, (1.0 - x) / decay)
    shapes = {"constant": 1.0, "linear": 1.0 - x, "cosine": 0.5 * (1.0 + cos(pi * x)), "wsd": wsd}
    return float(top * (low + (1.0 - low) * shapes[own.shape or run.shape]))
