"""The paths of a GPU on a machine without one: devices and types fit, and no step waits for the device."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from plateau_rule.fftcore import toeplitz
from plateau_rule.fftcore.block import ContextGate
from plateau_rule.fftcore.config import PRESETS, Config
from plateau_rule.fftcore.data import Text, read_text
from plateau_rule.fftcore.device import choose_device
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.muon import orthogonalise
from plateau_rule.fftcore.record import read_record
from plateau_rule.fftcore.train import Stats
from tests.fftcore.fake_cuda import FakeCuda, Waited, backward, fake_cuda
from tests.fftcore.micro import rows, run
from tests.fftcore.test_model import PUBLISHED, SMALL, made, random_bytes

MUON = "plateau_rule.fftcore.muon.orthogonalise"


@pytest.fixture(scope="module")
def text() -> Text:
    """The embedded text."""
    return read_text(None)


@pytest.fixture
def gpu(text: Text) -> Iterator[FakeCuda]:
    """A fake GPU."""
    with fake_cuda() as gpu:
        yield gpu


def small(**changes: Any) -> Config:
    """A small model's config."""
    return Config(model=SMALL, batch_size=2).model_copy(update=changes)


def learner_of(config: Config, text: Text, heads_only: bool = False) -> Learner:
    """A learner on the fake GPU."""
    learner = Learner(config, text, 0, choose_device("cuda"), heads_only)
    learner.turn({"cutoff": 256})
    return learner


