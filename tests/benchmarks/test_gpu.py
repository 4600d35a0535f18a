"""The figures of a GPU: that the script runs where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import _speed, gpu, training


def test_all_of_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """At small shapes on a CPU, both tables, the profile and the peak memory are printed, and the figures written."""
    monkeypatch.setattr(gpu, "PROFILED_STEPS", 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(training, "arithmetic_of_every_position", lambda config: {})
    monkeypatch.setattr(_speed, "measured", lambda device: _speed.Machine(1e9, 1e9))
    gpu.main(["--device", "cpu", "--small", "--turns", "2", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    for sentence in (
        "taps and convolution, 2 groups",
        "this model: reads ",
        "1 steps, by operation",
        "aten::bmm",
        "Peak memory: ",
    ):
        assert sentence in told
    for name in ("convolution", "training"):
        assert json.loads((tmp_path / f"{name}.json").read_text())["tables"]


def test_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    """At full size it is for a GPU: on a CPU it says so and ends."""
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu"])
    assert "there is no CUDA device here" in capsys.readouterr().err
