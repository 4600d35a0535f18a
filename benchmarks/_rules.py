"""Rules that say when a loss has stopped improving: this project's detectors, and what people use today.

Each rule takes one loss at a time (`push`) and says whether it fires on that loss (`verdict`). `stretch` is how many
times slower than usual a curve is: the rate that a rule asks for is divided by it, and nothing else changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Protocol

from plateau_rule.controller.guards.patience import NoNewBest, Patience
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.controller.guards.plateau.sure import Sure
from plateau_rule.controller.guards.plateau.trend import Trend

WINDOW, THRESHOLD = 50, 0.005  # as published
EPOCH = 100  # steps that rules which want epochs are fed the mean of


class Rule(Protocol):
    """What a benchmark asks of a rule."""

    def push(self, value: float) -> None:
        """Take the next loss."""

    def verdict(self) -> bool | None:
        """Whether it fires on that loss."""


Maker = Callable[[float], Rule]


class ReducedRate:
    """torch's ReduceLROnPlateau by its defaults (patience 10, relative threshold 1e-4): fires when it cuts the rate."""

    def __init__(self, stretch: float) -> None:
        import torch

        self._group = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1.0}
        optimizer = torch.optim.SGD([self._group])
        self._group = optimizer.param_groups[0]
        # A factor near 1, so that the rate never becomes too small to be cut again.
        self._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.99, threshold=1e-4 / stretch)
        self._fired = False

    def push(self, value: float) -> None:
        """Take the next loss."""
        before = self._group["lr"]
        self._scheduler.step(value)
        self._fired = self._group["lr"] != before

    def verdict(self) -> bool:
        """Whether it fires on that loss."""
        return self._fired


class LossGap:
    """iFNO's loss gap (George et al., TMLR 2024): two epoch losses in a row differ by no more than 1e-3."""

    def __init__(self, stretch: float) -> None:
        self._gap = 1e-3 / stretch
        self._last: float | None = None
        self._fired = False

    def push(self, value: float) -> None:
        """Take the next loss."""
        self._fired = self._last is not None and abs(value - self._last) <= self._gap
        self._last = value

    def verdict(self) -> bool:
        """Whether it fires on that loss."""
        return self._fired


class Greedy:
    """GreedyLR (arXiv 2512.14527) by its defaults: fires when more than 10 losses in a row bring no new best."""

    def __init__(self, stretch: float, smooth: int = 1) -> None:
        self._threshold, self._patience, self._best, self._bad = 1e-6 / stretch, 10, inf, 0
        self._losses: deque[float] = deque(maxlen=smooth)
        self._fired = False

    def push(self, value: float) -> None:
        """Take the next loss."""
        self._losses.append(value)
        loss = sum(self._losses) / len(self._losses)  # of those that there are, as GreedyLR's streaming average
        better = loss < self._best - self._threshold
        self._best, self._bad = (loss, 0) if better else (self._best, self._bad + 1)
        self._fired = self._bad > self._patience
        self._bad = 0 if self._fired else self._bad

    def verdict(self) -> bool:
        """Whether it fires on that loss."""
        return self._fired


class PageHinkley:
    """Page and Hinkley's test (Page 1954) on what 50 losses improve by: fires when it falls below the rate.

    Of each 50 losses the improvement on the 50 before, relative to them, is added up as what it lacks of the published
    threshold; the sum never falls below 0, and fires at ten thresholds.
    """

    def __init__(self, stretch: float) -> None:
        self._threshold, self._level = THRESHOLD * 2.0 / stretch, 0.0
        self._sum, self._count, self._before = 0.0, 0, 0.0

    def push(self, value: float) -> None:
        """Take the next loss."""
        self._sum, self._count = self._sum + value, self._count + 1
        if self._count % WINDOW == 0:
            mean, self._sum = self._sum / WINDOW, 0.0
            if self._before:
                self._level = max(0.0, self._level + self._threshold - (1.0 - mean / self._before))
            self._before = mean

    def verdict(self) -> bool:
        """Whether it fires on that loss."""
        return self._level > 10.0 * self._threshold


class OfMeans:
    """A rule fed the mean of every EPOCH losses; it can fire where a mean is complete."""

    def __init__(self, rule: Rule) -> None:
        self._rule, self._total, self._count = rule, 0.0, 0

    def push(self, value: float) -> None:
        """Take the next loss."""
        if self._count == EPOCH:
            self._total, self._count = 0.0, 0
        self._total += value
        self._count += 1
        if self._count == EPOCH:
            self._rule.push(self._total / EPOCH)

    def verdict(self) -> bool:
        """Whether it fires on that loss."""
        return self._count == EPOCH and self._rule.verdict() is True


class After:
    """A rule that is not asked in the first losses of a state."""

    def __init__(self, rule: Rule, cooldown: int) -> None:
        self._rule, self._cooldown = rule, cooldown

    def push(self, value: float) -> None:
        """Take the next loss."""
        self._rule.push(value)
        self._cooldown -= 1

    def verdict(self) -> bool | None:
        """Whether it fires on that loss."""
        return None if self._cooldown > 0 else self._rule.verdict()


def trend(stretch: float, **settings: Any) -> Rule:
    """This project's trend, at the published rule's threshold; settings: those that are not to be the defaults."""
    return Trend(1.5 * 2.0 * THRESHOLD / stretch / WINDOW, **settings)


def sure(stretch: float) -> Rule:
    """This project's sure, at the rate of `trend`."""
    return Sure(1.5 * 2.0 * THRESHOLD / stretch / WINDOW)


def halves(stretch: float, window: int = WINDOW) -> Rule:
    """The published rule, asking for the published rate."""
    return Halves(window, THRESHOLD * window / WINDOW / stretch)


RULES: dict[str, Maker] = {
    "halves, window 50 (published)": halves,
    "halves, window 400": lambda stretch: halves(stretch, 400),
    "patience 100, smoothed over 50": lambda stretch: NoNewBest(Patience(steps=100, smooth=50)),
    "ReduceLROnPlateau, each step": ReducedRate,
    "ReduceLROnPlateau, 100-step means": lambda stretch: OfMeans(ReducedRate(stretch)),
    "iFNO loss gap, epochs of 100": lambda stretch: OfMeans(LossGap(stretch)),
    "GreedyLR, each step": Greedy,
    "GreedyLR, smoothed over 50": lambda stretch: Greedy(stretch, 50),
    "Page-Hinkley, means of 50": PageHinkley,
    "trend": trend,
    "trend, confidence 0.99": lambda stretch: trend(stretch, confidence=0.99),
    "sure": sure,
}


def returns(stretch: float) -> Rule:
    """This project's diminishing returns; the stretch makes no difference to it."""
    return Returns(0.1)


def first_raise(rule: Rule, losses: Iterable[float], live: int = 0) -> int | None:
    """The first step, from `live` on, at which a rule fires; it is asked at every step. None if it never does."""
    push, verdict = rule.push, rule.verdict
    for step, loss in enumerate(losses):
        push(loss)
        if verdict() and step >= live:
            return step
    return None
