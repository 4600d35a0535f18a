"""Ideas on the model: read as they are said, tried beside the preset, judged by one rule, and written down once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from benchmarks import _runs, ideas
from benchmarks._runs import begun, controller_of, size_of, train
from benchmarks.ideas import HEADING, Trial, note, outcome, read_idea, row_of
from benchmarks.quality import BASELINE
from plateau_rule import Controller
from plateau_rule.controller.plan import Plan
from plateau_rule.fftcore.binding import override_config
from plateau_rule.fftcore.config import PRESETS, Config, Model
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.errors import RunError

TINY = PRESETS["tiny"]
PLAIN = TINY.model_copy(update={"model": Model(d_model=128, layers=4, seq_len=256, kernel_groups=4)})
MICRO = Config(
    model=Model(d_model=16, layers=1, seq_len=16, kernel_len=16, kernel_groups=2, chunk=4),
    batch_size=2,
    peak=1e-2,
    final_windows=2,
)


def test_an_idea_is_what_it_changes() -> None:
    """Settings of model, training and run go where they belong, and all else is the preset's."""
    words = ["short_taps=4", "input_gate=true", "kernel_init=decays", "batch_size=4", "average=0.2", "curriculum=taps"]
    entry = read_idea(words)
    shape = TINY.model.model_copy(update={"short_taps": 4, "input_gate": True, "kernel_init": "decays"})
    assert entry.config == TINY.model_copy(update={"model": shape, "batch_size": 4})
    assert (entry.average, entry.curriculum, entry.peaks) == (0.2, "taps", (TINY.peak,))
    assert read_idea([]).config == TINY


@pytest.mark.parametrize("words", [["layers=2", "d_model=fit"], ["mixer_width=128", "feed_width=fit"]])
def test_a_size_can_be_fit(words: list[str]) -> None:
    """A width that is to be fit brings the model to the preset's parameters, to 2 %."""
    assert size_of(read_idea(words, PLAIN).config) == pytest.approx(size_of(PLAIN), rel=0.02)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("taps", "taps: expected NAME=VALUE with one of these names: d_model"),
        ("heads=4", "heads=4: expected NAME=VALUE"),
        ("layers=fit", "layers=fit: one of d_model and feed_width can be fit"),
        ("average=2", "average=2: expected a share of the run"),
        ("short_taps=-1", "--short-taps -1; expected a number greater than or equal to 0"),
    ],
)
def test_what_cannot_be_read(word: str, said: str) -> None:
    """A word that says nothing is refused in a sentence, and so is a model that cannot be."""
    with pytest.raises((ValueError, RunError), match=said):
        read_idea([word])


def test_what_follows_another_setting() -> None:
    """Another feed-forward or width takes that one's own hidden channels, as `plateau train` does."""
    assert read_idea(["feed=gelu"]).config == override_config(TINY, {"feed": "gelu"})
    assert read_idea(["feed=gelu"]).config.model.feed_width == 0
    assert read_idea(["feed=gelu", "feed_width=200"]).config.model.feed_width == 200


def test_a_size_that_cannot_be_fit() -> None:
    """Where the mixers alone are too large, no feed-forward is narrow enough, and that is said."""
    with pytest.raises(ValueError, match="feed_width=fit: at 1 there are"):
        read_idea(["mixer_width=256", "feed_width=fit"], PLAIN)


def test_constant_then_decay() -> None:
    """The rate of constant-then-decay stays at its peak for half the run, then falls along a line to 5 %."""
    controller, rates = controller_of(read_idea(["curriculum=constant-then-decay"], MICRO), 100, 1.0), []
    while (plan := controller.plan).stop is None:
        rates.append(plan.lr)
        controller.observe(1.0)
    assert set(rates[:50]) == {1.0}
    steps = {round(one - other, 9) for one, other in pairwise(rates[51:])}
    assert len(steps) == 1
    assert rates[-1] == pytest.approx(0.05, abs=0.03)


def test_weights_are_averaged() -> None:
    """With an average the model is left with the mean of the weights after each of the last steps."""
    text, entry = read_text(None), read_idea([], MICRO)

    def weights(steps: int, averaged_from: int | None) -> Tensor:
        """Those after some of a run's five steps."""
        learner, controller = begun(entry, text, 0), FirstSteps(controller_of(entry, 5, 1e-2), steps)
        train(learner, cast("Controller", controller), averaged_from)
        return torch.cat([value.detach().flatten() for value in learner.model.parameters()])

    torch.testing.assert_close(weights(5, 3), (weights(4, None) + weights(5, None)) / 2)
    assert torch.equal(weights(5, 4), weights(5, None))


class FirstSteps:
    """A controller whose run is cut off after some steps."""

    def __init__(self, controller: Controller, steps: int) -> None:
        self.controller, self.steps = controller, steps

    @property
    def plan(self) -> Plan:
        """The controller's, or its end."""
        plan = self.controller.plan
        return plan if plan.step < self.steps else plan._replace(stop="cut off")

    def observe(self, loss: float) -> None:
        """Show it a loss."""
        self.controller.observe(loss)


@pytest.mark.parametrize(
    ("by_seed", "said"),
    [([-0.02, -0.01, -0.03], "kept"), ([-0.04, 0.001, -0.04], "dropped"), ([-0.009] * 3, "dropped")],
)
def test_the_rule(by_seed: list[float], said: str) -> None:
    """Kept is what is better at every seed, and by 0.01 in the mean."""
    assert outcome(by_seed) == said


def test_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial runs preset and idea with every seed, goes on where it was cut off, and writes its line down once."""
    text, log = tmp_path / "text", tmp_path / "log.md"
    text.write_bytes(bytes(range(32, 128)) * 100)
    log.write_text("# What was tried\n\n| a | b |\n")
    monkeypatch.setattr(ideas, "texts", lambda: {"short": text})
    times: dict[str, Any] = {BASELINE: 0.1, "short_taps=3": 0.2}
    monkeypatch.setattr(ideas, "step_times", lambda *given: times)
    trial = Trial(["short_taps=3"], "short", 1.0, tmp_path / "out", 1, MICRO)
    assert trial.steps == {BASELINE: 10, "short_taps=3": 5}
    trial.carry_out([0])
    assert row_of(trial) is None
    trial.carry_out(range(3))
    monkeypatch.setattr(_runs, "carry_out", lambda job: pytest.fail("it was run again"))
    trial.carry_out(range(3))
    row = row_of(trial)
    assert row is not None
    assert row.startswith("| `short_taps=3` | short, 1 s | ")
    assert row.endswith((" | kept |", " | dropped |"))
    for _ in range(2):
        note(row, log)
    said = log.read_text()
    assert said.startswith("# What was tried\n\n| a | b |\n\n" + HEADING)
    assert said.count(row) == said.count("short_taps=3") == 1
    assert said.endswith(row + "\n")
