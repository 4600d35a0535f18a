"""Generation: the text of a seed is the same with drafts and without, and drawn as the logits say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.fftcore import generate as module
from plateau_rule.fftcore.config import PRESETS, Model
from plateau_rule.fftcore.evaluate import scoring
from plateau_rule.fftcore.generate import GumbelNoise, Sampling, Writer, generate, same_bits
from plateau_rule.fftcore.model import SpectralLM
from tests.fftcore.test_evaluate import LEARNING, trained
from tests.fftcore.test_model import OPTIONS, PUBLISHED, SMALL, WITH_OPTIONS, made, random_bytes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def learned() -> SpectralLM:
    """A model that has learned a little, so that some of its drafts are right."""
    return trained(LEARNING, 150)[0].eval()


def text_of(writer: Writer, count: int) -> bytes:
    """What a writer writes, `count` bytes of it."""
    text = b""
    while len(text) < count:
        text += writer.more(count - len(text))
    return text


def test_generation_repeats() -> None:
    """The same seed draws the same bytes, as many as were asked for; another seed draws others."""
    model = made(SMALL)
    drawn = generate(model, b"To be", 40, seed=1)
    assert len(drawn) == 40
    assert generate(model, b"To be", 40, seed=1) == drawn
    assert generate(model, b"To be", 40, seed=2) != drawn
    assert generate(model, b"To be", 0) == b""


@torch.no_grad()
def test_generation_is_the_model_s_own() -> None:
    """At temperature 0 each byte is the likeliest one after all before it, as one pass over them says."""
    model = made(SMALL)
    text = b"To be"
    for byte in generate(model, text, 30, temperature=0):
        logits_TBV = model(torch.tensor([list(text)], dtype=torch.uint8))
        assert byte == int(logits_TBV[-1, 0].argmax())
        text += bytes([byte])


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_nothing_is_written_by_a_ruined_model(temperature: float) -> None:
    """A model whose logits are not finite writes nothing, says so, and is left in the mode it was in."""
    model = made(SMALL).train()
    with torch.no_grad():
        model.table.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="byte 0 of what the model writes: its logits are not finite"):
        generate(model, b"ab", 3, temperature=temperature)
    assert model.training


@pytest.fixture
def exact(learned: SpectralLM) -> SpectralLM:
    """The same, on a machine on which it can draft: it is the matrix products of the machine that say."""
    with torch.no_grad():
        if not same_bits(learned, module.DRAFTS + 1):
            pytest.skip("on this machine, the bits of a row depend on where it stands in a product")
    return learned


@pytest.mark.parametrize("cutoff_bins", [128, 1025])
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_draft(exact: SpectralLM, preset: str, published: bool, cutoff_bins: int) -> None:
    """Where any model can draft, every preset can: a byte has the same bits, read alone or behind others."""
    config = PRESETS[preset].as_published() if published else PRESETS[preset]
    with torch.no_grad():
        assert same_bits(made(config.model, cutoff_bins=cutoff_bins), module.DRAFTS + 1)


@pytest.mark.parametrize("options", OPTIONS)
def test_options_can_draft(exact: SpectralLM, options: dict[str, Any]) -> None:
    """A model with any of its options can draft as well; a SwiGLU of its default width, others may write without."""
    width = {"feed_width": 0} if options.get("feed") == "swiglu" else {}
    gelu = {"memory": False, "feed": "gelu", "feed_width": 0}
    shape = PRESETS["tiny"].model.model_copy(update={"layers": 2, **gelu, **options, **width})
    with torch.no_grad():
        assert same_bits(made(shape, cutoff_bins=128), module.DRAFTS + 1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    prompt=st.binary(min_size=1, max_size=150),
    count=st.integers(1, 150),
    temperature=st.sampled_from([0.0, 0.3, 0.8, 1.0, 1.5]),
    top_p=st.sampled_from([0.5, 0.9, 1.0]),
)
def test_drafts_change_no_byte(
    learned: SpectralLM, seed: int, prompt: bytes, count: int, temperature: float, top_p: float
) -> None:
    """Whatever is asked for, the text with drafts is the one that is drawn byte by byte, to the byte."""
    given = {"seed": seed, "temperature": temperature, "top_p": top_p}
    byte_by_byte = generate(learned, prompt, count, drafts=False, **given)  # type: ignore[arg-type]
    assert generate(learned, prompt, count, **given) == byte_by_byte  # type: ignore[arg-type]


def test_drafts_save_passes(exact: SpectralLM) -> None:
    """Drafts that are right save passes of the model, and each pass writes what was drawn: nothing is lost."""
    with scoring(exact):
        writer = Writer(exact, b"To be", Sampling(), 0)
        assert len(text_of(writer, 500)) == writer.written == 500
    assert writer.count.passes == 500 - writer.count.kept
    assert 50 < writer.count.kept < writer.count.drafted


def test_canary_wrong_drafts(exact: SpectralLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: a writer that trusts its drafts writes another text."""
    expected = generate(exact, b"To be", 100, seed=3, drafts=False)
    monkeypatch.setattr(Writer, "_draft", lambda self, hidden_D: b"zq")
    assert generate(exact, b"To be", 100, seed=3) == expected
    draw = Sampling.draw

    def trusting(self: Sampling, logits_RV: Tensor, noise_RV: Tensor) -> Tensor:
        drawn_R = draw(self, logits_RV, noise_RV)
        return torch.tensor([*b"zq", int(drawn_R[-1])]) if len(drawn_R) == 3 else drawn_R

    monkeypatch.setattr(Sampling, "draw", trusting)
    assert generate(exact, b"To be", 100, seed=3) != expected


