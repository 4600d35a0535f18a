"""`plateau train --track`: a run tells its trackers all that its logs hold."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from plateau_rule.controller.controller import Controller
from plateau_rule.sim.trackers import Tracks
from tests.fftcore.micro import rows, run
from tests.sim.trackers.fake import FakeTracker


def test_a_run_and_its_continuation_are_tracked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Series and rows of the log are the same, over a resume too; both raises and the two ends are events."""
    fake, out = FakeTracker(), tmp_path / "run"

    def open_tracks(words: tuple[str, ...], name: str, controller: Controller) -> Tracks:
        assert (words, name) == (("wandb",), "run")
        return Tracks([fake], controller)

    monkeypatch.setattr("plateau_rule.fftcore.run.open_tracks", open_tracks)
    assert run(out, track=("wandb",)) == 0
    assert run(out, track=("wandb",), resume=True, epochs=5) == 0
    logged = rows(out / "metrics.jsonl")
    assert [step for step, _ in fake.points] == [row["step"] for row in logged] == list(range(40))
    for name in ("loss", "grad_norm", "val_bpb"):
        told = [(step, values[name]) for step, values in fake.points if name in values]
        assert told == [(row["step"], row[name]) for row in logged if name in row]
    assert [values["plateau/lr"] for _, values in fake.points] == [row["lr"] for row in logged]
    assert "plateau/guard/transition_1/plateau" in fake.points[10][1]
    assert [(step, title) for step, title, _ in fake.events] == [
        (16, "raise and restart and checkpoint: low -> middle"),
        (24, "raise and restart and checkpoint: middle -> full"),
        (32, "end"),
        (40, "end"),
    ]
    assert fake.closed == 2
