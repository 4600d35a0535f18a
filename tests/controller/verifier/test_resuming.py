"""A run that is killed and resumed goes on as one that was not; and the check that says so can fail."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from plateau_rule import Controller, load
from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.resuming import MOST_KILLS, killed_and_resumed, losses
from plateau_rule.controller.verifier.verify import verify
from tests.controller.small import small

FLAT = {"plateau": {"window": 4}}


def test_losses() -> None:
    """The stream falls, lies flat, jumps and is not a number at times, and is the same on every call."""
    found = list(losses(400))
    assert [f"{x}" for x in found] == [f"{x}" for x in losses(400)]
    assert [i for i, x in enumerate(found) if isnan(x)] == list(range(36, 400, 37))
    assert [i for i, x in enumerate(found) if x > 20] == list(range(52, 400, 53))
    assert found[:3] == pytest.approx([3.0, 3.0927051, 3.0354102])
    assert found[60] == pytest.approx(8.0 * 0.97**60 * (1 + 0.05 * ((60 * 0.6180339887498949) % 1)))
    assert all(3.0 <= x <= 3.15 for i, x in enumerate(found[:60]) if not isnan(x) and i % 53 != 52)
    assert all(1.2 < x < 1.4 for i, x in enumerate(found[60:180], 60) if not isnan(x) and i % 53 != 52)
    assert all(3.0 <= x <= 3.15 for i, x in enumerate(found[180:240], 180) if not isnan(x) and i % 53 != 52)


def test_how_often() -> None:
    """A run is killed after each of the first steps, and of those after a transition, up to its end."""
    assert killed_and_resumed(bind(small()), 2500) == (33, "")
    assert killed_and_resumed(bind(small()), 20) == (20, "")
    assert killed_and_resumed(bind(small({"guards": [{"min_step": 60}]})), 80) == (44, "")  # taken at 59, 60 and 61
    round_and_round = small({"from": "low", "to": "low"}, run={"epochs": 100, "steps_per_epoch": 10})
    assert killed_and_resumed(bind(round_and_round), 2500) == (MOST_KILLS, "")
    assert killed_and_resumed(bind(load("plateau")), 2500) == (42, "")


def test_evaluations_and_epochs_by_hand() -> None:
    """Metrics come with evaluations, and epochs are closed, where a curriculum asks for them."""
    curriculum = small({"guards": [{"below": {"metric": "acc", "value": 1.3}}, {"min_epoch": 8}], "at": "eval"},
                       lr={"peak": 1.0, "shape": "constant"}, run={})  # fmt: skip
    kills, difference = killed_and_resumed(bind(curriculum), 300)
    assert (kills, difference) == (52, "")  # three transitions, one at each evaluation


def test_a_dead_run_ends() -> None:
    """A run that is given up is compared up to there: at the first NaN, or not before its end."""
    late = {"guards": [{"min_step": 60}]}
    assert killed_and_resumed(bind(small(late, nonfinite={"limit": 1})), 80) == (33, "")
    assert killed_and_resumed(bind(small(late, nonfinite={"limit": 2})), 80) == (44, "")


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: a controller that forgets on resuming is found out, and `verify` calls it a mistake of ours."""
    load_state_dict = Controller.load_state_dict

    def forgetful(self: Controller, saved: dict[str, Any], on_change: str = "refuse") -> tuple[str, ...]:
        found = load_state_dict(self, saved, on_change)
        self.run_state.step += 5
        return found

    monkeypatch.setattr(Controller, "load_state_dict", forgetful)
    machine = bind(small())
    kills, difference = killed_and_resumed(machine, 20)
    assert kills == 1
    assert difference.startswith("after step 0, Plan(step=1, epoch=0, state='low', knobs=")
    assert ", and Plan(step=6, " in difference
    assert difference.endswith(" by the resumed run")
    (finding,) = [one for one in verify(machine).findings if one.code == "resume-differs"]
    assert (finding.severity, finding.property, finding.path) == ("error", "resume", ())
    assert finding.suggestion == "Please report this, with the file"