def test_drafts_that_do_not_pay_are_given_up(exact: SpectralLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk head that is hardly ever right is asked no more after a while, and the text is the same."""
    monkeypatch.setattr(Writer, "_draft", lambda self, hidden_D: b"\0\0")
    count = 3 * module.TRIED_PASSES
    with scoring(exact):
        writer = Writer(exact, b"To be", Sampling(), 0)
        text = text_of(writer, count)
    assert writer.drafts == 0
    assert 0 < writer.count.drafted <= 2 * module.TRIED_PASSES
    assert text == generate(exact, b"To be", count, drafts=False)


def test_drafts_that_cannot_be_exact_are_not_made(learned: SpectralLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a byte that is read behind others has other bits than one that is read alone, nothing is drafted."""
    monkeypatch.setattr(module, "same_bits", lambda model, rows: False)
    with scoring(learned):
        assert Writer(learned, b"To be", Sampling(), 0).drafts == 0


def test_other_bits_are_seen(exact: SpectralLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: logits that differ in the last bit where a byte is read behind another are seen."""
    logits = SpectralLM.logits

    def off(self: SpectralLM, hidden: Tensor) -> Tensor:
        found = logits(self, hidden)
        found[1:] = torch.nextafter(found[1:], found[1:] + 1)
        return found

    with scoring(exact), torch.no_grad():
        assert same_bits(exact, 3)
        monkeypatch.setattr(SpectralLM, "logits", off)
        assert not same_bits(exact, 3)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.0, 0.8), (2.0, 0.95)])
def test_draws_follow_the_logits(temperature: float, top_p: float) -> None:
    """Over many positions, bytes are drawn as often as temperature and top-p say, and no others ever."""
    logits_V = torch.full((256,), -torch.inf)
    logits_V[:5] = torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0])
    share_V = torch.softmax(logits_V / temperature, 0)
    kept, total = [], 0.0
    for byte in share_V.argsort(descending=True).tolist():
        if total >= top_p:
            break
        kept.append(byte)
        total += float(share_V[byte])
    noise, draws = GumbelNoise(0, CPU), 20_000
    drawn = Counter(
        byte
        for at in range(0, draws, 500)
        for byte in Sampling(temperature, top_p).draw(logits_V.expand(500, 256), noise.at(at, 500)).tolist()
    )
    assert drawn.keys() <= {*kept}
    for byte in kept:
        expected = float(share_V[byte]) / total
        assert abs(drawn[byte] / draws - expected) < 4 * (expected * (1 - expected) / draws) ** 0.5 + 1e-9


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, 300), min_size=1, max_size=12))
def test_noise_is_a_function_of_the_position(cuts: list[int]) -> None:
    """However the positions are asked for, each has its own random numbers, and those of the seed."""
    whole_PV = GumbelNoise(7, CPU).at(0, sum(cuts))
    noise, at = GumbelNoise(7, CPU), 0
    for count in cuts:
        assert torch.equal(noise.at(at, count), whole_PV[at : at + count])
        at += count


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cutoff_bins=st.integers(1, 1025),
    taps=st.integers(1, 48),
    shape=st.sampled_from([SMALL, PUBLISHED, *WITH_OPTIONS]),
    data=st.data(),
)
@torch.no_grad()
def test_blocks_read_as_one_pass(seed: int, cutoff_bins: int, taps: int, shape: Model, data: st.DataObject) -> None:
    """Read in pieces of any size, some of them twice, a stream has the logits of one pass, to 1e-10 in float64."""
    model = made(shape, seed, cutoff_bins, taps).double()
    bytes_BT = random_bytes(2, 400, seed)
    expected_TBV = model(bytes_BT)
    stream = model.stream(2)
    while stream.position < 400:
        most = min(stream.left, 400 - stream.position)
        model.read(random_bytes(2, data.draw(st.integers(1, most)), seed + 1), stream)  # a guess, forgotten
        count = data.draw(st.integers(1, most))
        at = stream.position
        found_WBV = model.logits(model.read(bytes_BT[:, at : at + count], stream))
        torch.testing.assert_close(found_WBV, expected_TBV[at : at + count], rtol=0, atol=1e-10)
        model.advance(stream, data.draw(st.integers(1, count)))


def test_more_than_a_block_is_refused() -> None:
    """No more is read at once than is left of the current block of 64 bytes."""
    model = made(SMALL)
    stream = model.stream(1)
    model.read(random_bytes(1, 64), stream)
    model.advance(stream, 10)
    with pytest.raises(ValueError, match="55 bytes at once; at most 54 are left of the current block"):
        model.read(random_bytes(1, 55), stream)
