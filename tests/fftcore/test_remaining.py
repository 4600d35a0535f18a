"""How long a run still takes is told by what was measured, and no more is claimed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plateau_rule import Plan, bind, loads
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.remaining import Remaining, in_words
from tests.fftcore.micro import run

LADDER = """
format = 1
name = "ladder"
run = { epochs = 10, steps_per_epoch = 10 }
lr = { peak = 1e-2 }
knob = { %s = { ladder = [64, 128, 256] } }
state = [
  { name = "low", set = { %s = 64 } },
  { name = "middle", set = { %s = 128 } },
  { name = "high", set = { %s = 256 } },
]
[[transition]]
from = "*"
to = "next"
at = "epoch"
guards = [{ min_epoch = 2 }]
actions = ["lr_restart"]
"""


def remaining(knob: str = "seq_len", more: str = "") -> Remaining:
    """What tells it of a run of 100 steps."""
    source = LADDER.replace("%s", knob) + more
    return Remaining(bind(loads(source), limits(PRESETS["tiny"])), 100)


def plan(step: int, state: str, value: int, knob: str = "seq_len") -> Plan:
    """The plan of a step."""
    return Plan(step, step // 10, state, {knob: value}, 1e-2, (), None, 1.0)


def measured(told: Remaining, state: str, value: int, seconds: float, steps: int = 10, knob: str = "seq_len") -> None:
    """Show it some steps, the last one with an evaluation."""
    for step in range(steps):
        told.took(plan(step, state, value, knob), seconds, step == steps - 1)


def test_alike_steps() -> None:
    """Steps of one size, as under a cutoff, are told by their mean: at least that before an evaluation was measured."""
    told = remaining("cutoff")
    now = plan(39, "low", 64, "cutoff")
    assert told.told(now) == "… left"
    for _ in range(9):
        told.took(now, 2.0, False)
    assert told.told(now) == "at least 2 min left"
    told.took(now, 12.0, True)
    assert told.told(now) == "3 min left"  # 60 steps of 3 seconds
    assert told.told(plan(98, "high", 256, "cutoff")) == "3 s left"
    assert told.told(plan(99, "high", 256, "cutoff")) == "the last step"


def test_dearer_rungs() -> None:
    """Where longer windows may come that were never measured, it is at least what the steps of now would take."""
    told = remaining()
    measured(told, "low", 64, 1.0)
    assert told.told(plan(39, "low", 64)) == "at least 60 s left"
    measured(told, "middle", 128, 2.0)
    assert told.told(plan(39, "low", 64)) == "at least 60 s left"
    measured(told, "high", 256, 4.0)
    assert told.told(plan(39, "low", 64)) == "60 s to 4 min left"
    assert told.told(plan(39, "middle", 128)) == "2 min to 4 min left"
    assert told.told(plan(39, "high", 256)) == "4 min left"


def test_cheaper_rungs() -> None:
    """Where shorter windows may come that were never measured, it is at least their share of the bytes."""
    back = '[[transition]]\nfrom = "high"\nto = "low"\nregress = true\nguards = [{ min_epoch = 9 }]\n'
    told = remaining(more=back)
    measured(told, "high", 256, 4.0)
    assert told.told(plan(39, "high", 256)) == "at least 60 s left"


def test_shallower_rungs() -> None:
    """Where fewer blocks may run that were never measured, it is at least their share of those that do."""
    source = LADDER.replace("%s", "depth").replace("64", "1").replace("128", "2").replace("256", "4")
    deeper = PRESETS["tiny"].model_copy(update={"model": PRESETS["tiny"].model.model_copy(update={"layers": 4})})
    back = '[[transition]]\nfrom = "high"\nto = "low"\nregress = true\nguards = [{ min_epoch = 9 }]\n'
    told = Remaining(bind(loads(source + back), limits(deeper)), 100)
    measured(told, "high", 4, 4.0, knob="depth")
    assert told.told(plan(39, "high", 4, "depth")) == "at least 60 s left"
    measured(told, "low", 1, 2.0, knob="depth")
    assert told.told(plan(39, "low", 1, "depth")) == "at least 2 min left"


def test_a_run_that_may_end() -> None:
    """A run that a state may end before its last step is told by at most, and not at all while that is unknown."""
    end = '  { name = "end", set = { cutoff = 256 }, stop = "it is good" },\n]\n[[transition]]'
    source = LADDER.replace("%s", "cutoff").replace("]\n[[transition]]", end)
    source = source.replace('from = "*"', 'from = ["low", "middle"]')
    source += '[[transition]]\nfrom = "low"\nto = "end"\nguards = [{ min_epoch = 9 }]\n'
    told = Remaining(bind(loads(source), limits(PRESETS["tiny"])), 100)
    for _ in range(5):
        told.took(plan(39, "low", 64, "cutoff"), 1.0, False)
    assert told.told(plan(39, "low", 64, "cutoff")) == "… left"
    measured(told, "low", 64, 1.0, knob="cutoff")
    assert told.told(plan(39, "low", 64, "cutoff")) == "at most 60 s left"
    assert told.told(plan(39, "middle", 128, "cutoff")) == "60 s left"


def test_the_mean_follows() -> None:
    """A machine that has become slower is told of after the steps of an epoch."""
    told = remaining("cutoff")
    measured(told, "low", 64, 1.0, 500, "cutoff")
    measured(told, "low", 64, 3.0, 500, "cutoff")
    assert told.told(plan(39, "high", 64, "cutoff")) == "3 min left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5400, "1 h 30 min"),
        (36_000, "10 h 00 min"),
        (172_799, "2 d 0 h"),
        (259_200, "3 d 0 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """A duration has two units at most."""
    assert in_words(seconds) == words


def test_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of a run tells it: unknown at first, at least so long in the first epoch, then for sure."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    assert run(tmp_path / "run", log_every=1) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r"step \d+/", line)]
    ends = [line.rpartition("tokens/s  ")[2] for line in lines]
    assert ends[:3] == ["… left"] * 3
    assert all(end.startswith("at least ") for end in ends[3:7])
    assert all(re.fullmatch(r"\d+ s left", end) for end in ends[8:31])
    assert ends[31] == "the last step"
