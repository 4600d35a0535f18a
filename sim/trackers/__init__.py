"""A run in an experiment tracker: its series, and its decisions as events.

    with track(controller, "tensorboard:runs/tensorboard") as tracked:
        while (plan := controller.plan).stop is None:
            ...
            tracked.observed(plan, loss, controller.observe(loss))

`Tracker` is the seam: four methods. Each library stands behind it in the file of its name, and is imported there alone,
when a run asks for it.
"""

from plateau_rule.sim.trackers.opening import open_tracks, require_trackers, track
from plateau_rule.sim.trackers.tracker import Tracker, TrackerError, TrackerWarning
from plateau_rule.sim.trackers.tracks import Tracks

__all__ = ["Tracker", "TrackerError", "TrackerWarning", "Tracks", "open_tracks", "require_trackers", "track"]
