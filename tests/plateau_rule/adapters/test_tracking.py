"""`track=` in every adapter: what the rule tells its trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plateau_rule import loads
from plateau_rule.adapters.base import Rule
from plateau_rule.controller.controller import Controller
from plateau_rule.sim.trackers import TrackerError, Tracks
from tests.sim.trackers.fake import FakeTracker

TEXT = """
name  = "by-loss"
lr    = { peak = 0.01, shape = "constant" }
knob  = { seq_len = { ladder = [8, 16] } }
state = [{ name = "short", set = { seq_len = 8 } }, { name = "long", set = { seq_len = 16 } }]

[[transition]]
from    = "short"
to      = "long"
guards  = [{ below = { value = 2.0 } }]
actions = ["lr_restart"]
"""


@pytest.mark.parametrize("out", [True, False])
def test_a_rule_tells_its_trackers(out: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Steps, evaluations, meters, the raise and the end are told; a checkpoint flushes; the folder names the run."""
    fake, names = FakeTracker(), []

    def open_tracks(words: list[str], name: str, controller: Controller) -> Tracks:
        names.append((words, name))
        return Tracks([fake], controller)

    monkeypatch.setattr("plateau_rule.adapters.record.require_trackers", lambda words: [(words, "here")])
    monkeypatch.setattr("plateau_rule.adapters.record.open_tracks", open_tracks)
    folder: Any = tmp_path / "mine" if out else None
    rule = Rule(loads(TEXT), applied=["seq_len"], out=folder, track="trackio")
    rule.begin(0, [{"params": [], "lr": 0.5}], total_steps=3, steps_per_epoch=3)
    for number, loss in enumerate([3.0, 1.5, 1.0]):
        rule.micro(loss)
        rule.close(number)
        rule.evaluated({"val_loss": loss + 1}, number)
        rule.state()
        assert fake.flushed == number + 1
    rule.end()
    assert names == [(["trackio:here"], "mine" if out else "by-loss")]
    assert [values.get("loss") for _, values in fake.points] == [3.0, 1.5, 1.0]
    assert [values.get("val_loss") for _, values in fake.points] == [4.0, 2.5, 2.0]
    assert [values["plateau/seq_len"] for _, values in fake.points] == [8.0, 8.0, 16.0]
    assert [values.get("plateau/guard/transition_1/below") for _, values in fake.points] == [3.0, 1.5, None]
    assert [title for _, title, _ in fake.events] == ["raise: short -> long", "end"]
    assert fake.closed == 1


def test_a_tracker_that_cannot_be_had_is_refused_at_once() -> None:
    """The rule is not made, long before the first step."""
    with pytest.raises(TrackerError, match="'tensorbord' is no tracker"):
        Rule(loads(TEXT), track="tensorbord")
