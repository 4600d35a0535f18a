"""The depth knob: the first blocks run, one that enters changes nothing at first, what does not run costs nothing."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo import config as dynamo
from torch._dynamo.utils import counters

from plateau_rule import loads
from plateau_rule.controller.soundness import require_sound
from plateau_rule.fftcore.binding import bind_to_trainer, override_config
from plateau_rule.fftcore.checkpoint import read_commit
from plateau_rule.fftcore.config import PRESETS, Config, Model
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.evaluate import bpb_parallel, bpb_stream
from plateau_rule.fftcore.export import read_export, write_export
from plateau_rule.fftcore.generate import generate
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.reading import read_trained
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.fftcore.storage import Disk
from plateau_rule.fftcore.tensors import read_tensors
from tests.conftest import ROOT
from tests.fftcore.micro import rows, run
from tests.fftcore.ranked import differences, ranked
from tests.fftcore.test_model import PUBLISHED, SMALL, first_change, made, random_bytes
from tests.fftcore.test_signals import in_steps

LAYERS = 3
DEEP, DEEP_PUBLISHED = (shape.model_copy(update={"layers": LAYERS}) for shape in (SMALL, PUBLISHED))
HEAD = b"""
name = "deeper"
run = { epochs = 3, steps_per_epoch = 4 }
lr = { peak = 1e-2, shape = "cosine", length = "rest" }
"""
KNOB = b"knob = { depth = { ladder = [1, 2, 3] } }\n"


def ladder(*depths: int, dwell: int = 4) -> bytes:
    """A curriculum that goes through some depths."""
    states = ", ".join(f'{{ name = "s{place}", set = {{ depth = {depth} }} }}' for place, depth in enumerate(depths))
    ways = ", ".join(
        f'{{ from = "s{place - 1}", to = "s{place}", guards = [{{ dwell = "{dwell} steps" }}]'
        f"{', regress = true, at_most = 1' if depths[place] < depths[place - 1] else ''} }}"
        for place in range(1, len(depths))
    )
    waive = 'check = { waive = { aligned = "one rate for all" } }'
    return HEAD + KNOB + f"state = [{states}]\ntransition = [{ways}]\n{waive}\n".encode()


LADDER = ladder(1, 2, 3)
RAISES = (4, 8)  # the first steps that the second block is in, and the third
STEPS = 12


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take longer than these runs."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


def train(out: Path, **changes: Any) -> int:
    """Carry out a run of three blocks under a ladder of depths, or go on with it; every step is saved."""
    if not changes.get("resume"):
        changes["overrides"] = {"layers": LAYERS, "save_every": 1} | changes.get("overrides", {})
    given: dict[str, Any] = {"curriculum": LADDER, "keep": 100}
    return run(out, **given | changes)


@pytest.fixture(scope="module")
def deepened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("deepened") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert train(out) == 0
    return out


def saved(out: Path, step: int, file: str = "weights.safetensors") -> dict[str, Tensor]:
    """The tensors of a checkpoint."""
    return read_tensors(read_commit(out / "checkpoints" / f"step-{step:08d}"), file)


def learner_of(shape: Model, **changes: Any) -> Learner:
    """A learner of a small model on the CPU."""
    config = Config(model=shape, batch_size=2).model_copy(update=changes)
    return Learner(config, read_text(None), 0, torch.device("cpu"), heads_only=False)


# The model


@pytest.mark.parametrize("depth", range(1, LAYERS + 1))
@pytest.mark.parametrize("shape", [DEEP, DEEP_PUBLISHED])
def test_causal_at_each_depth(shape: Model, depth: int) -> None:
    """At each depth a changed byte changes logits from its position on, and no bit before; each is another function."""
    model = made(shape)
    model.restrict(512, depth=depth)
    bytes_BT = random_bytes(1, 150)
    for position in (70, 147):
        assert first_change(model, bytes_BT, position) == position
    before_TBV = model(bytes_BT)
    model.restrict(512, depth=depth % LAYERS + 1)
    assert not torch.equal(model(bytes_BT), before_TBV)


@torch.no_grad()
@pytest.mark.parametrize("shape", [DEEP, DEEP_PUBLISHED])
def test_a_raise_changes_no_bit(shape: Model) -> None:
    """Blocks that enter with an output of zero leave the logits as they were to the bit, in one pass and in streams."""
    model = made(shape)
    model.restrict(depth=1)
    for block in model.idle():
        block.zero_output()
    bytes_BT = random_bytes(2, 150)
    logits_TBV, drafts = model(bytes_BT), model.draft(model.hidden(bytes_BT))
    texts = generate(model, b"To be", 30)
    for depth in range(2, LAYERS + 1):
        model.restrict(depth=depth)
        assert torch.equal(model(bytes_BT), logits_TBV)
        assert torch.equal(model.draft(model.hidden(bytes_BT)), drafts)
        assert generate(model, b"To be", 30) == texts


@pytest.mark.parametrize("shape", [DEEP, DEEP_PUBLISHED])
def test_a_block_that_entered_learns(shape: Model) -> None:
    """After two steps a block that entered with an output of zero has moved, all of it, and adds something."""
    learner = learner_of(shape, optimizer="adamw", dropout=0.1)
    learner.begin({"depth": 1})
    before = learner.copied().weights
    learner.turn({"depth": 2})
    for step in range(2):
        learner.step(step, 1e-3)
    moved = {name for name, value in learner.copied().weights.items() if not torch.equal(value, before[name])}
    entered = {name for name in before if name.startswith("blocks.1.")}
    assert entered <= moved
    assert not [name for name in moved if name.startswith("blocks.2.")]


@torch.no_grad()
@pytest.mark.parametrize("depth", range(1, LAYERS + 1))
def test_generation_at_each_depth(depth: int) -> None:
    """At each depth bytes read one by one score as in one pass, and what is generated is what one pass would draw."""
    model = made(DEEP)
    model.restrict(depth=depth)
    window_BW = random_bytes(2, 100 + DEEP.chunk)
    assert bpb_stream(model, window_BW) == pytest.approx(bpb_parallel(model, window_BW), abs=1e-5)
    text = b"To be"
    drawn = generate(model, text, 20, temperature=0)
    assert drawn == generate(model, text, 20, temperature=0, drafts=False)
    for byte in drawn:
        assert byte == int(model(torch.tensor([list(text)], dtype=torch.uint8))[-1, 0].argmax())
        text += bytes([byte])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, while it traces
def test_compiled_at_each_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each depth is compiled once, however many there are, and has the losses that it has uncompiled."""
    compile_of = torch.compile
    monkeypatch.setattr(torch, "compile", lambda losses, **how: compile_of(losses, backend="eager", **how))
    torch.compiler.reset()
    with dynamo.patch(recompile_limit=2):
        learner = learner_of(DEEP, compile=True)
        before = int(counters["stats"]["unique_graphs"])
        for step, depth in enumerate((1, 2, 3, 1)):
            learner.turn({"depth": depth})
            batch = learner.windows.batch(step, batch_size=2, seq_len=150)
            expected = learner.model.losses(batch.windows_BW, batch.phase)[0]
            assert float(learner.step(step, 0.0)[0]) == pytest.approx(expected.item(), abs=1e-5)
    assert int(counters["stats"]["unique_graphs"]) == before + LAYERS


