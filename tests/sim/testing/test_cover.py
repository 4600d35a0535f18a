"""What scenarios and logs leave untried."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau

CURRICULUM = """name = "two"
run = { epochs = 4, steps_per_epoch = 50 }
lr = { peak = 1.0, shape = "constant" }
state = [{ name = "a" }, { name = "b" }, { name = "c" }]
[[transition]]
from = "a"
to = "b"
guards = [{ below = { value = 1.0 } }]
[[transition]]
from = "b"
to = "c"
guards = [{ min_step = 20 }, { above = { value = 5.0 } }]
"""
SCENARIO = """curriculum = "two.toml"
[[scenario]]
name = "falls"
losses = ["flat 2.0 for 9 steps", "flat 0.5 for 100 steps"]
expect = [{ state = "b" }]
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A curriculum of two transitions, a scenario that takes the first, a log that takes both."""
    monkeypatch.chdir(tmp_path)
    Path("two.toml").write_text(CURRICULUM)
    Path("two.test.toml").write_text(SCENARIO)
    losses = [2.0] * 9 + [0.5] * 60 + [9.0] * 60
    Path("losses.csv").write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in enumerate(losses)))


def test_what_no_scenario_took(capsys: pytest.CaptureFixture[str]) -> None:
    """The second transition, and that of its guards which was never true, each with its line."""
    assert plateau.main(["test", "--cover", "two.test.toml"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "two.toml: 1 of 2 transitions taken, 2 of 3 guards true",
        "  never taken: [[transition]] 2 (line 9)",
        "  never true: [[transition]] 2, guards 2 (line 12)",
    ]


def test_what_a_log_took(capsys: pytest.CaptureFixture[str]) -> None:
    """A log that takes it leaves nothing untried."""
    assert plateau.main(["test", "--cover", "--log", "losses.csv", "two.test.toml"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["two.toml: 2 of 2 transitions taken, 3 of 3 guards true"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--log", "losses.csv", "two.test.toml"], "--log is for --cover"),
        (["--cover"], "name a scenario file"),
        (["--cover", "--log", "absent.csv", "two.test.toml"], "absent.csv"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    """Each mistake is answered by a sentence and exit code 2."""
    assert plateau.main(["test", *words]) == 2
    assert told in capsys.readouterr().err
