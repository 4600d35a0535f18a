"""The curve of one training: scores on held-out data, less is better, against what was spent until then."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.run_folder import one_line
from plateau_rule.trials.budget import TrialError

Floats = NDArray[np.float64]
LABELS = {"step": "steps", "tokens": "tokens", "cost": "cost", "time_s": "time (s)"}
WILD, TAME = 1e30, 1e20  # what is not finite, where curves are subtracted; what is not so by its neighbours
AXES = ("step", "tokens", "cost", "time_s")  # what scores are drawn and compared against
ASKED = 'a curve of points such as {"step": 100, "score": 0.52, "time_s": 3.1}, the last of them at the end of the run'


@dataclass(frozen=True)
class Curve:
    """Scores of one training, in the order of its steps.

    Attributes:
        score: on held-out data, less is better; one that is not finite is infinite here.
        spent: by axis, as much as was spent before each score: "step", and of "tokens", "cost", "time_s" (seconds of
            training) those that are known.
    """

    score: Floats
    spent: Mapping[str, Floats]

    @classmethod
    def of(cls, points: Iterable[Mapping[str, Any]]) -> Curve:
        """The curve of some points.

        Raises:
            TrialError: they are none.
        """
        rows = [_point(point) for point in points]
        if not rows:
            raise TrialError(f"found no point; expected {ASKED}")
        spent = {axis: np.array([row[axis] for row in rows]) for axis in AXES if all(axis in row for row in rows)}
        for axis, values in spent.items():
            if (np.diff(values) < 0).any() or (axis == "step" and (np.diff(values) == 0).any()):
                raise TrialError(f"{axis} falls from one point to the next, or a step stands twice; expected {ASKED}")
        return cls(np.array([row["score"] for row in rows]), spent)

    @property
    def last(self) -> float:
        """The score at the end of the run."""
        return float(self.score[-1])

    def at(self, axis: str, places: Floats) -> Floats:
        """Scores where so much was spent, between two points on a line; NaN outside, WILD for an infinite one."""
        return np.interp(places, self.spent[axis], np.minimum(self.score, WILD), left=np.nan, right=np.nan)


RISE = (
    "Every curve ends higher than it begins, and of a score less is better. If of yours more is better, give it with "
    "its sign turned"
)


def rise(curves: Iterable[Curve]) -> bool:
    """Whether each of some curves ends higher than it begins."""
    return all(curve.score[0] < curve.last < inf for curve in curves)


def _point(point: Any) -> dict[str, float]:
    if not isinstance(point, Mapping) or not {"step", "score"} <= point.keys():
        raise TrialError(f"found {str(point)[:80]}; expected {ASKED}")
    try:
        row = {name: float(point[name]) for name in ("score", *AXES) if point.get(name) is not None}
    except (TypeError, ValueError):
        raise TrialError(f"found {str(point)[:80]}; expected numbers in {ASKED}") from None
    if any(not 0 <= value < inf for name, value in row.items() if name != "score") or row["step"] % 1:
        raise TrialError(f"found {str(point)[:80]}; expected what was spent, whole steps from 1 on, in {ASKED}")
    row["score"] = inf if isnan(row["score"]) else row["score"]
    return row


def read_curve(path: Path) -> Curve:
    """Read the curve of a finished cell: a point a line, in JSON.

    Raises:
        TrialError: it is none.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            return Curve.of([json.loads(line) for line in lines if line.strip()])
    except ValueError:
        raise TrialError(f"{path}: is not in lines of JSON; expected {ASKED}") from None
    except TrialError as error:
        raise TrialError(f"{path}: {error}") from None


def write_curve(path: Path, points: Sequence[Mapping[str, Any]]) -> None:
    """Put a whole curve where none stood; a process that is killed leaves none."""
    Curve.of(points)
    known = ("score", *AXES[1:])
    rows = [
        one_line(
            {"step": int(float(row["step"]))} | {name: float(row[name]) for name in known if row.get(name) is not None}
        )
        for row in points
    ]
    beside = path.with_name(f".{path.name}.unfinished")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(row + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
