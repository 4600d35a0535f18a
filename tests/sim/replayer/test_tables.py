"""What a replay prints fits the terminal, and a pipe gets no blanks that fill lines."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from plateau_rule import load
from plateau_rule.controller.binding import Binding
from plateau_rule.sim.logs import Log
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.tables import data_of, print_timelines

MakeLog = Callable[..., Log]


@pytest.fixture
def log(log_of: MakeLog) -> Log:
    """A curve that flattens, with noise."""
    random = np.random.default_rng(0)
    losses = (2 + 3 * np.exp(-np.arange(4000) / 300)) * (1 + 0.01 * random.standard_normal(4000))
    return log_of(range(4000), losses.tolist())


BINDING = Binding(steps_per_epoch=200, epochs=20)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_lines_fit(width: int, log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than the terminal, but a path, and each transition and guard is told at any width."""
    monkeypatch.setenv("COLUMNS", str(width))
    print_timelines(log, [replay(load("plateau"), log, BINDING)])
    out = capsys.readouterr().out
    assert all(len(line) <= width for line in out.splitlines() if "/" not in line)
    assert out.startswith("Verdict: ")
    for told in ("syntax → words", "spelling → full", "looks", "What to turn:"):
        assert told in out


def test_the_end_is_told_without_knobs_too(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line names state, knobs and rate; of a curriculum that turns the rate alone, no knobs."""
    for name, told in (("plateau", "(cutoff full, rate 1e-05)"), ("decay-on-plateau", "(rate 0.001)")):
        print_timelines(log, [replay(load(name), log, BINDING)])
        assert told in " ".join(capsys.readouterr().out.split())


def test_a_long_value_leaves_room_for_the_rest(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mixture of sources is broken in its column, so that step, rate and reason are told beside it."""
    monkeypatch.setenv("COLUMNS", "120")
    print_timelines(log, [replay(load("mixture"), log, BINDING)])
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "broad → scarce" in line)
    assert row.startswith("3,200 ")
    assert "→" in row.partition("broad → scarce")[2]
    assert "dwell: 3200 steps in this" in row
    assert "books = 0.05 }" in out


def test_a_pipe_gets_no_padding(log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe, no line ends in blanks."""
    monkeypatch.delenv("COLUMNS", raising=False)
    print_timelines(log, [replay(load("plateau"), log, BINDING), replay(load("plateau-trend"), log, BINDING)])
    assert not [line for line in capsys.readouterr().out.splitlines() if line != line.rstrip()]


def test_json_holds_everything(log: Log) -> None:
    """The data of a replay holds its verdict, the advice, the noise, and what held each guard."""
    data = json.loads(json.dumps(data_of(log, [replay(load("plateau"), log, BINDING)]), allow_nan=False))[0]
    assert data["verdict"] == "too fast"
    assert data["turn"]
    assert data["noise"]["sigma"] == pytest.approx(0.01, rel=0.1)
    held = data["stays"][0]["guards"][1]
    assert (held["guard"], held["looks"], held["true"]) == ("flat (plateau)", 4, 0)
    assert data["guards"][0]["warning"] is True
