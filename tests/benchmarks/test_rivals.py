"""The rivals of the quality table are fair ones: causal, of the asked size, trained as the model is."""

from __future__ import annotations

import json
from collections import Counter
from math import log
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from benchmarks import rivals
from benchmarks._hyena import Hyena
from benchmarks._mingru import recur
from benchmarks._rival import MIXERS, Rival, RivalLearner
from benchmarks._runs import Entry, Job, carry_out, kept, size_of
from benchmarks.quality import BASELINE
from plateau_rule.fftcore.config import PRESETS, Config, Model
from plateau_rule.fftcore.data import TextInMemory, Windows
from plateau_rule.fftcore.model import SpectralLM
from tests.benchmarks.test_quality import Inline

CONFIG = Config(model=Model(d_model=16, layers=1, seq_len=32, kernel_groups=1, chunk=4), batch_size=4, peak=1e-2)
SMALL = 40_000  # parameters


def text() -> TextInMemory:
    """A text with something to learn."""
    words = bytearray(b"the same words again and again. " * 200)
    return TextInMemory(torch.frombuffer(words, dtype=torch.uint8), "words")


def made(mixer: str, seed: int = 0) -> Rival:
    """A small rival whose every parameter has moved away from where it began, in float64."""
    torch.manual_seed(seed)
    model = Rival(mixer, SMALL, 1, 48).double()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    return model.eval()


@pytest.mark.parametrize("mixer", MIXERS)
@torch.no_grad()
def test_it_is_causal(mixer: str) -> None:
    """A prefix has the logits that the window begins with, so byte by byte scores the same; an edit is read."""
    model = made(mixer)
    bytes_BT = torch.randint(256, (2, 48), dtype=torch.uint8)
    whole_TBV = model(bytes_BT)
    for length in (1, 2, 7, 31, 47):
        torch.testing.assert_close(model(bytes_BT[:, :length]), whole_TBV[:length], rtol=0, atol=1e-10)
    edited_BT = bytes_BT.clone()
    edited_BT[:, 30] ^= 1
    difference_T = (model(edited_BT) - whole_TBV).abs().amax((1, 2))
    assert difference_T[:30].max() < 1e-10
    assert difference_T[30:].min() > 1e-8  # all later positions have read it


@torch.no_grad()
def test_a_leak_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: where a mixer reads the mean of the window as well, a prefix has other logits."""
    model = made("Hyena-like")
    forward = Hyena.forward
    monkeypatch.setattr(Hyena, "forward", lambda self, x_TBD: forward(self, x_TBD) + x_TBD.mean(0))
    bytes_BT = torch.randint(256, (2, 48), dtype=torch.uint8)
    assert (model(bytes_BT[:, :31]) - model(bytes_BT)[:31]).abs().max() > 1e-6


@pytest.mark.parametrize("layers", [2, 4])
@pytest.mark.parametrize("mixer", MIXERS)
def test_its_size(mixer: str, layers: int) -> None:
    """Each rival has the preset's parameters, to one part in a hundred, at both depths that are tried."""
    shape = PRESETS["tiny"].model
    wanted = sum(value.numel() for value in SpectralLM(shape).parameters())
    own = sum(value.numel() for value in Rival(mixer, wanted, layers, shape.seq_len).parameters())
    assert own == pytest.approx(wanted, rel=0.01)


def test_a_size_that_cannot_be() -> None:
    """A size that no width comes near is refused."""
    with pytest.raises(ValueError, match="more than 1,000 parameters at any width"):
        Rival("transformer", 1000, 1, 32)


@pytest.mark.parametrize("mixer", MIXERS)
def test_it_learns_the_same_windows(mixer: str) -> None:
    """Its first loss is 8 bits, it reads the windows that the model reads, and learns them; all of it has gradients."""
    torch.manual_seed(3)
    learner = RivalLearner(Rival(mixer, SMALL, 1, 32), CONFIG, text(), 3)
    loss = learner.loss(learner.windows.batch(0, batch_size=4, seq_len=32).windows_BW[:, :33])
    for name, gradient in zip(
        dict(learner.model.named_parameters()), torch.autograd.grad(loss, list(learner.model.parameters())), strict=True
    ):
        assert gradient.abs().max() > 0, name
    losses = [learner.step(step, 1e-2).item() / log(2) for step in range(60)]
    assert losses[0] == pytest.approx(8.0, abs=0.1)
    assert losses[-1] < 2.5  # their frequencies alone give 3.57
    windows = Windows(text(), 3, 4, torch.device("cpu"))
    own = windows.batch(0, batch_size=4, seq_len=32).windows_BW
    assert torch.equal(own, learner.windows.batch(0, batch_size=4, seq_len=32).windows_BW)