def types_of_products(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[torch.dtype]]:
    """Where matrix products run in a step, filled as it is taken: name to types."""
    found: dict[str, set[torch.dtype]] = {"convolution": set(), "muon": set()}
    bands = toeplitz.Layout.bands

    def seen_bands(self: toeplitz.Layout, kernel_GK: Tensor, dtype: torch.dtype) -> Tensor:
        found["convolution"].add(dtype)
        return bands(self, kernel_GK, dtype)

    def seen_muon(wide_NRC: Tensor, product_type: torch.dtype | None = None) -> Tensor:
        found["muon"].add(product_type or wide_NRC.dtype)
        return orthogonalise(wide_NRC, product_type)

    monkeypatch.setattr(toeplitz.Layout, "bands", seen_bands)
    monkeypatch.setattr(MUON, seen_muon)
    return found


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_step(preset: str, published: bool, gpu: FakeCuda, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of each preset, published or not: all on the GPU, products in bfloat16, sums in float32, no waiting."""
    products = types_of_products(monkeypatch)
    config = PRESETS[preset].as_published() if published else PRESETS[preset]
    shape = config.model.model_copy(update={"layers": 2})
    config = config.model_copy(update={"model": shape, "accumulation": 2})
    learner = learner_of(config, text)
    stats = [Stats(learner.step(step, 1e-3)) for step in range(2)]
    assert len([value.read() for value in stats]) == 2
    assert products["convolution"] == {torch.bfloat16}
    assert products["muon"] == (set() if published else {torch.bfloat16})
    moments = [value for kept in learner.optimizer.state.values() for value in kept.values()]
    for value in (*learner.model.parameters(), *learner.model.buffers(), *moments):
        assert isinstance(value, FakeTensor)
        assert str(value.device) == "cuda:0"
        assert value.dtype == torch.float32
    assert len(learner.optimizer.state) == len(learner.parameters)


def test_without_bfloat16(gpu: FakeCuda, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a card that does not compute in bfloat16 all products are in float32."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    products = types_of_products(monkeypatch)
    learner_of(small(), text).step(0, 1e-3)
    assert products == {"convolution": {torch.float32}, "muon": {torch.float32}}


@pytest.mark.parametrize(
    "config",
    [
        small(dropout=0.1),
        small(optimizer="adamw"),
        small(model=SMALL.model_copy(update={"objective": "chunk-last"})),
        small(model=PUBLISHED, optimizer="adamw"),
        small(model=SMALL.model_copy(update={"kernel_len": 1024})),
    ],
)
def test_other_configs(config: Config, gpu: FakeCuda, text: Text) -> None:
    """Dropout, AdamW alone, the published objective and architecture, and the longest kernels take a step as well."""
    learner = learner_of(config, text)
    learner.step(0, 1e-3)
    learner.turn({"cutoff": 512, "kernel_taps": 16, "seq_len": 33, "batch_size": 1, "depth": 1})
    learner.step(1, 1e-3)


def test_the_chunk_head_alone(gpu: FakeCuda, text: Text) -> None:
    """With a frozen backbone a step moves the chunk head's parameters alone."""
    learner = learner_of(small(), text, heads_only=True)
    learner.step(0, 1e-3)
    assert set(learner.optimizer.state) == set(learner.model.chunk_head.parameters())


def test_scores_and_samples(gpu: FakeCuda, text: Text) -> None:
    """Scores, in both ways and of the chunk head, and what the model writes are computed on the GPU."""
    shape = SMALL.model_copy(update={"seq_len": 70, "layers": 1})
    learner = learner_of(small(model=shape, eval_windows=2, final_windows=2), text)
    assert learner.score(final=True).keys() == {"val_loss", "val_bpb", "val_bpb_parallel"}
    assert len(learner.draft_bits()) == SMALL.chunk
    assert len(learner.sample(b"ab", 3, seed=0)) == 3


def test_the_command(
    gpu: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`plateau train --device cuda`, from its first line to its summary: losses a step late, raises, checkpoints."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    out = tmp_path / "run"
    monkeypatch.setattr(Stats, "read", lambda self: (5.0, 5.0, 1.0, False))
    assert run(out, device="cuda") == 0
    assert "peak memory: 1.50 GiB on cuda:0" in capsys.readouterr().out
    record = read_record(out)
    assert (record.device, record.card, record.bound.lag) == ("cuda:0", "a fake card", 1)
    assert [row["step"] for row in rows(out / "metrics.jsonl")] == list(range(32))
    assert [row["step"] for row in rows(out / "decisions.jsonl")] == [16, 24]
    assert json.loads((out / "summary.json").read_text())["state"] == "full"
    assert (out / "checkpoints" / "step-00000032").is_dir()


# The lane can fail


def plant(monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Tensor], Tensor]) -> None:
    """Plant a mistake in the middle of the model."""
    gain = ContextGate.gain
    monkeypatch.setattr(ContextGate, "gain", lambda self, mean: gain(self, mistake(mean)))


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lambda mean: mean + torch.ones(mean.shape), "found at least two devices, cuda:0 and cpu"),
        (lambda mean: mean * mean.max().item(), "Tensor.item"),
        (lambda mean: mean * float(mean.detach().max()), "aten._local_scalar_dense"),
        (lambda mean: mean if mean.max() > 0 else -mean, "Tensor.__bool__"),
        (lambda mean: mean * mean.detach().max().to("cpu"), "aten._to_copy.default from cuda:0 to cpu"),
        (lambda mean: mean + torch.ones(3).to("cuda:0").sum(), "aten._to_copy.default from cpu to cuda:0"),
        (lambda mean: mean[mean > 0].sum() + mean, "aten.nonzero"),
    ],
)
def test_a_planted_mistake(
    mistake: Callable[[Tensor], Tensor], told: str, gpu: FakeCuda, text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canary: a tensor left on the CPU, and each way of waiting for the GPU, fails in the step."""
    plant(monkeypatch, mistake)
    learner = learner_of(small(), text)
    with pytest.raises((RuntimeError, Waited), match=told):
        learner.step(0, 1e-3)


def test_a_device_without_a_number(gpu: FakeCuda, text: Text) -> None:
    """Canary: torch.cuda.set_device refuses a GPU without its number; a learner that is given one is on the first."""
    with pytest.raises(ValueError, match=r"Expected a torch\.device with a specified index"):
        torch.cuda.set_device(torch.device("cuda"))
    assert str(Learner(small(), text, 0, torch.device("cuda"), heads_only=False).device) == "cuda:0"


@pytest.mark.parametrize("shape", [SMALL, PUBLISHED])
def test_the_way_back(shape: Any) -> None:
    """The lane's way back through a graph gives the gradients of torch's own, on tensors that have values."""
    model = made(shape)

    def gradients(go_back: Callable[[Tensor], None]) -> list[Tensor | None]:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            next_loss, chunk_loss = model.losses(random_bytes(2, 158), 3)
        go_back(next_loss + chunk_loss)
        return [parameter.grad for parameter in model.parameters()]

    torch.testing.assert_close(gradients(backward), gradients(torch.autograd.backward))
