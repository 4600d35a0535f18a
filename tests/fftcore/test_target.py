"""The score under the knobs of the target: brought where a guard asks for it, and nothing else changes by it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip("torch")

from plateau_rule import loads
from plateau_rule.fftcore.branching import BranchOptions, find_branch
from plateau_rule.fftcore.config import TARGET
from plateau_rule.fftcore.errors import RunError
from tests.fftcore.micro import CURRICULUM, rows, run
from tests.fftcore.test_train import same_run, stop_at

ASKS = CURRICULUM.replace(
    b'at = "epoch"\nguards = [{ min_epoch = 2 }, { plateau = { window = 6, threshold = 0.9 } }]',
    b'at = "eval"\nguards = [{ above = { metric = "val_bpb_target", value = 0.1 } }, { min_epoch = 2 }]',
)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take longer than these runs."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that asks for the target and that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert run(out, curriculum=ASKS) == 0
    return out


def test_it_is_the_score_at_the_hardest_setting(whole: Path) -> None:
    """Each evaluation brings it; under easier knobs it differs from the score, under the last ones it is the score."""
    scored = [row for row in rows(whole / "metrics.jsonl") if TARGET in row]
    assert [row["step"] for row in scored] == [7, 15, 23, 31]
    assert [row["knobs"]["cutoff"] for row in scored] == [64, 64, 256, 1025]
    assert [row[TARGET] == row["val_bpb"] for row in scored] == [False, False, False, True]
    assert all(abs(row[TARGET] - row["val_bpb"]) < 1.0 for row in scored)


def test_a_resumed_run_is_the_same(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped around its evaluations and resumed, a run that asks for it ends with the same logs and weights."""
    stop_at(monkeypatch, {7: signal.SIGTERM, 16: signal.SIGTERM})
    assert run(tmp_path / "cut", curriculum=ASKS) == 143
    while run(tmp_path / "cut", curriculum=ASKS, resume=True) == 143:
        pass
    same_run(tmp_path / "cut", whole)


def test_nothing_is_trained_otherwise(whole: Path, tmp_path: Path) -> None:
    """Scoring at the target leaves no trace in the training: the same raises by another guard give the same losses."""
    assert run(tmp_path / "run", curriculum=ASKS.replace(b"val_bpb_target", b"val_bpb")) == 0
    asked, other = (rows(out / "metrics.jsonl") for out in (whole, tmp_path / "run"))
    assert not any(TARGET in row for row in other)
    assert [row["loss"] for row in asked] == [row["loss"] for row in other]


def test_runs_with_another_target_share_nothing(whole: Path, tmp_path: Path) -> None:
    """A curriculum that is scored at another target is no branch: its rows would hold scores that were never taken."""
    for other in (CURRICULUM, ASKS.replace(b'set = { cutoff = "full" }', b"set = { cutoff = 256 }")):
        with pytest.raises(RunError, match="ask for val_bpb_target under other knobs, and share nothing"):
            find_branch(whole, loads(other, ""), other, BranchOptions(tmp_path / "new"))
