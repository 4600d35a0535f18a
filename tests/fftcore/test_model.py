"""The model: causal at every cutoff, the same byte by byte as in one pass, and about 8 bits at first."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.utils import counters

from plateau_rule.fftcore import spectral, toeplitz
from plateau_rule.fftcore.block import Block, Mixer
from plateau_rule.fftcore.config import PRESETS, Model
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.short import ShortFilter

SMALL = Model(d_model=16, layers=2, seq_len=150, kernel_len=48, kernel_groups=4, chunk=8)
PUBLISHED = SMALL.model_copy(update={"published": True, "kernel_groups": 1, "objective": "chunk-last"})
ZERO_PHASE = PUBLISHED.model_copy(update={"zero_phase": True, "objective": "dense"})
OPTIONS: tuple[dict[str, Any], ...] = (
    {"short_taps": 4},
    {"input_gate": True},
    {"mixer_width": 24, "feed_width": 20},
    {"kernel_init": "decays"},
    {"decay": True},
    {"memory": True},
    {"draft_every": 32},
    {"feed": "swiglu"},
    {
        "short_taps": 3,
        "input_gate": True,
        "mixer_width": 24,
        "feed_width": 20,
        "kernel_init": "decays",
        "decay": True,
        "feed": "swiglu",
    },
    {"memory": True, "feed": "swiglu", "draft_every": 16},
)
WITH_OPTIONS = [SMALL.model_copy(update=options) for options in OPTIONS]
CUTOFFS = (128, 256, 512, 1025)


def made(shape: Model, seed: int = 0, cutoff_bins: int = 1025, taps: int | None = None) -> SpectralLM:
    """A model whose every parameter has moved away from where it began."""
    torch.manual_seed(seed)
    model = SpectralLM(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.restrict(cutoff_bins, taps)
    return model.eval()


def random_bytes(B: int, T: int, seed: int = 0) -> Tensor:
    """Bytes, uint8, (B, T)."""
    return torch.randint(256, (B, T), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def first_change(model: SpectralLM, bytes_BT: Tensor, position: int) -> int:
    """The first position of whose logits a bit changes when the byte at `position` does; T if there is none."""
    changed_BT = bytes_BT.clone()
    changed_BT[:, position] ^= 1
    differs_T = (model(bytes_BT) != model(changed_BT)).any(-1).any(-1)
    return int(differs_T.nonzero()[0]) if differs_T.any() else bytes_BT.shape[1]


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("cutoff_bins", CUTOFFS)
def test_causal_in_every_preset(preset: str, cutoff_bins: int, published: bool) -> None:
    """In every preset at every cutoff, a changed byte changes logits from its position on, and no bit before."""
    config = PRESETS[preset]
    shape = (config.as_published() if published else config).model
    model = made(shape, cutoff_bins=cutoff_bins)
    T = min(shape.seq_len, 400)
    bytes_BT = random_bytes(1, T)
    for position in (70, T - 3):
        assert first_change(model, bytes_BT, position) == position


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    T=st.integers(2, 200),
    cutoff_bins=st.integers(1, 1025),
    taps=st.integers(1, 48),
    shape=st.sampled_from([SMALL, PUBLISHED, *WITH_OPTIONS]),
    data=st.data(),
)
def test_causal_at_any_knob(seed: int, T: int, cutoff_bins: int, taps: int, shape: Model, data: st.DataObject) -> None:
    """At any cutoff, number of taps and length, no bit changes before a changed byte."""
    model = made(shape, seed, cutoff_bins, taps)
    position = data.draw(st.integers(0, T - 1))
    assert first_change(model, random_bytes(2, T, seed), position) >= position


@pytest.mark.parametrize("cutoff_bins", CUTOFFS)
def test_zero_phase_is_not_causal(cutoff_bins: int) -> None:
    """Canary: in the published model as it was, a changed byte changes what stands before it, at every cutoff."""
    model = made(ZERO_PHASE, cutoff_bins=cutoff_bins)
    assert first_change(model, random_bytes(1, 150), 100) < 100


@pytest.mark.parametrize("shape", [SMALL, PUBLISHED, *WITH_OPTIONS])
@pytest.mark.parametrize("cutoff_bins", CUTOFFS)
@torch.no_grad()
def test_prefix(cutoff_bins: int, shape: Model) -> None:
    """A prefix has the logits that the window begins with, whatever its length, to 1e-12 in float64."""
    model = made(shape, cutoff_bins=cutoff_bins).double()
    bytes_BT = random_bytes(2, 200)
    whole_TBV = model(bytes_BT)
    for length in (1, 63, 64, 65, 150):
        torch.testing.assert_close(model(bytes_BT[:, :length]), whole_TBV[:length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [SMALL, PUBLISHED, ZERO_PHASE, *WITH_OPTIONS])
@pytest.mark.parametrize("cutoff_bins", [128, 1025])
@torch.no_grad()
def test_stream(cutoff_bins: int, shape: Model) -> None:
    """Byte by byte the logits are those of one pass; canary: in the published model as it was they are not."""
    model = made(shape, cutoff_bins=cutoff_bins).double()
    bytes_BT = random_bytes(3, 200)
    streams = model.stream(3)
    streamed_TBV = torch.stack([model.logits(model.step(bytes_BT[:, t], streams)) for t in range(200)])
    same = (streamed_TBV - model(bytes_BT)).abs().max() < 1e-10
    assert same == (not shape.zero_phase)


@pytest.mark.parametrize("shape", [SMALL, *WITH_OPTIONS[-2:]])
@torch.no_grad()
def test_stream_does_not_grow(shape: Model) -> None:
    """What a stream remembers is as large after 1000 bytes as at its beginning."""
    model = made(shape)
    stream = model.stream(1)

    def remembered() -> int:
        kept = [value for mixer in stream.mixers for value in vars(mixer).values()]
        kept += [band for bands in kept if isinstance(bands, dict) for band in bands.values()]
        return sum(value.numel() for value in kept if isinstance(value, Tensor))

    model.step(torch.tensor([1]), stream)
    before = remembered()
    for t in range(1000):
        model.step(torch.tensor([t % 256]), stream)
    assert remembered() == before


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
@torch.no_grad()
def test_first_loss(preset: str, published: bool) -> None:
    """Before training, both heads of every preset stand at 8.0 ± 0.1 bits per byte, at a low and the full cutoff."""
    config = PRESETS[preset]
    shape = (config.as_published() if published else config).model
    text_N = read_text(None).split("train")
    window_BW = text_N[: 4 * 100_000].view(4, -1)[:, : 256 + shape.chunk]
    for seed in range(3):
        torch.manual_seed(seed)
        model = SpectralLM(shape)
        for cutoff_bins in (128, 1025):
            model.restrict(cutoff_bins)
            for loss in model.losses(window_BW, 3):
                assert loss.item() / log(2) == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_first_loss_with_options(options: dict[str, Any]) -> None:
    """With every option of a model the first loss is 8.0 ± 0.1 bits as well."""
    torch.manual_seed(0)
    shape = PRESETS["tiny"].model.model_copy(
        update={name: 6 * value if "width" in name else value for name, value in options.items()}
    )
    window_BW = read_text(None).split("train")[: 4 * 272].view(4, -1)
    for loss in SpectralLM(shape).losses(window_BW, 3):
        assert loss.item() / log(2) == pytest.approx(8.0, abs=0.1)


@torch.no_grad()
def test_options_that_are_off_cost_nothing() -> None:
    """Without options a block has no parts of theirs, and mixes by the fused convolution alone, to the bit."""
    model, x_TBD = made(SMALL, cutoff_bins=256), torch.randn(150, 2, 16)
    parts = ("short", "input_gate", "enter", "leave", "decay", "update", "candidate")
    assert not any(word in name for name in model.state_dict() for word in parts)
    for block in model.blocks:
        assert isinstance(block, Block)
        mixer = block.mixer
        assert isinstance(mixer, Mixer)
        weights = (mixer.kernel(), mixer.content.weight_GWW, mixer.content.bias_G1W)
        expected_TBD = spectral.convolve_gated(x_TBD, *weights, mixer.context(x_TBD), 64)
        assert torch.equal(mixer(x_TBD), expected_TBD)


@torch.no_grad()
def test_options_that_are_neutral_change_nothing() -> None:
    """A short filter of one tap of 1, a gate of 1 and maps that are the identity leave every bit as it was."""
    model = made(SMALL, cutoff_bins=256)
    same = {"short_taps": 3, "input_gate": True, "mixer_width": 16, "feed_width": 32}
    other = made(SMALL.model_copy(update=same), cutoff_bins=256)
    other.load_state_dict(model.state_dict(), strict=False)
    for block in other.blocks:
        assert isinstance(block, Block)
        mixer = block.mixer
        assert isinstance(mixer, Mixer)
        for name, value in mixer.named_parameters():
            if name in {"enter.weight", "leave.weight"}:
                value.copy_(torch.eye(16))
            elif name.startswith(("short", "input_gate")):
                value.zero_()
        assert mixer.short is not None
        assert mixer.input_gate is not None
        mixer.short.taps_KD[0], mixer.input_gate.bias_G1W[:] = 1, 1
    bytes_BT = random_bytes(2, 150)
    assert torch.equal(other(bytes_BT), model(bytes_BT))


@pytest.mark.parametrize(("T", "taps"), [(1, 4), (2, 4), (9, 1), (9, 3)])
def test_short_filter(T: int, taps: int) -> None:
    """The short filter is the sum of taps times earlier inputs, written out; its gradients are those of that sum."""
    torch.manual_seed(0)
    short, x_TBD = ShortFilter(3, taps).double(), torch.randn(T, 2, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        short.taps_KD.normal_()
    lagged = [F.pad(x_TBD, (0, 0, 0, 0, k, 0))[:T] * short.taps_KD[k] for k in range(taps)]
    expected_TBD = torch.stack(lagged).sum(0)
    torch.testing.assert_close(short(x_TBD), expected_TBD, rtol=0, atol=1e-12)
    upstream_TBD = torch.randn(T, 2, 3, dtype=torch.float64)
    found = torch.autograd.grad(short(x_TBD), (x_TBD, short.taps_KD), upstream_TBD)
    expected = torch.autograd.grad(expected_TBD, (x_TBD, short.taps_KD), upstream_TBD)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("draft_every", [0, 16])
@pytest.mark.parametrize("phase", [0, 3, 7])
@pytest.mark.parametrize("T", [5, 40])
@torch.no_grad()
def test_losses_are_the_definition(T: int, phase: int, draft_every: int) -> None:
    """Both losses are the mean negative log-likelihoods of the bytes that come next, written out."""
    model, apart = made(SMALL.model_copy(update={"draft_every": draft_every})).double(), draft_every or SMALL.chunk
    chunk = SMALL.chunk
    window_BW = random_bytes(2, T + chunk)
    hidden_TBD = model.hidden(window_BW[:, :T])
    next_loss, chunk_loss = model.losses(window_BW, phase)
    spelled = [
        -F.log_softmax(model.logits(hidden_TBD[t, b]), -1)[window_BW[b, t + 1].long()]
        for b in range(2)
        for t in range(T)
    ]
    torch.testing.assert_close(next_loss, torch.stack(spelled).mean())
    drafted = [
        -F.log_softmax(model.draft(hidden_TBD[t, b])[offset], -1)[window_BW[b, t + 1 + offset].long()]
        for b in range(2)
        for t in (min(phase * (apart // chunk) + apart * n, T - 1) for n in range(max(1, T // apart)))
        for offset in range(chunk)
    ]
    torch.testing.assert_close(chunk_loss, torch.stack(drafted).mean())


@torch.no_grad()
def test_published_objective_is_the_definition() -> None:
    """Under the published objective both losses are of the bytes after a window: the first one, and a whole chunk."""
    model = made(PUBLISHED).double()
    window_BW = random_bytes(2, 40 + PUBLISHED.chunk)
    hidden_TBD = model.hidden(window_BW[:, :40])
    spelled_BO = torch.tensor(
        [
            [-F.log_softmax(model.draft(hidden_TBD[-1, b])[o], -1)[window_BW[b, 40 + o].long()] for o in range(8)]
            for b in range(2)
        ]
    )
    next_loss, chunk_loss = model.losses(window_BW, 3)
    torch.testing.assert_close(next_loss, spelled_BO[:, 0].mean(), check_dtype=False)
    torch.testing.assert_close(chunk_loss, spelled_BO.mean(), check_dtype=False)
    torch.testing.assert_close(model.logits(hidden_TBD), model.draft(hidden_TBD)[..., 0, :])


@pytest.mark.parametrize("shape", [SMALL, PUBLISHED, *WITH_OPTIONS])
def test_every_parameter_learns(shape: Model) -> None:
    """Each parameter gets a gradient that is finite and not all zero."""
    model = made(shape, cutoff_bins=256)
    next_loss, chunk_loss = model.losses(random_bytes(2, 158), 3)
    torch.autograd.backward(next_loss + chunk_loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("shape", [SMALL, *WITH_OPTIONS[-2:]])
def test_knobs_are_not_weights(shape: Model) -> None:
    """What is saved of a model does not depend on the knobs, so that a checkpoint never brings a cutoff with it."""
    one, other = made(shape, cutoff_bins=128, taps=16), made(shape)
    assert one.state_dict().keys() == other.state_dict().keys() == dict(one.named_parameters()).keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


# Decays have small gradients, sums that nearly cancel: what is before and after them is in bfloat16, they are not.
IN_BFLOAT16 = [
    SMALL,
    WITH_OPTIONS[-2].model_copy(update={"decay": False, "feed": "gelu"}),
    SMALL.model_copy(update={"feed": "swiglu"}),
    SMALL.model_copy(update={"memory": True}),
]


@pytest.mark.parametrize("shape", IN_BFLOAT16)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_bfloat16(device: str, shape: Model) -> None:
    """Under autocast, gradients are those on a CPU in float64, as near as bfloat16 comes."""
    window_BW = random_bytes(4, 158)

    def gradients(model: SpectralLM, window_BW: Tensor) -> tuple[Tensor, ...]:
        next_loss, chunk_loss = model.losses(window_BW, 3)
        return torch.autograd.grad(next_loss + chunk_loss, list(model.parameters()))

    with torch.autocast(device, torch.bfloat16):
        found = gradients(made(shape).to(device), window_BW.to(device))
    for one, other in zip(found, gradients(made(shape).double(), window_BW), strict=True):
        assert (one.double().cpu() - other).norm() <= 0.05 * other.norm()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, while it traces
@pytest.mark.parametrize(
    ("shape", "together"),
    [(SMALL, True), (SMALL, False), (PUBLISHED, False), *((shape, False) for shape in WITH_OPTIONS[-2:])],
)
def test_compiled(shape: Model, together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled, the model is one graph with the same losses and gradients; knobs and phases compile nothing anew."""
    monkeypatch.setitem(toeplitz.TOGETHER, "cpu", together)
    model = made(shape.model_copy(update={"layers": 1 + shape.memory})).train()
    window_BW = random_bytes(2, 128 + 8)

    def graphs() -> int:
        return int(counters["stats"]["unique_graphs"])

    def taken(losses: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], phase: int) -> list[Tensor]:
        next_loss, chunk_loss = losses(window_BW, torch.tensor(phase))
        gradients = torch.autograd.grad(next_loss + chunk_loss, list(model.parameters()))
        return [next_loss.detach(), chunk_loss.detach(), *gradients]

    torch.compiler.reset()
    losses = torch.compile(model.losses, backend="aot_eager", fullgraph=True)
    before = graphs()
    for cutoff_bins, taps, phase in ((1025, 48, 0), (128, 16, 3), (512, 48, 7)):
        model.restrict(cutoff_bins, taps)
        for found, expected in zip(taken(losses, phase), taken(model.losses, phase), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert graphs() == before + 1


def test_gate_lags_behind() -> None:
    """The context gate holds through a block of 64 bytes and is neutral in the first, which has nothing before it."""
    model = made(SMALL)
    block = model.blocks[0]
    assert isinstance(block, Block)
    assert isinstance(block.mixer, Mixer)
    context = block.mixer.context
    x_TBD = torch.randn(200, 1, 16)
    for T, blocks in ((1, 1), (64, 1), (65, 2), (128, 2), (200, 4)):
        gain_NBD = context(x_TBD[:T])
        assert len(gain_NBD) == blocks
        torch.testing.assert_close(gain_NBD[0, 0], context.gain(torch.zeros(16)))
        for n in range(1, blocks):
            torch.testing.assert_close(gain_NBD[n, 0], context.gain(x_TBD[: 64 * n, 0].mean(0)))