# Training


def test_what_does_not_run_is_left_alone(deepened: Path) -> None:
    """Until it runs, a block keeps every bit of its weights, whatever decays the others, and has no moments."""
    first = saved(deepened, 0)
    for step in range(1, STEPS + 1):
        now, moments = saved(deepened, step), saved(deepened, step, "optimizer.safetensors")
        for block in range(LAYERS):
            ran = block == 0 or step > RAISES[block - 1]
            own = [name for name in first if name.startswith(f"blocks.{block}.")]
            assert any(not torch.equal(now[name], first[name]) for name in own) == ran
            assert any(f"/blocks.{block}." in name for name in moments) == ran


def test_the_run_goes_on_across_a_raise(deepened: Path) -> None:
    """The weights of a raise's moment give the same logits at both depths; rows say which depth was in force."""
    shape = read_trained(deepened).model.shape
    model = SpectralLM(shape).eval()
    bytes_BT = random_bytes(2, 20)
    for depth, step in enumerate(RAISES, 1):
        model.load_state_dict(saved(deepened, step))
        model.restrict(depth=depth)
        before_TBV = model(bytes_BT)
        model.restrict(depth=depth + 1)
        assert torch.equal(model(bytes_BT), before_TBV)
    assert [row["knobs"]["depth"] for row in rows(deepened / "metrics.jsonl")] == [1] * 4 + [2] * 4 + [3] * 4


def same_run(out: Path, other: Path) -> None:
    """Assert that two runs left the same logs and the same last weights and moments, to the bit."""
    last = f"checkpoints/step-{STEPS:08d}"
    for name in ("metrics.jsonl", "summary.json", f"{last}/weights.safetensors", f"{last}/optimizer.safetensors"):
        assert (out / name).read_bytes() == (other / name).read_bytes(), name


