"""What the speed benchmarks count and how they tell."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks._speed import Spread, both_ways_of, counted, measured, plain, spread, take_turns

CPU = torch.device("cpu")


def test_products_are_counted() -> None:
    """A matrix product is two flop a multiply-add, forward; twice more of it goes back, to input and weight."""
    layer, x = nn.Linear(16, 32, bias=False), torch.randn(8, 16, requires_grad=True)
    forward = 2 * 8 * 16 * 32
    assert counted(lambda: layer(x)).flop == forward
    assert counted(both_ways_of(layer, x, torch.ones(8, 32))).flop == 3 * forward
    assert x.grad is None
    out = torch.empty(8, 32)
    assert counted(lambda: torch.mm(x.detach(), torch.ones(16, 32), out=out)).flop == forward


def test_transforms_are_counted() -> None:
    """A real transform of n is 2.5 n log2 n flop a row, there and back."""
    x = torch.randn(6, 64)
    assert counted(lambda: torch.fft.rfft(x)).flop == 6 * 2.5 * 64 * 6
    assert counted(lambda: torch.fft.irfft(torch.fft.rfft(x))).flop == 2 * 6 * 2.5 * 64 * 6
    assert counted(lambda: torch.fft.rfft(x, dim=0)).flop == int(2.5 * 6 * 64 * 2.584962500721156)


def test_what_is_moved_is_counted() -> None:
    """An operation moves its operands and its result once each; views and empty memory are free; expanded is small."""
    x, y = torch.randn(100, 10), torch.randn(100, 10)
    assert counted(lambda: x + y).moved_bytes == 3 * 4000
    assert counted(lambda: x.T[3:].unfold(0, 2, 1)).moved_bytes == 0
    assert counted(lambda: torch.empty(1000)).moved_bytes == 0
    assert counted(lambda: x + y[:1].expand(100, 10)).moved_bytes <= 3 * 4000
    assert counted(lambda: y.copy_(x)).moved_bytes == 2 * 4000


def test_the_spread() -> None:
    """A spread is the median between the quartiles."""
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0)
    assert plain({"a": (Spread(1.0, 2.0, 3.0), [4])}) == {"a": [{"median": 1.0, "low": 2.0, "high": 3.0}, [4]]}


def test_all_take_turns() -> None:
    """Every contestant is called once in every turn, in order; the warm-up is not told."""
    called: list[str] = []
    seconds = take_turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3, CPU)
    assert called == ["a", "b"] * 5
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    machine = measured(CPU, turns=2, size=64)
    assert machine.copy_bytes_per_s > 0 < machine.flop_per_s


MICRO = {
    "convolution": ["--batch", "2", "--length", "70", "--channels", "16", "--groups", "4", "--taps", "9"],
    "block": ["--batch", "2", "--length", "70", "--channels", "16", "--groups", "2"],
    "training": ["--preset", "tiny", "--batch", "1"],
    "generation": ["--contexts", "8", "100"],
}


@pytest.mark.parametrize("name", MICRO)
def test_every_benchmark_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a micro size each benchmark prints its tables and writes its figures, all finite and positive."""
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", [name, "--turns", "2", "--device", "cpu", "--json", str(path), *MICRO[name]])
    monkeypatch.setattr("benchmarks._speed.measured", lambda device: measured(device, turns=2, size=64))
    import_module(f"benchmarks.{name}").main()
    printed, figures = capsys.readouterr().out, json.loads(path.read_text())
    for table in figures["tables"].values():
        rows = table["step"] if name == "training" else table
        assert rows[0]["times_as_fast"]["median"] == 1.0
        for row in rows:
            assert row["what"] in printed
            assert 0 < row["seconds"]["low"] <= row["seconds"]["median"] <= row["seconds"]["high"]
            assert row["counts"]["flop"] > 0 < row["counts"]["moved_bytes"]
