"""The transformer of the quality table is a fair one: causal, of the asked size, trained as the model is."""

from __future__ import annotations

from math import log

import pytest
import torch

from benchmarks._rival import RivalLearner
from benchmarks._transformer import HEAD, Transformer, sized
from plateau_rule.fftcore.config import Config, Model
from plateau_rule.fftcore.data import TextInMemory, Windows

CONFIG = Config(model=Model(d_model=16, layers=2, seq_len=32, kernel_groups=1, chunk=4), batch_size=4, peak=1e-2)


def text() -> TextInMemory:
    """A text with something to learn."""
    return TextInMemory(
        torch.frombuffer(bytearray(b"the same words again and again. " * 200), dtype=torch.uint8), "words"
    )


def learner_of(config: Config, seed: int) -> RivalLearner:
    """A learner of a small transformer."""
    torch.manual_seed(seed)
    return RivalLearner(Transformer(40_000, config.model.layers, config.model.seq_len), config, text(), seed)


def test_it_is_causal() -> None:
    """A byte changes nothing that stands before it, and it changes its own position: byte by byte scores the same."""
    torch.manual_seed(0)
    model = Transformer(60_000, 2, 48).eval()
    bytes_BT = torch.randint(256, (2, 48), dtype=torch.uint8)
    edited_BT = bytes_BT.clone()
    edited_BT[:, 30] ^= 1
    with torch.no_grad():
        before, after = model(bytes_BT), model(edited_BT)
        torch.testing.assert_close(before[:, :30], after[:, :30], atol=1e-6, rtol=0)
        assert not torch.allclose(before[:, 30], after[:, 30], atol=1e-4)
        for t in (1, 7, 30, 48):  # decoded byte by byte, as a stream is
            torch.testing.assert_close(model(bytes_BT[:, :t])[:, -1], before[:, t - 1], atol=1e-5, rtol=0)


def test_positions_matter() -> None:
    """The rotary positions tell an order: the same bytes in another order give another prediction."""
    torch.manual_seed(0)
    model = Transformer(60_000, 2, 48).eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.3)
    with torch.no_grad():
        there, back = model(torch.tensor([[1, 2, 3]])), model(torch.tensor([[2, 1, 3]]))
    assert not torch.allclose(there[:, -1], back[:, -1], atol=1e-4)


@pytest.mark.parametrize(("parameters", "layers"), [(100_000, 2), (300_000, 4), (507_268, 4), (7_000_000, 6)])
def test_its_size(parameters: int, layers: int) -> None:
    """It has as many parameters as asked for, to within half a channel of each width, in whole heads."""
    model = Transformer(parameters, layers, 64)
    own = sum(value.numel() for value in model.parameters())
    d_model, width = sized(parameters, layers)
    assert abs(own - parameters) <= layers * d_model
    assert d_model % HEAD == 0
    assert 1 <= width / d_model <= 8


def test_it_learns_the_same_windows() -> None:
    """Its first loss is 8 bits, it reads the windows that the model reads, and it learns them."""
    learner = learner_of(CONFIG, 3)
    windows = Windows(text(), 3, 4, torch.device("cpu"))
    losses = [learner.step(step, 1e-2).item() / log(2) for step in range(80)]
    assert losses[0] == pytest.approx(8.0, abs=0.1)
    assert losses[-1] < 2.5  # their frequencies alone give 3.57
    own = windows.batch(0, batch_size=4, seq_len=32).windows_BW
    assert torch.equal(own, learner.windows.batch(0, batch_size=4, seq_len=32).windows_BW)


def test_its_score_is_the_mean_over_all_bytes() -> None:
    """A score in bits is the mean loss of every byte but the first, whatever the rows are cut into."""
    learner = learner_of(CONFIG, 0)
    windows_BW = text().split("validation")[:180].view(5, 36)
    with torch.no_grad():
        assert learner.bpb(windows_BW) == pytest.approx(learner.loss(windows_BW[:, :33]).item() / log(2), rel=1e-5)


def test_muon_moves_its_matrices() -> None:
    """Muon moves the matrices of its blocks and AdamW the rest, as in the model beside it."""
    learner = learner_of(CONFIG.model_copy(update={"optimizer": "muon"}), 0)
    orthogonal = [group for group in learner.optimizer.param_groups if group.get("orthogonal")]
    matrices = {name for name, value in learner.model.named_parameters() if value.dim() == 2} - {"table.weight"}
    assert len(orthogonal[0]["params"]) == len(matrices) == 2 * 6
    everything = sum(len(group["params"]) for group in learner.optimizer.param_groups)
    assert everything == len(list(learner.model.parameters()))