def test_resumed_at_every_step(deepened: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is told to end in each of its steps, and goes on each time, is the run that nothing interrupted."""
    in_steps(monkeypatch, dict.fromkeys(range(STEPS - 1), signal.SIGTERM))
    assert train(tmp_path / "run") == 143
    while train(tmp_path / "run", resume=True) == 143:
        pass
    assert len(json.loads((tmp_path / "run" / "run.json").read_bytes())["resumed"]) == STEPS - 1
    same_run(tmp_path / "run", deepened)


def test_a_knob_that_stays_at_its_limit(tmp_path: Path) -> None:
    """Where all blocks run throughout, by a knob or for want of one, weights and moments are the same to the bit."""
    for name, curriculum in (("knob", ladder(3)), ("none", HEAD + b'state = [{ name = "all" }]')):
        assert train(tmp_path / name, curriculum=curriculum) == 0
    for file in ("weights.safetensors", "optimizer.safetensors"):
        one, other = (saved(tmp_path / name, STEPS, file) for name in ("knob", "none"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_way_back(tmp_path: Path) -> None:
    """A block that ran before comes back as it was left: only one that never ran enters with an output of zero."""
    learner = learner_of(DEEP)
    learner.begin({"depth": 2})
    learner.step(0, 1e-2)
    left = {name: value for name, value in learner.copied().weights.items() if name.startswith("blocks.1.")}
    learner.turn({"depth": 1})
    learner.step(1, 1e-2)
    learner.turn({"depth": 2})
    now = learner.copied().weights
    assert all(torch.equal(now[name], value) for name, value in left.items())
    assert now["blocks.1.feed.2.weight"].any()
    assert not now["blocks.2.feed.2.weight"].any()


def test_a_frozen_backbone_keeps_its_blocks(deepened: Path) -> None:
    """Where the backbone is frozen its blocks are trained ones: those that do not run at first stay as they are."""
    learner = Learner(Config(model=DEEP, batch_size=2), read_text(None), 0, torch.device("cpu"), heads_only=True)
    before = learner.copied().weights
    learner.begin({"depth": 1})
    assert all(torch.equal(value, before[name]) for name, value in learner.copied().weights.items())


def test_two_ranks_are_one(tmp_path: Path) -> None:
    """Two ranks raise the depth, lower it and raise it again as one process does: none waits for an idle block."""
    curriculum = ladder(2, 3, 1, 3, dwell=3)
    given: dict[str, Any] = {"curriculum": curriculum, "overrides": {"accumulation": 2}, "unchecked": True}
    assert train(tmp_path / "alone", **given) == 0
    codes = ranked(2, lambda rank: train(tmp_path / "run", **given), tmp_path / "told")
    assert codes == [0, 0], (tmp_path / "told").read_text()
    assert differences(tmp_path / "alone", tmp_path / "run") == []
    assert [row["knobs"]["depth"] for row in rows(tmp_path / "run/metrics.jsonl")] == [2] * 3 + [3] * 3 + [1] * 3 + [
        3
    ] * 3
    assert "Warning" not in (tmp_path / "told").read_text()


# What was trained


def test_used_at_the_depth_that_was_in_force(tmp_path: Path, deepened: Path) -> None:
    """A run that ended at two blocks is read and exported so, whoever reads it; another depth is another model."""
    assert train(tmp_path / "run", curriculum=ladder(1, 2)) == 0
    trained = read_trained(tmp_path / "run")
    assert str(trained).endswith("12 taps, 2 of 3 blocks")
    write_export(trained, tmp_path / "model", Disk())
    exported = read_export(tmp_path / "model")
    assert exported.knobs.depth == exported.model.depth == trained.model.depth == 2
    assert generate(exported.model, b"To be", 20) == generate(trained.model, b"To be", 20)
    summary = json.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert summary["knobs"] == {"depth": 2}
    assert not str(read_trained(deepened)).endswith("blocks")
    assert read_trained(deepened, RAISES[0] - 1).model.depth == 1


def test_exports_of_other_versions(tmp_path: Path, deepened: Path) -> None:
    """An older export names no depth, and all of its blocks run; a depth that the model has not is refused."""
    write_export(read_trained(deepened), tmp_path / "model", Disk())
    config = unseal((tmp_path / "model" / "config.json").read_bytes())
    del config["knobs"]["depth"]
    (tmp_path / "model" / "config.json").write_bytes(seal(config))
    assert read_export(tmp_path / "model").model.depth == LAYERS
    config["knobs"]["depth"] = LAYERS + 1
    (tmp_path / "model" / "config.json").write_bytes(seal(config))
    with pytest.raises(CheckpointError, match="no such model is trained here"):
        read_export(tmp_path / "model")


def test_the_page_shows_a_ladder_that_is_sound() -> None:
    """The curriculum in docs/model.md fits the preset `tiny` with four blocks, is sound, and ends with all blocks."""
    (source,) = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "docs" / "model.md").read_text(), re.MULTILINE | re.DOTALL)
    config = override_config(PRESETS["tiny"], {"layers": 4})
    controller = bind_to_trainer(loads(source), config, None, None, None, 0)
    require_sound(controller.machine, unless="")
    assert [state.knobs["depth"] for state in controller.machine.states] == [1, 2, 4]
