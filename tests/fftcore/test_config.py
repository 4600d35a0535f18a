"""The presets and what they may be changed to."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from plateau_rule.fftcore.binding import override_config
from plateau_rule.fftcore.config import DEFAULT_PRESET, PRESETS, Model
from plateau_rule.fftcore.model import SpectralLM


def test_base_is_the_published_run() -> None:
    """The preset base has the published run's shape and training, its 32 windows in one forward pass."""
    base = PRESETS["base"]
    shape = base.model
    assert (shape.seq_len, shape.kernel_len, shape.chunk, shape.d_model, shape.layers) == (1024, 128, 16, 512, 6)
    assert (base.batch_size, base.accumulation, base.weight_decay, base.grad_clip) == (32, 1, 5e-4, 1.0)
    assert base.dropout == 0
    assert base.peak is None  # the curriculum's: plateau.toml says 2e-4


def test_default_preset() -> None:
    """What is trained without being asked for is made for a CPU."""
    assert sum(value.numel() for value in SpectralLM(PRESETS[DEFAULT_PRESET].model).parameters()) < 500_000


@pytest.mark.parametrize("preset", PRESETS)
def test_as_published(preset: str) -> None:
    """A published model has the preset's size, one kernel a block, the chunk at the window's end; and its training."""
    published = PRESETS[preset].as_published()
    assert Model.model_validate(published.model.model_dump()) == published.model
    assert (published.model.published, published.model.kernel_groups) == (True, 1)
    assert published.model.objective == "chunk-last"
    assert (published.optimizer, published.weight_decay, published.dropout) == ("adamw", 5e-4, 0.1)
    assert published.model.d_model == PRESETS[preset].model.d_model


@pytest.mark.parametrize(
    "change",
    [
        {"d_model": 0},
        {"layers": -1},
        {"kernel_groups": 3},
        {"heads": 4},
        {"objective": "best"},
        {"published": True, "kernel_groups": 2},
        {"zero_phase": True},
        {"mixer_width": 10, "kernel_groups": 4},
        {"short_taps": -1},
        {"kernel_init": "ones"},
        {"published": True, "kernel_groups": 1, "input_gate": True},
        {"published": True, "kernel_groups": 1, "decay": True},
        {"draft_every": 24},
        {"published": True, "kernel_groups": 1, "feed": "swiglu"},
    ],
)
def test_bad_shapes(change: dict[str, object]) -> None:
    """A shape that cannot be built is refused, and so is a word that is not known."""
    with pytest.raises(ValidationError):
        Model.model_validate({"d_model": 16, "layers": 1, "seq_len": 8} | change)


def test_frozen() -> None:
    """A config cannot be changed once it is made."""
    with pytest.raises(ValidationError, match="frozen"):
        PRESETS["tiny"].batch_size = 3


def test_what_follows_another_setting() -> None:
    """Another width or another feed-forward takes that one's own hidden channels, and another chunk its own drafts."""
    tiny = PRESETS["tiny"]
    assert tiny.model.feed_width > 0 < tiny.model.draft_every
    assert override_config(tiny, {"d_model": 64}).model.feed_width == 0
    assert override_config(tiny, {"feed": "gelu"}).model.feed_width == 0
    assert override_config(tiny, {"chunk": 12}).model.draft_every == 0
    assert override_config(tiny, {"chunk": 12, "draft_every": 36}).model.draft_every == 36
    assert override_config(tiny, {"layers": 4, "memory": False}).model.feed_width == tiny.model.feed_width


def test_what_the_preset_has_may_be_said() -> None:
    """A value that is the preset's own changes nothing when it is given: what follows it stays as well."""
    for preset in PRESETS.values():
        for name, value in preset.model.model_dump().items():
            assert override_config(preset, {name: value}) == preset, name


def test_published_has_nothing_of_ours() -> None:
    """A published model takes a preset's size, and none of what the preset adds."""
    shape = PRESETS["tiny"].as_published().model
    assert shape == Model(d_model=160, layers=2, seq_len=256, published=True, kernel_groups=1, objective="chunk-last")
