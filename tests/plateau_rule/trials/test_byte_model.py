"""`plateau probe` and `plateau compare` with the byte model that comes with the package."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `train`")
pytest.importorskip("scipy", reason="the extra `compare`")

from plateau_rule import loads
from plateau_rule.commands import app as plateau
from plateau_rule.trials import byte_model, cell, pool, prices
from plateau_rule.trials.trainer import Trainer
from tests.fftcore.micro import micro_text, rows

TAPS = """
name = "taps"
run  = { epochs = 4, steps_per_epoch = 4 }
lr   = { peak = 1e-2, shape = "cosine", length = "rest" }
knob = { kernel_taps = { ladder = [4, "full"] } }
state = [{ name = "short", set = { kernel_taps = 4 } }, { name = "full", set = { kernel_taps = "full" } }]

[[transition]]
from   = "*"
to     = "next"
guards = [{ dwell = "0.5 run" }]

[check]
waive = { aligned = "one rate for all" }
"""
TRAINER = "fftcore --data text.txt --device cpu --d-model 8 --layers 1 --seq-len 24 --kernel-len 12 --batch-size 2"
TRAINER += " --kernel-groups 2 --chunk 4"


def here(words: Sequence[str], *where: Path, **more: Any) -> Any:
    """What a process of its own would do, in this one: torch takes seconds to load."""
    if "plateau_rule.trials.byte_model" in words:
        byte_model.measure([Path(word) for word in words[words.index("plateau_rule.trials.byte_model") + 1 :]])
        return 0
    if "plateau_rule.trials" in words:
        folder, *others = words[words.index("plateau_rule.trials") + 1 :]
        code = cell.main(Path(folder), [Path(other) for other in others[1:]] if others else None)
        where[0].write_text("left out")
        return code
    return subprocess.CompletedProcess(words, plateau.main(words[words.index("plateau_rule") + 1 :]))


class OneAfterTheOther(ThreadPoolExecutor):
    """A pool that works in the thread that asks: a run catches signals, which only the first one can."""

    def submit(self, task: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        """Carry a task out at once."""
        future: Future[Any] = Future()
        future.set_result(task(*given, **named))
        return future


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text and a ladder of kernels, in which commands run."""
    (tmp_path / "text.txt").write_bytes(micro_text())
    (tmp_path / "taps.toml").write_text(TAPS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prices, "logged", here)
    monkeypatch.setattr(pool, "logged", here)
    monkeypatch.setattr(pool, "ThreadPoolExecutor", OneAfterTheOther)
    monkeypatch.setattr("plateau_rule.trials.byte_model.subprocess.run", here)
    return tmp_path


def test_a_probe_of_the_byte_model(capfd: pytest.CaptureFixture[str]) -> None:
    """Each rung is a run of `plateau train` that ends with the budget; points say tokens, cost and time; prices too."""
    words = ["probe", "taps.toml", "--trainer", TRAINER, "--budget", "960 tokens", "--seeds", "1", "--workers", "1"]
    assert plateau.main([*words, "--json"]) == 0
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    for rung in told["rungs"]:
        curve = rung["curves"][0]
        assert curve["tokens"] == [192, 384, 576, 768, 960]  # 4 steps of 2 windows of 24 bytes an epoch
        assert all(5 < score < 9 for score in curve["score"])
    run = next(Path("trials").glob("**/cells/*rung-2*/run"))
    assert {row["knobs"]["kernel_taps"] for row in rows(run / "metrics.jsonl")} == {12}


def test_a_comparison_of_the_byte_model(capfd: pytest.CaptureFixture[str]) -> None:
    """Two curricula on one seed begin with the same weights: scores are alike where both are on one rung."""
    short = TAPS.replace('"taps"', '"short"').replace('"full"] }', "8] }").replace('= "full" }', "= 8 }")
    Path("short.toml").write_text(short)
    words = ["compare", "taps.toml", "short.toml", "--trainer", TRAINER, "--budget", "16 steps", "--seeds", "1"]
    assert plateau.main([*words, "--workers", "1", "--json"]) == 0
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    ladder, other = (row["curves"][0]["score"] for row in told["curricula"])
    assert ladder[:2] == other[:2]
    assert ladder[2:] != other[2:]


def test_a_setting_has_one_price() -> None:
    """Curricula are priced together: a setting that several have, however it is written, is timed once, for good."""
    ladder = loads(TAPS)
    trainer, full, short = Trainer.read(TRAINER), {"kernel_taps": "full"}, {"kernel_taps": 4}
    other = loads(TAPS.replace('"full"] }', "12] }").replace('= "full" }', "= 12 }"))
    one, two = prices.measure_prices([(ladder, [short, full]), (other, [{"kernel_taps": 12}, short])], trainer, Path())
    assert one.step_s == two.step_s[::-1]
    assert one.bound == two.bound[::-1] == ({"kernel_taps": 4}, {"kernel_taps": 12})
    (later,) = prices.measure_prices([(ladder, [full])], trainer, Path())
    assert later.step_s == one.step_s[1:]


def test_what_curricula_share_is_trained_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Cells of one seed branch off each other where each seed has a worker: curves and weights are those without."""
    Path("later.toml").write_text(TAPS.replace('"taps"', '"later"').replace("0.5", "0.75"))
    Path("last.toml").write_text(TAPS.replace('"taps"', '"last"').replace("0.5", "0.9"))
    words = ["compare", "taps.toml", "later.toml", "last.toml", "--budget", "16 steps", "--seeds", "1"]
    for workers in ("1", "2"):
        out = ["--workers", workers, "--out", workers]
        assert plateau.main([*words, *out, "--trainer", TRAINER, "--json"]) == 0
    told = capfd.readouterr().out
    assert "8 steps are those of 1/cells/taps-" in told
    assert "12 steps are those of 1/cells/later-" in told
    for one in sorted(Path("1/cells").iterdir()):
        other = Path("2/cells") / one.name
        last = "run/checkpoints/step-00000016/weights.safetensors"
        for name in ("run/metrics.jsonl", "run/summary.json", last):
            assert (one / name).read_bytes() == (other / name).read_bytes()
        assert len(list((one / "run/checkpoints").iterdir())) == 2
