"""The same run in each real tracker, read back from its files: whole, and killed and gone on with."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from plateau_rule import Controller, loads
from plateau_rule.sim.logs import read
from plateau_rule.sim.trackers import Tracks, open_tracks
from tests.conformance.drivers import ALL

SMALL = """
name  = "small"
run   = { epochs = 4, steps_per_epoch = 10 }
lr    = { peak = 1.0, shape = "linear", length = "20 steps" }
knob  = { size = { ladder = [4, 8] } }
state = [{ name = "easy", set = { size = 4 } }, { name = "hard", set = { size = 8 } }]

[[transition]]
name    = "ready"
from    = "easy"
to      = "hard"
guards  = [{ below = { value = 2.5, window = 5 } }]
actions = ["lr_restart"]
"""
RAISE, END = "raise and restart: easy -> hard", "end"
Series = dict[str, list[tuple[int, float]]]


def library(name: str) -> None:
    """Skip where a tracker's library is not installed; `make test-adapters` installs TensorBoard, the lightest."""
    if find_spec(name) is None:
        lacking = os.environ.get(ALL) == "all" and name == "tensorboard"
        (pytest.fail if lacking else pytest.skip)(f"{name} is not installed; pip install '.[{name}]' brings it")


def run(controller: Controller, tracks: Tracks, until: int = 1000) -> None:
    """Take steps whose losses fall from 3 to 2."""
    while (plan := controller.plan).stop is None and plan.step < until:
        loss = 3 - plan.step / 40
        tracks.observed(plan, loss, controller.observe(loss))


def tensorboard(place: Path) -> tuple[Series, list[tuple[int, str]]]:
    """By TensorBoard's own reader, in which scalars are tensors too."""
    accumulator = import_module("tensorboard.backend.event_processing.plugin_event_accumulator").EventAccumulator
    number = import_module("tensorboard.util.tensor_util").make_ndarray
    (folder,) = place.iterdir()
    events = accumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    scalars = {tag: [(at.step, number(at.tensor_proto).item()) for at in events.Tensors(tag)] for tag in tags}
    texts = [(step, text.decode()) for step, text in scalars.pop("plateau/decisions")]
    return scalars, [(step, text.split("**")[1]) for step, text in texts]


def mlflow(place: Path) -> tuple[Series, list[tuple[int, str]]]:
    """Out of the SQLite file."""
    with sqlite3.connect(place / "mlflow.db") as store:
        rows = store.execute("select key, step, value from metrics order by step").fetchall()
        tags = store.execute("select key, value from tags where key like 'plateau.decision.%' order by key").fetchall()
    store.close()
    series: Series = {}
    for key, step, value in rows:
        series.setdefault(key, []).append((step, value))
    return series, [(int(key.rpartition(".")[2]), value.splitlines()[0]) for key, value in tags]


def trackio(place: Path) -> tuple[Series, list[tuple[int, str]]]:
    """Out of the SQLite file."""
    (path,) = place.glob("*.db")
    with sqlite3.connect(path) as store:
        rows = store.execute("select step, metrics from metrics order by step").fetchall()
        alerts = store.execute("select step, title from alerts order by step").fetchall()
    store.close()
    series: Series = {}
    for step, metrics in rows:
        for key, value in json.loads(metrics).items():
            series.setdefault(key, []).append((step, value))
    return series, alerts


def wandb(place: Path) -> tuple[Series, list[tuple[int, str]]]:
    """Out of the offline files: a log of records in blocks of 32 KiB, as LevelDB has it, behind seven bytes."""
    import_module("wandb").teardown()  # waits for its other process, which may write after `finish`
    record_type = import_module("wandb.proto.wandb_internal_pb2").Record
    series: Series = {}
    alerts: list[tuple[int, str]] = []
    ids = set()
    for path in sorted(place.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime):
        content, whole, at = path.read_bytes(), b"", 7
        while at + 7 <= len(content):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
            whole += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind not in (1, 4):  # the whole record, or its last part
                continue
            record, whole = record_type.FromString(whole), b""
            ids |= {record.run.run_id} if record.HasField("run") else set()
            step = record.history.step.num
            for item in record.history.item:
                key = item.key or "/".join(item.nested_key)
                series.setdefault(key, []).append((step, json.loads(item.value_json)))
            if record.HasField("alert"):
                alerts.append((0, record.alert.title))
    assert len(ids) == 1, "of one run"
    return series, alerts


READERS: dict[str, Callable[[Path], tuple[Series, list[tuple[int, str]]]]] = {
    "tensorboard": tensorboard, "mlflow": mlflow, "trackio": trackio, "wandb": wandb,
}  # fmt: skip


@pytest.fixture
def words(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What names a tracker that writes into tmp_path."""
    name: str = request.param
    library(name)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    if name == "trackio":
        utils, storage = import_module("trackio.utils"), import_module("trackio.sqlite_storage")
        for module in (utils, storage):
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path)
    return f"{name}:{tmp_path}" if name in ("tensorboard", "mlflow") else f"{name}:small-project"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what the libraries say of each other is not ours
@pytest.mark.parametrize("words", READERS, indirect=True)
@pytest.mark.parametrize("killed_at", [(), (22,), (30,), (30, 26)], ids=str)
def test_each_tracker_holds_each_step_once(words: str, killed_at: tuple[int, ...], tmp_path: Path) -> None:
    """Loss, rate, state, knob and meters of each step stand there once, and each decision, also after resumes.

    Each process goes on from step 20. The last case is killed twice, the second time before what the first had reached.
    """
    controller = Controller(loads(SMALL))
    for killed in killed_at:
        tracks = open_tracks(words, "run", controller)
        run(controller, tracks, until=20)
        tracks.flush()
        saved = controller.state_dict()
        run(controller, tracks, until=killed)
        tracks.close()
        controller = Controller(loads(SMALL))
        controller.load_state_dict(saved)
    with open_tracks(words, "run", controller) as tracks:
        run(controller, tracks)
    series, events = READERS[words.partition(":")[0]](tmp_path)
    assert [step for step, _ in series["loss"]] == list(range(40))
    assert [value for _, value in series["loss"]] == pytest.approx([3 - step / 40 for step in range(40)])
    assert dict(series["plateau/lr"])[24] == 1.0
    assert [value for _, value in series["plateau/size"]] == [4.0] * 24 + [8.0] * 16
    assert [step for step, _ in series["plateau/guard/ready/below"]] == list(range(4, 24))
    assert [title for _, title in events] == [RAISE, END]
    if not words.startswith("wandb"):
        assert [step for step, _ in events] == [24, 40]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("words", ["tensorboard"], indirect=True)
def test_a_run_begun_anew_stands_beside_the_old_one(words: str, tmp_path: Path) -> None:
    """A second run of the same name gets a folder of its own; `replay` reads what was tracked."""
    for _ in range(2):
        controller = Controller(loads(SMALL))
        with open_tracks(words, "run", controller) as tracks:
            run(controller, tracks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2"]
    assert len(read(tmp_path / "run-2")) == 40