@pytest.mark.parametrize("mixer", MIXERS)
def test_muon_moves_its_matrices(mixer: str) -> None:
    """Muon moves the matrices of its blocks and AdamW the rest, as in the model beside it."""
    learner = RivalLearner(Rival(mixer, SMALL, 1, 32), CONFIG, text(), 0)
    orthogonal = next(group for group in learner.optimizer.param_groups if group.get("orthogonal"))
    names = {
        name
        for name, value in cast("Rival", learner.model).blocks.named_parameters()
        if name.endswith("weight") and value.dim() == 2
    }
    assert len(orthogonal["params"]) == len(names) > 5
    everything = sum(len(group["params"]) for group in learner.optimizer.param_groups)
    assert everything == len(list(learner.model.parameters()))


def test_recurrence_is_the_definition() -> None:
    """The recurrence is its definition, written out, and has that one's gradients."""
    torch.manual_seed(0)
    share_TBD, new_TBD = torch.rand(9, 2, 3, dtype=torch.float64), torch.randn(9, 2, 3, dtype=torch.float64)
    parts = share_TBD.requires_grad_(), new_TBD.requires_grad_()
    h_BD, rows = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(9):
        h_BD = (1 - share_TBD[t]) * h_BD + share_TBD[t] * new_TBD[t]
        rows.append(h_BD)
    expected_TBD, upstream_TBD = torch.stack(rows), torch.randn(9, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(recur(*parts), expected_TBD)
    found = torch.autograd.grad(recur(*parts), parts, upstream_TBD)
    for one, other in zip(found, torch.autograd.grad(expected_TBD, parts, upstream_TBD), strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_hyena_is_the_definition() -> None:
    """The long convolution by FFT is the sum of each channel's filter over the past, written out."""
    torch.manual_seed(0)
    mixer, x_TBD = Hyena(4, 12).double(), torch.randn(9, 1, 4, dtype=torch.float64)
    projected = torch.cat((mixer.value(x_TBD), mixer.before(x_TBD), mixer.after(x_TBD)), 2)
    value_TBD, before_TBD, after_TBD = mixer.short(projected).chunk(3, 2)
    u_TBD, filters_TD = value_TBD * before_TBD, mixer.filters()
    y_TBD = torch.stack([sum(filters_TD[k] * u_TBD[t - k] for k in range(t + 1)) for t in range(9)])
    torch.testing.assert_close(mixer(x_TBD), mixer.out((y_TBD + u_TBD * mixer.skip_D) * after_TBD))


# The benchmark


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rivals.Bench:
    """The benchmark on two texts, whose steps all take a tenth of a second and whose runs are not carried out."""
    monkeypatch.setattr(rivals, "texts", lambda: {"one": None, "other": None})
    monkeypatch.setattr(rivals, "step_times", lambda shapes, *given: dict.fromkeys(shapes, 0.1))
    monkeypatch.setattr(rivals, "carried_out", pretended)
    return rivals.Bench(tmp_path)


def pretended(job: Job, out: Path) -> dict[str, Any]:
    """A run whose score is known: rivals are best at 4 blocks and the smallest peak, all at a decay of 0.1.

    The minGRU is ahead of the other rivals. In more than a minute, a Hyena is better with hardly any decay.
    """
    bits = 2 + 0.01 * job.seed + abs(job.entry.config.weight_decay - 0.1) / 100
    if job.entry.rival:
        bits += job.peak - 0.01 * job.entry.layers + (0.2 if "minGRU" in job.name else 0.3)
    else:
        bits += abs(job.peak - 6e-3)
    if "Hyena" in job.name and job.steps > 600:
        bits += job.entry.config.weight_decay
    result: dict[str, Any] = {"text": job.text, "name": job.name, "seed": job.seed, "peak": job.peak}
    result["weight_decay"] = job.entry.config.weight_decay
    result |= {"steps": job.steps, "seconds": 1.0, "parameters": 9}
    result |= {split: {"stream": bits} for split in ("validation", "test")}
    path, identity = kept(job, out)
    path.write_text(json.dumps({"job": identity, "result": result}))
    return result


def test_the_cells(bench: rivals.Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All lines are tuned by as many runs; the best of each is compared at both times, and what is done stays done."""
    by_line = Counter(cell.line for cell in bench.of_rate)
    assert set(by_line.values()) == {6}
    assert by_line.keys() == {BASELINE, *MIXERS}
    assert {cell.entry.config.weight_decay for cell in bench.of_rate} == {5e-4}
    assert bench.cells() == bench.tuning() == bench.of_rate
    assert bench.best() is None
    rivals.listed(bench)
    assert "left: 3.9 hours of processor time" in capsys.readouterr().out
    rivals.told(bench, tmp_path / "rivals.json")
    assert "the lines are not tuned yet" in capsys.readouterr().out
    bench.carry_out(bench.of_rate, Inline())
    assert bench.best() is None
    rivals.listed(bench)
    assert "decay 1, 60 s" in (listed := capsys.readouterr().out)
    assert listed.count("missing") == 15  # three decays of each line
    bench.carry_out(bench.tuning(), Inline())
    best = bench.best()
    assert best is not None
    assert {(cell.entry.layers, cell.entry.peaks[0]) for line, cell in best.items() if line in MIXERS} == {(4, 6e-3)}
    assert best[BASELINE].entry.peaks == (6e-3,)
    assert {cell.entry.config.weight_decay for cell in best.values()} == {0.1}
    assert rivals.at_the_edge(best, bench.lines) == [f"{line}, peak 0.006" for line in MIXERS]
    check_the_table(bench, best)
    rivals.told(bench, tmp_path / "rivals.json")
    printed = capsys.readouterr().out
    assert "The preset is ahead of the best rival, minGRU, 3-tap convolution, 4 blocks: +0.166 ± 0.000" in printed
    assert (
        "Hyena-like: Hyena-like, 4 blocks, peak 0.006, decay 0.1; peak 0.006, decay 0.0005 beyond a minute" in printed
    )
    assert printed.count("beyond a minute") == 1
    assert printed.count("| the preset |") == 5  # of the third minute on the first text alone
    assert json.loads((tmp_path / "rivals.json").read_text())["tables"].keys() == {
        "one, 60 s",
        "one, 180 s",
        "one, 600 s",
        "other, 60 s",
        "other, 600 s",
    }


def check_the_table(bench: rivals.Bench, best: dict[str, rivals.Cell]) -> None:
    """Ten longer runs say which decay each line has beyond a minute; then all cells of the table are known."""
    assert len(bench.cells()) == 45 + 10 + 30
    assert bench.longer() is None
    bench.carry_out(bench.cells()[45:55], Inline())
    longer = bench.longer()
    assert longer is not None
    assert {line: cell.entry.config.weight_decay for line, cell in longer.items()} == dict.fromkeys(best, 0.1) | {
        "Hyena-like": 5e-4
    }
    table, long = bench.cells()[55:-4], bench.cells()[-4:]
    assert [(cell.line, cell.text, cell.seed, cell.seconds) for cell in long] == [
        (line, text, 0, 600.0) for text in bench.texts for line in (BASELINE, "minGRU, 3-tap convolution")
    ]
    assert Counter((cell.line, cell.text, cell.seconds) for cell in table) == dict.fromkeys(
        ((line, text, seconds) for line in best for text in bench.texts for seconds in (60.0, 180.0)), 3
    )
    for cell in table:
        assert cell.entry == (best if cell.seconds == 60 else longer)[cell.line].entry
    assert len({cell.line for cell in table[:5]}) == 5  # the lines in turn
    assert {bench.job(cell)[0].steps for cell in table} == {600, 1800}
    bench.carry_out([*table[:31], *long], Inline())
    done = [bench.result(cell) is not None for cell in table]
    assert done == [True] * 35 + [False] * 25  # five of three minutes were there, and one more


@pytest.mark.parametrize(
    ("ahead", "said"), [((0.1, 0.05), "ahead of"), ((-0.1, 0.05), "behind"), ((0.02, 0.05), "level with")]
)
def test_the_verdict(ahead: tuple[float, float], said: str) -> None:
    """The preset is ahead of the best rival where the mean difference is more than its spread."""
    other: dict[str, Any] = {"name": "r", "shape": "r, 2 blocks", "test": (2.0, 0.1), "test_beside": ahead, "seeds": 3}
    base = {"name": BASELINE, "shape": BASELINE, "test": (1.0, 0.1), "test_beside": (0.0, 0.0), "seeds": 3}
    assert f"The preset is {said} the best rival, r, 2 blocks" in rivals.verdict([base, other])
    assert "nothing follows" not in rivals.verdict([base, other])
    other |= {"seeds": 1, "test_beside": (ahead[0], 0.0)}
    assert "bits/byte on the test split, on one seed: nothing follows from it" in rivals.verdict([base, other])


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_run_of_each(mixer: str, tmp_path: Path) -> None:
    """Each rival is trained and scored as the preset is, with its own depth; a run repeats to the bit."""
    shape = Model(d_model=64, layers=1, seq_len=24, kernel_len=24, kernel_groups=2, chunk=4)
    config = Config(model=shape, batch_size=2, peak=1e-2, final_windows=2)
    job = Job("short", None, mixer, Entry(config, "warmup", (1e-2,), rival=mixer, layers=2), 1, 1e-2, 3)
    one, same = carry_out(job), carry_out(job)
    assert one["test"] == same["test"]
    assert one["first_bits"] == pytest.approx(8.0, abs=0.1)
    assert one["parameters"] == pytest.approx(size_of(config), rel=0.01)
