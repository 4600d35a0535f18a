"""What a curriculum says of its metrics: which there are, what they mean, and whether guards fit them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.language.canonical import plain
from plateau_rule.controller.language.conditions import walk
from plateau_rule.controller.language.curriculum import Curriculum, Guard, Metric, word_of
from plateau_rule.controller.language.faults import Path, empty_faults, rest_faults, twin_faults, unknown

LOSS = "loss"  # the metric that every trainer gives, at every step
_UNSAID = Metric()


def metric_of(curriculum: Curriculum, name: str) -> Metric:
    """What is said of a metric, or what holds where nothing is said."""
    return curriculum.metric.get(name, _UNSAID)


def comes_at(curriculum: Curriculum, name: str) -> str:
    """When a metric's values come: at each `step`, when an `epoch` closes, with an `eval`uation."""
    return "step" if name == LOSS else metric_of(curriculum, name).at


def every(curriculum: Curriculum, name: str) -> str | None:
    """How often a metric's values come, as an amount of time; None where it is not known."""
    said = metric_of(curriculum, name).every
    return said or {"step": "1 step", "epoch": "1 epoch"}.get(comes_at(curriculum, name))


def metric_meaning(curriculum: Curriculum, name: str) -> dict[str, Any]:
    """What is said of a metric, apart from how it is spelled; nothing where it might as well not be declared."""
    if name == LOSS or name not in curriculum.metric:
        return {}
    said: dict[str, Any] = plain(curriculum.metric[name].model_dump(exclude={"unit"}, exclude_defaults=True))
    return said


def asked(curriculum: Curriculum) -> Iterator[tuple[Guard, Path]]:
    """Every guard that is written somewhere, parts of others too, with the path to what its word says."""
    written: list[tuple[Guard | str, Path]] = []
    for name, guard in curriculum.guard.items():
        written += walk(curriculum, guard, ("guard", name))
    for i, transition in enumerate(curriculum.transition):
        for j, condition in enumerate(transition.guards):
            written += walk(curriculum, condition, ("transition", i, "guards", j))
    return ((guard, (*path, guard.word)) for guard, path in written if isinstance(guard, Guard))


def guarded(curriculum: Curriculum) -> frozenset[str]:
    """The metrics that guards watch, beside the loss."""
    names = (word_of(guard).metric(guard.value) for guard, _ in asked(curriculum))
    return frozenset(name for name in names if name is not None and name != LOSS)


def evaluated(curriculum: Curriculum) -> frozenset[str]:
    """The metrics whose values make an evaluation of what brings them."""
    names = {*guarded(curriculum), *curriculum.metric} - {LOSS}
    return frozenset(name for name in names if comes_at(curriculum, name) == "eval")


def metric_faults(curriculum: Curriculum) -> Iterator[Fault]:
    """What does not fit in [metric.NAME] and in guards on metrics."""
    yield from twin_faults([(name, ("metric", name)) for name in curriculum.metric], "the metric", at_key=True)
    for name, metric in curriculum.metric.items():
        path: Path = ("metric", name)
        yield from rest_faults(metric.every, (*path, "every"))
        yield from empty_faults(metric.every, (*path, "every"), "a time that lasts")
        if name == LOSS:
            for key, value in (("goal", "min"), ("at", "step"), ("every", None)):
                if key in metric.model_fields_set and getattr(metric, key) != value:
                    found = f'{key} = "{getattr(metric, key)}" of the loss'
                    yield Fault("not-of-the-loss", (*path, key), found, "less of it to be better, at every step",
                                "Give a score under a name of its own")  # fmt: skip
    for guard, where in asked(curriculum):
        word = word_of(guard)
        watched = word.metric(guard.value)
        if watched is None:
            continue
        if curriculum.metric and watched != LOSS and watched not in curriculum.metric:
            yield unknown("undeclared-metric", (*where, "metric"), "[metric.NAME]", watched, [*curriculum.metric, LOSS])
        elif every(curriculum, watched) is None:
            for amount in word.amounts(guard.value):
                header = watched if watched.isidentifier() else f'"{watched}"'
                yield Fault("time-without-every", (*where, *amount.path), f'"{amount.text}" of "{watched}"',
                            "a metric of which it is known how often it comes",
                            f'Write [metric.{header}] every = "1 epoch", or how often it is evaluated.')  # fmt: skip
