"""What the noise of a log does to the plateau guards of a curriculum: whether their windows can tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import NormalDist

from plateau_rule.controller.binding import run_of
from plateau_rule.controller.guards.plateau import MIN_WINDOW, Plateau, trend
from plateau_rule.controller.guards.plateau.blocks import BLOCK
from plateau_rule.controller.guards.plateau.sure import Sure, t_of
from plateau_rule.controller.language.amounts import RunLength, parse_amount, steps_in
from plateau_rule.controller.language.conditions import walk
from plateau_rule.controller.language.curriculum import Curriculum, Guard
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.noise import (
    ANOTHER_METRIC,
    BOTH_SIDES,
    FALSE_ALLOWED,
    Noise,
    false_raise,
    noise_of,
    window_needed,
)


@dataclass(frozen=True)
class Lint:
    """What the noise of a log does to one plateau guard.

    path: where the guard stands in the curriculum. guard: what it is called. warning: whether something should be
    done. sentence, remedy: for people. false_raise: probability per look at twice the threshold, None for methods that
    bound it themselves. window_needed: values.
    """

    path: tuple[str | int, ...]
    guard: str
    warning: bool
    sentence: str
    remedy: str
    false_raise: float | None
    window_needed: int | None

    def __str__(self) -> str:
        return f"{self.guard}: {self.sentence}" + (f" {self.remedy}" if self.remedy else "")


def lint(curriculum: Curriculum, log: Log | Noise | str | Path) -> list[Lint]:
    """Say of each plateau guard on the loss whether its window and threshold can tell a plateau from a log's noise.

    curriculum: whose guards to look at. log: a log, its path, or the noise that was estimated from it.
    Raises LogError where the path cannot be read, NoiseError where it is too short.
    """
    noise = _as_noise(log)
    if noise.crosses_zero:
        return [
            Lint((*path, guard.word), title, True, BOTH_SIDES, ANOTHER_METRIC, None, None)
            for guard, path, title in plateaus(curriculum)
        ]
    run = run_of(curriculum)
    found: list[Lint] = []
    for guard, path, title in plateaus(curriculum):
        place = (*path, guard.word)
        found.append(_lint_of(guard.value, run, noise, place, title))
        found += _lint_of_period(guard.value, run, noise, place, title)
    return found


def _as_noise(log: Log | Noise | str | Path) -> Noise:
    if isinstance(log, Noise):
        return log
    return noise_of(read(log) if isinstance(log, str | Path) else log)


def plateaus(curriculum: Curriculum) -> Iterator[tuple[Guard, tuple[str | int, ...], str]]:
    """Every plateau guard on the loss that a transition asks, with its path in the file and what to call it."""
    waiting: list[tuple[Guard | str, tuple[str | int, ...], str]] = []
    for i, transition in enumerate(curriculum.transition):
        title = f'transition "{transition.name}"' if transition.name else f"transition {i + 1}"
        waiting += [(written, ("transition", i, "guards", j), title) for j, written in enumerate(transition.guards)]
    named: set[str] = set()
    while waiting:
        root, path, title = waiting.pop(0)
        for written, place in walk(curriculum, root, path):
            if isinstance(written, str):
                if written not in named:
                    named.add(written)
                    waiting.append((curriculum.guard[written], ("guard", written), f'guard "{written}"'))
            elif isinstance(written.value, Plateau) and written.value.metric == "loss":
                yield written, place, title


def _lint_of(spec: Plateau, run: RunLength, noise: Noise, path: tuple[str | int, ...], title: str) -> Lint:
    if spec.method == "returns":
        sentence = "`returns` asks for no rate and has no window; it measures the noise of its own blocks."
        return Lint(path, title, False, sentence, "", None, None)
    if spec.method == "sure":
        return _lint_of_sure(spec, run, noise, path, title)
    if spec.method == "trend":
        return _lint_of_trend(spec, run, noise, path, title)
    rate = rate_of(spec, run, noise.steps)
    threshold = rate * spec.window / 2
    chance = false_raise(spec.window, threshold, noise.sigma, noise.rho)
    needed = whole_repeats(window_needed(rate, noise.sigma, noise.rho), rate, noise)
    seen = f"sigma {noise.sigma:.2%}, rho {noise.rho:z.2f}"
    sentence = (
        f"one look, over {spec.window} losses, calls the loss flat with probability {chance:.1%} although it still "
        f"improves at twice the threshold ({seen}); the threshold stands for {noise.told(rate)}."
    )
    if spec.window > noise.points:
        remedy = (
            f"This log has only {noise.points} losses, fewer than the window of {spec.window}: on it the guard never "
            "answers. Ask for a shorter window, or read a longer log."
        )
        return Lint((*path, "window"), title, True, sentence, remedy, chance, needed)
    if chance <= FALSE_ALLOWED:
        return Lint(path, title, False, sentence, "", chance, needed)
    threshold = threshold_for(spec, rate, needed, run, noise.steps)
    if needed > noise.points or threshold >= 1:
        remedy = (
            f"No window that fits into this log can tell the two apart: it would take {needed:,} losses. "
            'Ask for a larger threshold, log a mean over more steps, or let method = "trend" wait for an answer.'
        )
        return Lint((*path, "window"), title, True, sentence, remedy, chance, needed)
    remedy = (
        f"A window of {needed} can tell the two apart: window = {needed}, threshold = {threshold:.3g} "
        f'keeps the rate; or method = "trend", which waits until the noise allows an answer.'
    )
    return Lint((*path, "window"), title, True, sentence, remedy, chance, needed)


def rate_of(spec: Plateau, run: RunLength | None = None, spacing: float = 1.0) -> float:
    """Relative improvement from one value to the next under which a guard calls the loss flat.

    spec: `halves`, whose means stand half a window apart, or `trend` or `sure`, which ask for 1.5 times as much per
    window. run: its length, for thresholds per epoch or per share of the run; where it is not known, they count as per
    window. spacing: steps that one value stands for.
    """
    room = 1.0 if spec.method == "halves" else 1.5
    if spec.per != "window":
        amount, run = parse_amount(spec.per), run or RunLength()
        try:
            return spec.threshold * spacing / max(1, steps_in(amount, run, run.total_steps))
        except ValueError:
            pass
    return room * 2 * spec.threshold / spec.window


def threshold_for(spec: Plateau, rate: float, window: int, run: RunLength | None = None, spacing: float = 1.0) -> float:
    """The threshold by which a guard with this window calls flat what improves at less than a rate; see rate_of."""
    return rate * spec.threshold / rate_of(spec.model_copy(update={"window": window}), run, spacing)


def _lint_of_trend(spec: Plateau, run: RunLength, noise: Noise, path: tuple[str | int, ...], title: str) -> Lint:
    rate = rate_of(spec, run, noise.steps)
    z = NormalDist().inv_cdf(spec.confidence)
    quantile = z + (z**3 + z) / (4 * 14)  # Student's, 14 degrees of freedom, to first order
    variance = (1 + noise.rho) / (1 - noise.rho) * noise.sigma**2
    needed = max(spec.min_window or MIN_WINDOW, ceil((12 * variance * (quantile + 1.282) ** 2 / rate**2) ** (1 / 3)))
    sentence = (
        f"`trend` bounds false raises by itself (confidence {spec.confidence:g}); in noise of sigma {noise.sigma:.2%}, "
        f"rho {noise.rho:z.2f} it needs about {needed} losses that are flat before it says so."
    )
    return Lint(path, title, False, sentence, "", None, needed)


def _lint_of_sure(spec: Plateau, run: RunLength, noise: Noise, path: tuple[str | int, ...], title: str) -> Lint:
    rate = rate_of(spec, run, noise.steps)
    detector = Sure(rate, spec.alpha, spec.min_window or run.steps_per_epoch or 1)
    variance = (1 + noise.rho) / (1 - noise.rho) * noise.sigma**2
    windows = sorted((size * BLOCK << level, size) for level, sizes in enumerate(detector.windows) for size in sizes)
    needed = None
    told = f"a flat loss may never be called so: its longest window, {windows[-1][0]} losses, is short for that."
    for losses, size in windows:
        if losses**3 * rate**2 >= 12 * variance * (t_of(detector.window_alpha, size, 0) + 1.282) ** 2:
            needed, told = losses, f"it needs about {losses} losses that are flat before it says so."
            break
    sentence = (
        f"`sure` is wrong in at most {spec.alpha:.3g} of all states, by itself; in noise of sigma {noise.sigma:.2%}, "
        f"rho {noise.rho:z.2f} {told}"
    )
    return Lint(path, title, False, sentence, "", None, needed)


def _lint_of_period(
    spec: Plateau, run: RunLength, noise: Noise, path: tuple[str | int, ...], title: str
) -> Iterator[Lint]:
    """Whether a guard's windows cover the period of the losses; nothing where there is none, or it deceives nobody."""
    period = noise.period
    if period is None or spec.method == "returns":
        return
    rate = rate_of(spec, run, noise.steps)
    repeat = f"the losses repeat every {noise.told_period(period)}, with a swing of ±{period.swing:.2%}"
    if spec.method == "halves":
        shift = period.shift_of_halves(spec.window)
        threshold = rate * spec.window / 2
        if shift <= threshold:
            return
        window = whole_repeats(window_needed(rate, noise.sigma, noise.rho), rate, noise)
        threshold_then = threshold_for(spec, rate, window, run, noise.steps)
        sentence = (
            f"{repeat}: that alone moves the difference of the halves of {spec.window} losses by up to {shift:.2%}, "
            f"and the threshold is {threshold:.2%}."
        )
        trend_too = f'method = "trend" with min_window = {max(MIN_WINDOW, period.window)}'
        if window > noise.points or threshold_then >= 1:
            remedy = f"Use {trend_too}."
        else:
            remedy = (
                f"Let each half hold whole repeats: window = {window}, threshold = {threshold_then:.3g} keeps the "
                f"rate; or use {trend_too}."
            )
        yield Lint((*path, "window"), title, True, sentence, remedy, None, window)
        return
    least = spec.min_window or (MIN_WINDOW if spec.method == "trend" else run.steps_per_epoch or 1)
    if _shortest_window(spec, rate, least) >= period.losses or period.steepest <= rate / 2:
        return
    sentence = (
        f"{repeat}, and `{spec.method}` decides on {_shortest_window(spec, rate, least)} losses already: a part of a "
        "repeat may look like the trend."
    )
    if _shortest_window(spec, rate, period.window) >= period.losses:
        remedy = f"min_window = {period.window} covers a whole repeat."
    else:
        remedy = "No window that this rate allows covers a whole repeat. Ask for a smaller threshold, or log means."
    yield Lint((*path, "min_window"), title, True, sentence, remedy, None, period.window)


def whole_repeats(window: int, rate: float, noise: Noise) -> int:
    """A window for `halves`, or a longer one whose halves hold whole repeats, where the period would move it too far.

    window: values. rate: relative improvement from one to the next that counts as flat. noise: of the log.
    """
    period = noise.period
    if period is None or period.shift_of_halves(window) <= rate * window / 2:
        return window
    return 2 * ceil(ceil(window / 2 / period.losses) * period.losses)


def _shortest_window(spec: Plateau, rate: float, least: int) -> int:
    """The fewest losses on which `trend` or `sure` decides, if it may decide on `least`."""
    if spec.method == "sure":
        return Sure(rate, spec.alpha, least).needs
    shortest = trend.BLOCKS * trend.BLOCK
    while shortest < least:
        shortest *= 2
    return shortest
