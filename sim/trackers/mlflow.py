"""MLflow: metrics of a run in its store, which is a SQLite file in a folder unless a tracking URI is given."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric

from plateau_rule.sim.trackers.tracker import Tracker

EXPERIMENT = "plateau-rule"  # where MLFLOW_EXPERIMENT_NAME names none
NAME, DECISION = "plateau.run", "plateau.decision"
AT_ONCE = 900  # points; MLflow takes at most 1,000 in one call, and a call takes tens of milliseconds
LONGEST_TAG = 5000  # characters


class MlflowTracker(Tracker):
    """Metrics, and each decision as a tag of the run: MLflow has no events.

    Args:
        client: of the store.
        run: the run's id.
        last: the last step that it holds.
    """

    def __init__(self, client: MlflowClient, run: str, last: int) -> None:
        self._client, self._run, self.last = client, run, last
        self._waiting: list[Metric] = []

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Keep them until there are enough for a call."""
        now = int(time.time() * 1000)
        if len(self._waiting) + len(values) > AT_ONCE:
            self.flush()
        self._waiting += [Metric(name, value, now, step) for name, value in values.items()]

    def event(self, step: int, title: str, text: str) -> None:
        """As a tag whose name holds the step, so that none is there twice."""
        self.flush()
        self._client.set_tag(self._run, f"{DECISION}.{step:09d}", f"{title}\n{text}"[:LONGEST_TAG])

    def flush(self) -> None:
        """Hand over what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._client.log_batch(self._run, metrics=waiting)

    def close(self) -> None:
        """Hand over what waits, and say that the run rests."""
        self.flush()
        self._client.set_terminated(self._run)


def open_tracker(place: str, name: str, step: int) -> MlflowTracker:
    """A new run, or, where it goes on, the newest one of this name in the experiment."""
    if "://" not in place and place != "databricks":
        folder = Path(place).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        place = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(place)
    wanted = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    experiment = client.get_experiment_by_name(wanted)
    number = client.create_experiment(wanted) if experiment is None else experiment.experiment_id
    quoted = name.replace("'", "")
    runs = client.search_runs([number], f"tags.`{NAME}` = '{quoted}'", order_by=["start_time DESC"], max_results=1)
    if step and runs:
        run = runs[0].info.run_id
        client.update_run(run, status="RUNNING")
        held = client.get_metric_history(run, "plateau/lr")
        return MlflowTracker(client, run, max((point.step for point in held), default=-1))
    begun = client.create_run(number, run_name=name, tags={NAME: quoted})
    return MlflowTracker(client, begun.info.run_id, -1)
