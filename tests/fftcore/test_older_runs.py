"""A run that an older version began goes on under this one, whatever settings were invented since."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from plateau_rule.controller.language.canonical import digest
from plateau_rule.fftcore.config import PRESETS, Config, Model
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.sealed import seal, unseal
from tests.faults.damages import repaired
from tests.fftcore.micro import contents, run
from tests.fftcore.test_signals import in_steps

COMPARED = ("metrics.jsonl", "decisions.jsonl", "summary.json", "checkpoints/step-00000032/weights.safetensors")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


@pytest.fixture(autouse=True)
def older_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin runs at the preset that an older version had, which said nothing that was new since."""
    shape = Model(d_model=128, layers=4, seq_len=256, kernel_groups=4)
    monkeypatch.setitem(PRESETS, "tiny", Config(model=shape, batch_size=8, peak=6e-3))


def without_new_settings(said: dict[str, Any], knobs: bool = True) -> dict[str, Any]:
    """Take out what an older version would not have known: settings at their defaults, and a knob if `knobs`."""
    said = json.loads(json.dumps(said))
    said.pop("card")
    said["config"].pop("compile")
    for name in (
        "zero_phase",
        "short_taps",
        "input_gate",
        "mixer_width",
        "feed_width",
        "kernel_init",
        "decay",
        "memory",
        "draft_every",
        "feed",
    ):
        said["config"]["model"].pop(name)
    if knobs:
        said["bound"]["limits"].pop("depth")
    return said


def made_old(out: Path, change_commits: bool = True) -> None:
    """Rewrite a run as an older version would have written it."""
    record = without_new_settings(unseal((out / "run.json").read_bytes()), change_commits)
    (out / "run.json").write_bytes(seal(record))
    for commit in sorted((out / "checkpoints").iterdir()) if change_commits else ():
        state = json.loads((commit / "state.json").read_bytes())
        state["run"] = without_new_settings(state["run"])
        said = {name: value for name, value in record.items() if name != "ranks"}
        state["record"]["sha256"] = digest(said)
        (commit / "state.json").write_text(json.dumps(state))
        repaired(commit)


def test_an_older_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that neither record nor commits name stand at their defaults; older commits fit the new record too."""
    assert run(tmp_path / "whole") == 0
    out = tmp_path / "run"
    for step, resume in ((9, False), (11, True)):
        with monkeypatch.context() as patch:
            in_steps(patch, {step: signal.SIGTERM})
            assert run(out, resume=resume) == 143
        if not resume:
            made_old(out)
    newest = out / "checkpoints" / "step-00000012"
    (newest / "state.json").write_bytes(
        b""
    )  # so that the one before it is gone on from, which is older than the record
    assert run(out, resume=True) == 0
    for name in COMPARED:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_record_that_lost_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: a record from which a setting was taken after the commits were made is another record, and refused."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        in_steps(patch, {9: signal.SIGTERM})
        assert run(out) == 143
    made_old(out, change_commits=False)
    before = contents(out)
    with pytest.raises(CheckpointError, match=r"was made under another run\.json"):
        run(out, resume=True)
    assert contents(out) == before


def test_defaults_stay() -> None:
    """No default of a setting changes, for an older run that does not name it was trained at it; new ones are added."""
    assert {name: one.default for name, one in Config.model_fields.items() if not one.is_required()} == {
        "accumulation": 1,
        "peak": None,
        "optimizer": "muon",
        "weight_decay": 5e-4,
        "grad_clip": 1.0,
        "dropout": 0.0,
        "chunk_weight": 0.2,
        "compile": False,
        "save_every": 250,
        "eval_windows": 32,
        "final_windows": 128,
    }
    assert {name: one.default for name, one in Model.model_fields.items() if not one.is_required()} == {
        "kernel_len": 128,
        "kernel_groups": 8,
        "chunk": 16,
        "objective": "dense",
        "published": False,
        "zero_phase": False,
        "short_taps": 0,
        "input_gate": False,
        "mixer_width": 0,
        "feed_width": 0,
        "kernel_init": "noise",
        "decay": False,
        "memory": False,
        "feed": "gelu",
        "draft_every": 0,
    }
