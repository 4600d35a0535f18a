"""What the detectors of many runs see: the values of each metric, their signs turned where more is better."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from plateau_rule.controller.guards import Detector
from plateau_rule.controller.guards.detector import Mirrored
from plateau_rule.controller.machine import Stay
from plateau_rule.sim.batch.guards import depth_of, many
from plateau_rule.sim.batch.guards.twin import Detectors
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows


class Stream(NamedTuple):
    """The values that some detectors see.

    Attributes:
        metric: whose.
        mirrored: whether their signs are turned, because more is better.
        kept: whether the detectors see the values of the whole run.
    """

    metric: str
    mirrored: bool
    kept: bool


class WatchedMetrics:
    """The twins of all detectors that the states of a machine ask for, with the values that they see.

    Args:
        stays: one for each state.
        runs: how many.
        steps: the most that will be observed, None where that is not known.
        often: the detectors that are asked at every step, by their keys.
    """

    def __init__(self, stays: Iterable[Stay], runs: int, steps: int | None, often: Collection[str]) -> None:
        stays = list(stays)
        asked = {key: pair for stay in stays for key, pair in stay.detectors.items()}
        kept = stays[0].kept
        self._stream_of = {
            key: Stream(metric, isinstance(scalar, Mirrored), key in kept) for key, (metric, scalar) in asked.items()
        }
        depths: dict[Stream, int] = {}
        for key, (_, scalar) in asked.items():
            stream = self._stream_of[key]
            depths[stream] = max(depths.get(stream, 0), depth_of(_upright(scalar)))
        self._streams: dict[Stream, tuple[History, dict[str, Detectors]]] = {
            stream: (History(runs, depth if steps is None else min(depth, max(1, steps))), {})
            for stream, depth in depths.items()
        }
        for key, (_, scalar) in asked.items():
            history, detectors = self._streams[self._stream_of[key]]
            detectors[key] = many(_upright(scalar), history, key in often)

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics that some detector watches."""
        return frozenset(stream.metric for stream in self._streams)

    def detectors(self, key: str) -> Detectors:
        """The twin of a detector, by its key."""
        return self._streams[self._stream_of[key]][1][key]

    def push(self, metric: str, values: Floats, brought: Mask | None) -> None:
        """Take a metric's finite values.

        Args:
            metric: its name.
            values: [run].
            brought: [run], which runs bring one; None for all.
        """
        if brought is not None:
            if brought.all():
                brought = None
            elif not brought.any():
                return
            else:
                values = np.where(brought, values, 0.0)
        for stream, (history, detectors) in self._streams.items():
            if stream.metric == metric:
                _feed(history, detectors, -values if stream.mirrored else values, brought)

    def enter(self, rows: Rows, watching: Mapping[str, object], begins: bool) -> None:
        """These runs enter a state: its detectors are empty, but for those of the whole run.

        Args:
            rows: the runs.
            watching: the keys of the detectors that the state asks for.
            begins: whether the run begins with it.
        """
        for stream, (history, detectors) in self._streams.items():
            if stream.kept and not begins:
                continue
            history.enter(rows)
            for key, detector in detectors.items():
                detector.enter(rows, key in watching)
                detector.answer = None


def _upright(scalar: Detector) -> Detector:
    """A detector without what turns the signs of its values; a stream does that for many runs."""
    return scalar.inner if isinstance(scalar, Mirrored) else scalar


def _feed(history: History, detectors: Mapping[str, Detectors], values: Floats, brought: Mask | None) -> None:
    for detector in detectors.values():
        detector.push(values, brought)
    if history.depth:
        history.push(values, brought)
    for detector in detectors.values():
        detector.settle(brought)
        detector.answer = None
