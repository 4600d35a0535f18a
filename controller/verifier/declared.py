"""What `check` notes of metrics: what is taken for granted of them, and which guard forgets what it waits for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from plateau_rule.controller.guards import Watched, leaves
from plateau_rule.controller.guards.word import MetricWord
from plateau_rule.controller.language.curriculum import Curriculum, Guard, word_of
from plateau_rule.controller.language.metrics import LOSS, asked, evaluated, guarded, metric_of
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.findings import Finding

SCORES = {"acc", "accuracy", "auc", "bleu", "dice", "f1", "iou", "map", "precision", "recall", "return", "reward",
          "rouge", "score"}  # words of names of which more is better  # fmt: skip


def metric_findings(machine: Machine) -> Iterator[Finding]:
    """Metrics that are declared for nothing, or taken for what they may not be; guards that a loop empties."""
    curriculum = machine.curriculum
    for name in curriculum.metric:
        if name != LOSS and name not in guarded(curriculum):
            yield Finding("unused-metric", "names", "note", ("metric", name), f'no guard watches "{name}"',
                          "Correct the guard that should, or remove it", at_key=True)  # fmt: skip
    yield from _taken_for_granted(curriculum)
    yield from _seen_late(curriculum)
    yield from _forgetting(machine)


def sounds_like_score(name: str) -> bool:
    """Whether a metric is called like one of which more is better."""
    return not SCORES.isdisjoint(re.split(r"[^a-z0-9]+", name.casefold()))


def _taken_for_granted(curriculum: Curriculum) -> Iterator[Finding]:
    told = set[str]()
    for guard, path in asked(curriculum):
        word = word_of(guard)
        name = word.metric(guard.value)
        if name is None or name == LOSS or name in told or metric_of(curriculum, name).goal == "max":
            continue
        if isinstance(word, MetricWord) and word.two_ways and sounds_like_score(name):
            told.add(name)
            yield Finding("score-as-loss", "names", "warning", (*path, "metric"), f'"{name}" is taken as a loss, and '
                          "sounds like a score: a rise would count as no progress",
                          f'Write goal = "max" under [metric."{name}"]')  # fmt: skip
        elif name not in curriculum.metric:
            told.add(name)
            yield Finding("assumed-metric", "names", "note", (*path, "metric"), f'"{name}" is not declared: less of it '
                          "is better, and it comes with evaluations", f'Say so, or otherwise, in [metric."{name}"]'
                          )  # fmt: skip


def _seen_late(curriculum: Curriculum) -> Iterator[Finding]:
    """Guards on an evaluation that are looked at before it comes."""
    evaluations = evaluated(curriculum)
    for index, transition in enumerate(curriculum.transition):
        watched = dict.fromkeys(_metrics(curriculum, transition.guards))
        late = [name for name in watched if name in evaluations]
        if transition.at == "epoch" and late:
            yield Finding("seen-late", "order", "note", ("transition", index, "at"),
                          f'"{late[0]}" comes with evaluations: when an epoch closes, the one of its last step has not '
                          "been seen yet", 'Write at = "eval"; or, if it comes with each step\'s loss, '
                          f'at = "step" under [metric."{late[0]}"]')  # fmt: skip


def _metrics(curriculum: Curriculum, conditions: Iterable[Guard | str]) -> Iterator[str]:
    for condition in conditions:
        guard = curriculum.resolve(condition)
        word = word_of(guard)
        if (name := word.metric(guard.value)) is not None:
            yield name
        yield from _metrics(curriculum, [part for part, _ in word.parts(guard.value)])


def _needs(leaf: Watched) -> int:
    return leaf.detector.needs


def _forgetting(machine: Machine) -> Iterator[Finding]:
    """Guards that look further back than a loop of their state, which empties what they see."""
    told = set[int]()
    for state in machine.states:
        stay = machine.stay(state, machine.length)
        metrics = {id(detector): metric for metric, detector in stay.detectors.values()}

        def at(leaf: Watched, metrics: dict[int, str] = metrics) -> str:
            return metrics[id(leaf.detector)]

        ways = [
            (way, [leaf for leaf in leaves(guard) if isinstance(leaf, Watched)])
            for way, guard in zip(state.transitions, stay.guards, strict=True)
        ]
        for loop, own in ways:
            reach = {at(leaf): _needs(leaf) for leaf in own}
            for way, watched in ways if loop.target == state.name and reach else ():
                far = [leaf for leaf in watched if not leaf.in_run and _needs(leaf) > reach.get(at(leaf), _needs(leaf))]
                if way is not loop and far and way.index not in told:
                    told.add(way.index)
                    yield Finding("loop-forgets", "order", "note", ("transition", way.index, "guards"),
                                  f'each time {loop.title} starts "{state.name}" over, {far[0].title} of {way.title} '
                                  f"begins anew; it needs {far[0].detector.needs} values",
                                  'since = "run" keeps what patience and diverging have seen', at_key=True)  # fmt: skip
