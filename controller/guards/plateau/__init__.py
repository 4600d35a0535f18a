"""`plateau`: a metric has stopped improving, by one of four methods; each has its detector in a file below."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from math import ceil
from typing import Annotated, Any, Literal

from pydantic import Field

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.guards.detector import Detector, Mirrored
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.controller.guards.plateau.sure import Sure
from plateau_rule.controller.guards.plateau.trend import PER, Trend
from plateau_rule.controller.guards.word import Advice, AmountAsked, Condition, Feed, Hint, MetricWord, Path, Pick
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.canonical import written
from plateau_rule.controller.language.values import AmountOrWindow, MetricName, Positive, Table, Window

METHOD_KEYS = {
    "halves": ("window", "threshold", "per"),
    "trend": ("window", "threshold", "per", "confidence", "min_window", "cooldown"),
    "sure": ("window", "threshold", "per", "alpha", "min_window"),
    "returns": ("share",),
}
MIN_WINDOW = 160  # of a trend, where the file says nothing


class Plateau(Table):
    """The metric has stopped improving."""

    metric: MetricName = "loss"
    """The metric to watch."""
    method: Literal["halves", "trend", "sure", "returns"] = "halves"
    """`halves` as published; `trend` and `sure` tell a plateau from noise; `returns` needs no threshold."""
    window: Window = 50
    """Observations over which the improvement is taken; not with `returns`."""
    threshold: Positive = 0.005
    """Flat below this relative improvement for each `per`; a larger one fires earlier; not with `returns`."""
    per: AmountOrWindow = "window"
    """What the threshold is measured on: `window`, or an amount of time such as `1000 steps`; not with `returns`."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.998
    """With `trend`: how sure it must be."""
    alpha: Annotated[float, Field(ge=1e-9, lt=0.5)] = 0.05
    """With `sure`: the share of states in which it may ever be wrong."""
    min_window: Window | None = None
    """The least observations that `trend` (160) and `sure` (an epoch, if bound) decide on; no less than a period."""
    cooldown: Annotated[int, Field(ge=0, le=10**9)] = 200
    """With `trend`: observations in a state before it decides."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """With `returns`: flat when the last half of the time in the state brought less than this share of it all."""


def new_plateau(spec: Plateau, per_values: float | None, epoch_values: int | None = None) -> Detector:
    """An empty plateau detector.

    Args:
        spec: what the file asks for.
        per_values: what the threshold is measured on, in values of the metric; None for the window itself.
        epoch_values: values in an epoch, None where that is not known; the order of the data may repeat with it.
    """
    if spec.method == "returns":
        return Returns(spec.share)
    if spec.method in ("trend", "sure"):
        # The means of two halves stand half a window apart; 1.5 leaves room for being sure at the threshold itself.
        rate = 1.5 * 2.0 * spec.threshold / spec.window if per_values is None else spec.threshold / per_values
        if spec.method == "sure":
            return Sure(rate, spec.alpha, spec.min_window or epoch_values or 1, per_values or PER)
        per = per_values or PER
        return Trend(rate, spec.confidence, spec.min_window or MIN_WINDOW, spec.cooldown, per)
    threshold = spec.threshold if per_values is None else spec.threshold * (spec.window / 2) / per_values
    return Halves(spec.window, threshold)


class PlateauWord(MetricWord[Plateau]):
    """Watched for improvement."""

    name = "plateau"
    description = "The metric has stopped improving."
    written = Plateau
    two_ways = True

    def faults(self, value: Plateau, path: Path, knobs: Collection[str]) -> Iterator[Fault]:
        """Keys of another method, a window without halves, and what a threshold cannot be measured on."""
        given = value.model_fields_set
        for key in sorted(given - {"metric", "method"} - set(METHOD_KEYS[value.method])):
            fitting = " or ".join(f'"{method}"' for method, keys in METHOD_KEYS.items() if key in keys)
            found = f'"{key}" with method "{value.method}"'
            yield Fault("key-of-other-method", (*path, key), found, f"method {fitting}", at_key=True)
        if value.method in ("trend", "sure") and value.per != "window" and "window" in given:
            yield Fault("key-without-effect", (*path, "window"), '"window" beside "per"',
                        "one of the two: per says what the threshold is measured on", at_key=True)  # fmt: skip
        if value.method == "halves" and value.window < 2:
            found = f"a window of {value.window}"
            yield Fault("window-too-short", (*path, "window"), found, "at least 2: it has two halves")
        if value.per == "rest" or (value.per != "window" and parse_amount(value.per).count == 0):
            asked = '"window" or an amount of time such as "1000 steps"'
            yield Fault("rest-here", (*path, "per"), f'"{value.per}"', asked)

    def amounts(self, value: Plateau) -> Iterator[AmountAsked]:
        """What the threshold is measured on, if it is not the window."""
        if value.per != "window":
            yield AmountAsked(value.per, ("per",))

    def meaning(self, value: Plateau, of_part: Callable[[Condition], Any]) -> Any:
        """The keys of its method alone."""
        own = {"metric", "method", *METHOD_KEYS[value.method]}
        if value.method == "trend" and value.min_window == MIN_WINDOW:
            own.remove("min_window")  # what it is without being written
        return written(value, *(type(value).model_fields.keys() - own))

    def per_point(self, value: dict[str, Any], spacing: int, steps: Callable[[str], int]) -> dict[str, Any] | None:
        """A rate per time is that many times larger per value, and an epoch has that many times fewer values."""
        changed: dict[str, Any] = {}
        if value.get("per", "window") != "window":
            changed["threshold"] = value.get("threshold", Plateau().threshold) * spacing
        if value.get("method") == "sure" and "min_window" not in value:
            with suppress(ValueError):
                changed["min_window"] = -(-steps("1 epoch") // spacing)
        return {**value, **changed} if changed else None

    def detector(self, value: Plateau, feed: Feed) -> Detector:
        """By its method."""
        per = None if value.per == "window" else feed.values(value.per)
        epoch = None
        with suppress(ValueError):  # the trainer may say when an epoch ends
            epoch = ceil(feed.values("1 epoch"))
        detector = new_plateau(value, per, epoch)
        return Mirrored(detector) if feed.rises else detector

    def advice(self, value: Plateau) -> Advice:
        """The published advice has one backwards: a larger threshold holds earlier, a larger window later."""
        if value.method == "returns":
            return Advice("raise share", "lower share")
        if value.method == "sure":
            return Advice("raise threshold", "lower threshold")
        return Advice("first raise threshold, then shorten window", "first lengthen window, then lower threshold")

    def hint(self, value: Plateau, feed: Feed) -> Hint:
        """A fall of four times the threshold in half a window."""
        if value.method == "returns":
            return Hint(value.window)
        if value.method == "sure":
            return Hint(self.detector(value, feed).needs)
        return Hint(value.window, ratio=(1.0 + 4.0 * min(value.threshold, 10.0)) ** (2.0 / max(2, value.window)))

    def example(self, pick: Pick) -> dict[str, Any]:
        """Over windows that short runs fill."""
        method = pick.one_of(pick.methods)
        value: dict[str, Any] = {"metric": pick.one_of(pick.metrics), "method": method}
        if method == "returns":
            return {**value, "share": pick.one_of((0.1, 0.5, 0.9))}
        value["threshold"] = pick.one_of((0.005, 0.05, 0.5))
        per = pick.one_of((True, False))
        if per and value["metric"] in pick.timed:
            value["per"] = pick.amount(pick.most_steps)
        if "per" not in value or method == "halves":
            value["window"] = pick.whole(2, 12)
        if method == "sure":
            value |= {"alpha": pick.one_of((0.05, 0.4)), "min_window": pick.whole(1, 300)}
        if method == "trend":
            value |= {"confidence": pick.one_of((0.9, 0.99)), "min_window": pick.whole(1, 100)}
            value["cooldown"] = pick.whole(0, 20)
        return value
