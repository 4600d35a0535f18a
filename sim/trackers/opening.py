"""From the words that name a tracker to the tracker."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import nearest
from plateau_rule.controller.extras import how_to_install
from plateau_rule.sim.trackers.tracker import Tracker, TrackerError
from plateau_rule.sim.trackers.tracks import Tracks

# Each is a file beside this one, with a function `open_tracker`, and needs the library of the same name. What stands
# after the colon, and what is meant without it.
PLACES = {
    "tensorboard": ("FOLDER", "runs/tensorboard"),
    "mlflow": ("FOLDER", "runs/mlflow"),
    "wandb": ("PROJECT", "plateau-rule"),
    "trackio": ("PROJECT", "plateau-rule"),
}


def require_trackers(words: str | Iterable[str]) -> list[tuple[str, str]]:
    """Which trackers are meant, if all can be had.

    Args:
        words: such as "tensorboard:runs/tensorboard" or "wandb"; one or several.

    Returns:
        Each tracker's name, and its place.

    Raises:
        TrackerError: one is not known, or not installed.
    """
    named = [each.partition(":") for each in ([words] if isinstance(words, str) else words)]
    for name, _, _ in named:
        if name not in PLACES:
            known = ", ".join(f"{each}:{place}" for each, (place, _) in PLACES.items())
            raise TrackerError(f"{name!r} is no tracker. {nearest(name, PLACES)} Known are {known}")
    for name, _, _ in named:
        if find_spec(name) is None:
            raise TrackerError(f"Tracking by {name} needs {name}, which is not installed. {how_to_install(name)}")
    return [(name, place or PLACES[name][1]) for name, _, place in named]


def open_tracks(words: str | Iterable[str], name: str, controller: Controller) -> Tracks:
    """Open trackers for a run that begins, or goes on, at the controller's step.

    Args:
        words: the trackers, as `require_trackers` takes them.
        name: of the run. Where it goes on, the newest run of that name is gone on with.
        controller: of the run.

    Raises:
        TrackerError: one is not known, not installed, or cannot be written to.
    """
    trackers: list[Tracker] = []
    for tracker, place in require_trackers(words):
        library = import_module(f"plateau_rule.sim.trackers.{tracker}")
        try:
            trackers.append(cast(Tracker, library.open_tracker(place, name, controller.plan.step)))
        except OSError as error:
            told = error.strerror or error
            raise TrackerError(f"{tracker}:{place}: cannot be written: {told}. Name another place") from None
    return Tracks(trackers, controller)


def track(controller: Controller, *words: str, name: str | None = None) -> Tracks:
    """Track a loop of your own around a Controller; adapters take the same words as `track=`.

    Args:
        controller: of the run; where it goes on, with its state loaded already.
        words: trackers, such as "tensorboard:runs/tensorboard".
        name: of the run; the curriculum's by default.
    """
    return open_tracks(words, name or controller.machine.curriculum.name, controller)
