"""The loop: what it writes, how it ends, and that a resumed run is the uninterrupted one."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from plateau_rule import Controller, NonFiniteLoss, loads
from plateau_rule.fftcore import data
from plateau_rule.fftcore import run as run_module
from plateau_rule.fftcore.binding import RunOptions, plan_run, read_same_text
from plateau_rule.fftcore.checkpoint import Checkpoints, read_commit
from plateau_rule.fftcore.config import METRICS, PRESETS, Config
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.errors import CheckpointError, RunError, StorageError, TextError
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.record import read_record
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.fftcore.storage import Disk
from plateau_rule.fftcore.train import Stats
from tests.fftcore.micro import CURRICULUM, contents, micro_text, rows, run
from tests.fftcore.test_model import SMALL

STEPS = 32


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a micro run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(out) == 0
    return out


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take longer than these runs; the run that `whole` is has one."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)


def same_run(out: Path, whole: Path) -> None:
    """Assert that two runs left the same logs and the same last weights, to the bit."""
    for name in ("metrics.jsonl", "decisions.jsonl", "summary.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    last = f"checkpoints/step-{STEPS:08d}/weights.safetensors"
    assert (out / last).read_bytes() == (whole / last).read_bytes()


def test_the_metrics_that_guards_may_ask_for(whole: Path) -> None:
    """An evaluation brings exactly the metrics that the trainer names where it binds a curriculum."""
    brought = [{key for key in row if key.startswith("val")} for row in rows(whole / "metrics.jsonl")]
    assert [keys for keys in brought if keys] == [set(METRICS)] * 4


def stop_at(monkeypatch: pytest.MonkeyPatch, steps: dict[int, int]) -> None:
    """Send this process a signal in the middle of these steps: step to signal."""
    step_of = Learner.step

    def step(self: Learner, number: int, lr: float) -> Tensor:
        if number in steps:
            os.kill(os.getpid(), steps.pop(number))
        return step_of(self, number, lr)

    monkeypatch.setattr(Learner, "step", step)


def test_run_folder(whole: Path) -> None:
    """A run leaves its record, its curriculum, both logs, commits, a summary and a picture, and nothing half done."""
    assert {path.name for path in whole.iterdir()} == {
        "run.json", "curriculum.toml", "metrics.jsonl", "decisions.jsonl", "checkpoints", "summary.json", "curve.png"
    }  # fmt: skip
    assert (whole / "curriculum.toml").read_bytes() == CURRICULUM
    assert (whole / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert Checkpoints(whole / "checkpoints", 5, Disk()).steps() == [25, 30, 32]


def test_metrics(whole: Path) -> None:
    """There is a row for every optimizer step, with what was planned and seen, and the scores where an epoch closes."""
    found = rows(whole / "metrics.jsonl")
    assert [row["step"] for row in found] == list(range(STEPS))
    record = read_record(whole)
    controller = Controller(loads(CURRICULUM, ""), limits(record.config), peak=record.bound.peak)
    for row in found:
        plan = controller.plan
        assert {key: row[key] for key in ("epoch", "state", "knobs", "lr")} == {
            "epoch": plan.epoch, "state": plan.state, "knobs": dict(plan.knobs), "lr": plan.lr
        }  # fmt: skip
        assert ("val_bpb" in row) == ("val_bpb_parallel" in row) == ((row["step"] + 1) % 8 == 0)
        controller.observe(row["loss"])


def test_decisions(whole: Path) -> None:
    """Each transition is written down with the knobs and rates around it and why, as the controller took it."""
    found = rows(whole / "decisions.jsonl")
    assert [(row["step"], row["from"], row["to"]) for row in found] == [(16, "low", "middle"), (24, "middle", "full")]
    assert [(row["knobs_before"]["cutoff"], row["knobs"]["cutoff"]) for row in found] == [(64, 256), (256, 1025)]
    assert all(row["lr"] == PRESETS["tiny"].peak > row["lr_before"] for row in found)
    assert all("plateau" in " ".join(row["guards"]) and row["requests"] == ["checkpoint"] for row in found)


def test_it_learns(whole: Path) -> None:
    """The loss falls, from about 8 bits."""
    found = [row["loss"] for row in rows(whole / "metrics.jsonl")]
    assert found[0] == pytest.approx(8 * 0.6931, abs=0.1)
    assert found[-1] < found[0] - 1


def test_same_seed_same_run(whole: Path, tmp_path: Path) -> None:
    """The same seed gives the same run to the bit, and another seed another."""
    assert run(tmp_path / "run") == 0
    same_run(tmp_path / "run", whole)
    assert run(tmp_path / "other", seed=1) == 0
    assert (tmp_path / "other" / "metrics.jsonl").read_bytes() != (whole / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A run that is told to end finishes its step, saves, says so by its exit code, and goes on from there."""
    out = tmp_path / "run"
    stop_at(monkeypatch, {3: number, 17: number})
    handlers = signal.getsignal(number)
    assert run(out) == 128 + number
    assert signal.getsignal(number) is handlers
    assert len(rows(out / "metrics.jsonl")) == 4
    assert run(out, resume=True) == 128 + number
    assert run(out, resume=True) == 0
    same_run(out, whole)
    assert [resumed.step for resumed in read_record(out).resumed] == [4, 18]


def test_logs_are_cut_back(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were written after the last commit are written again by the resumed run, not twice."""
    out = tmp_path / "run"
    stop_at(monkeypatch, {21: signal.SIGTERM})
    assert run(out) == 143
    for name, torn in (("metrics.jsonl", b'{"step": 22, "half a li'), ("decisions.jsonl", b"{}\n")):
        (out / name).write_bytes((out / name).read_bytes() + torn)
    assert run(out, resume=True) == 0
    same_run(out, whole)


def test_a_lost_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is shorter than its checkpoint says is an error, not a gap."""
    out = tmp_path / "run"
    stop_at(monkeypatch, {9: signal.SIGTERM})
    assert run(out) == 143
    (out / "metrics.jsonl").write_bytes(b"")
    before = contents(out)
    with pytest.raises(StorageError, match=r"metrics.jsonl: a log of at least \d+ bytes belongs here"):
        run(out, resume=True)
    assert contents(out) == before


def test_lost_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows say that there were checkpoints and there are none, a resume is refused, and the rows stay."""
    out = tmp_path / "run"
    stop_at(monkeypatch, {9: signal.SIGTERM})
    assert run(out) == 143
    shutil.rmtree(out / "checkpoints")
    before = contents(out)
    with pytest.raises(CheckpointError, match=r"no checkpoint, and by metrics.jsonl the run had some"):
        run(out, resume=True)
    for name in ("metrics.jsonl", "decisions.jsonl"):
        (out / name).unlink()
    assert run(out, resume=True) == 0  # as one that was killed before its first commit
    shutil.rmtree(out / "checkpoints")
    for name in ("metrics.jsonl", "decisions.jsonl", "summary.json"):
        (out / name).unlink()
    with pytest.raises(CheckpointError, match=r"by run.json the run had some"):
        run(out, resume=True)
    assert before.keys() >= contents(out).keys()


def test_an_edited_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any digit that was changed in a log is noticed, and neither log is cut before both are seen to be right."""
    out = tmp_path / "run"
    stop_at(monkeypatch, {18: signal.SIGTERM})
    assert run(out) == 143
    for name in ("metrics.jsonl", "decisions.jsonl"):
        with (out / name).open("ab") as log:
            log.write(b"more")
        content = (out / name).read_bytes()
        for at in (10, len(content) // 2, len(content) - 10):
            changed = bytearray(content)
            changed[at] ^= 1
            (out / name).write_bytes(changed)
            before = contents(out)
            with pytest.raises(StorageError, match=rf"{name}: was changed after it was written"):
                run(out, resume=True)
            assert contents(out) == before
        (out / name).write_bytes(content)


def test_an_edited_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is changed in run.json is noticed, by its checksum or, where that was made to fit, by the checkpoint."""
    out = tmp_path / "run"
    stop_at(monkeypatch, {18: signal.SIGTERM})
    assert run(out) == 143
    content = (out / "run.json").read_bytes()
    edits = ((b'"heads_only": false', b'"heads_only": true'), (b"min_epoch", b"max_epoch"), (b'"name"', b'"n"'))
    for old, new in edits:
        assert old in content
        (out / "run.json").write_bytes(content.replace(old, new, 1))
        with pytest.raises(RunError, match=r"run.json: damaged: it was changed after it was written"):
            run(out, resume=True)
    for change in ({"heads_only": True}, {"seed": 1}, {"threads": 77}, {"preset": "base"}):
        (out / "run.json").write_bytes(seal(unseal(content) | change))
        with pytest.raises(CheckpointError, match=rf"another model or run: its {next(iter(change))} differs"):
            run(out, resume=True)
    bound = unseal(content)["bound"]
    another = ({"fingerprint": "0"}, {"bound": bound | {"epochs": 77}}, {"curriculum": {"name": "a", "text": "b"}})
    for changed in another:
        (out / "run.json").write_bytes(seal(unseal(content) | changed))
        with pytest.raises(CheckpointError, match=r"was made under another run.json than the one that is there"):
            run(out, resume=True)
    (out / "run.json").write_bytes(seal({**unseal(content), "curriculum": {"text": ""}}))
    with pytest.raises(RunError, match=r"run.json: damaged: curriculum.name: Field required"):
        run(out, resume=True)
    assert (out / "curriculum.toml").read_bytes() == CURRICULUM


def test_an_edited_curriculum_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edited curriculum.toml in the folder is told, and is not overwritten by a resume that does not accept it."""
    out = tmp_path / "run"
    stop_at(monkeypatch, {9: signal.SIGTERM, 12: signal.SIGTERM})
    assert run(out) == 143
    (out / "curriculum.toml").write_bytes(b"mine")
    assert run(out, resume=True) == 143
    assert "curriculum.toml: is not what this run is trained under" in capsys.readouterr().out
    assert (out / "curriculum.toml").read_bytes() == b"mine"
    (out / "curriculum.toml").unlink()
    assert run(out, resume=True) == 0
    assert (out / "curriculum.toml").read_bytes() == CURRICULUM


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_changed_text(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    in_memory: bool,
) -> None:
    """A text that is overwritten while it is trained on: said where it is in memory, else the end, unsaved."""
    if not in_memory:
        monkeypatch.setattr(data, "LARGEST_IN_MEMORY", 100)
    out, text = tmp_path / "run", tmp_path / "micro.txt"
    step_of = Learner.step

    def step(self: Learner, number: int, lr: float) -> Tensor:
        if number == 12:
            text.write_bytes(bytes(len(text.read_bytes())))
        return step_of(self, number, lr)

    monkeypatch.setattr(Learner, "step", step)
    if in_memory:
        assert run(out) == 0
        assert capsys.readouterr().out.count("micro.txt: was changed since it was read") == 1
        same_run(out, whole)
    else:
        with pytest.raises(TextError, match=r"micro.txt: was changed while it was trained on\. Put the text back"):
            run(out)
        assert Checkpoints(out / "checkpoints", 5, Disk()).steps()[-1] == 10
        monkeypatch.setattr(Learner, "step", step_of)
        text.write_bytes(micro_text())
        assert run(out, resume=True) == 0
        same_run(out, whole)


def test_finished_run(whole: Path, tmp_path: Path) -> None:
    """Resuming a run that is over trains nothing; a longer one goes on, and what was is not changed."""
    out = tmp_path / "run"
    assert run(out) == 0
    assert run(out, resume=True) == 0
    same_run(out, whole)
    assert run(out, resume=True, epochs=6) == 0
    longer = (out / "metrics.jsonl").read_bytes()
    assert longer.startswith((whole / "metrics.jsonl").read_bytes())
    assert len(longer.splitlines()) == 48


def test_late_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where losses come a step late, as on a GPU, every row is still written, and a resumed run is the same run."""

    def late(*given: Any) -> Any:
        record, text = plan_run(*given)
        return record.model_copy(update={"bound": record.bound.model_copy(update={"lag": 1})}), text

    monkeypatch.setattr(run_module, "plan_run", late)
    assert run(tmp_path / "a") == 0
    assert [row["step"] for row in rows(tmp_path / "a" / "metrics.jsonl")] == list(range(STEPS))
    assert [row["step"] for row in rows(tmp_path / "a" / "decisions.jsonl")] == [16, 24]
    stop_at(monkeypatch, {15: signal.SIGTERM, 20: signal.SIGTERM})
    assert run(tmp_path / "b") == 143
    assert run(tmp_path / "b", resume=True) == 143
    assert run(tmp_path / "b", resume=True) == 0
    same_run(tmp_path / "b", tmp_path / "a")


def test_scored_under_the_knobs_of_the_plan(tmp_path: Path) -> None:
    """A run that is resumed at its end is scored under the knobs that it ended with, not under all bins and taps."""
    out = tmp_path / "run"
    low = CURRICULUM.replace(b'"full"]', b"512]").replace(b'cutoff = "full"', b"cutoff = 512")
    assert run(out, curriculum=low) == 0
    before = (out / "summary.json").read_bytes()
    assert json.loads(before)["knobs"] == {"cutoff": 512}
    (out / "summary.json").unlink()
    assert run(out, curriculum=low, resume=True) == 0
    assert (out / "summary.json").read_bytes() == before


def test_raised_after_the_last_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A knob that rises when the last epoch closes is said, for the run is scored where no step was taken."""
    late = CURRICULUM.replace(b"min_epoch = 2", b"min_epoch = 4")
    assert run(tmp_path / "run", curriculum=late, unchecked=True) == 0
    told = capsys.readouterr().out
    assert "raised after the last step: scored at cutoff 256 bins (0.125 cycles/byte), under which no step" in told
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["knobs"] == {"cutoff": 256}


def test_nothing_before_the_knobs(tmp_path: Path) -> None:
    """A learner whose knobs were not turned neither trains nor scores nor writes."""
    learner = Learner(Config(model=SMALL, batch_size=2), read_text(None), 0, torch.device("cpu"), heads_only=False)
    for act in (lambda: learner.step(0, 1e-3), learner.score, learner.draft_bits, lambda: learner.sample(b"a", 2, 0)):
        with pytest.raises(RuntimeError, match="no knobs are in force"):
            act()


# What is not finite


class _NanBackward(torch.autograd.Function):
    """The identity, with gradients that are NaN."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * float("nan")


def poisoned(monkeypatch: pytest.MonkeyPatch, steps: range, gradients_alone: bool = False) -> None:
    """Make the loss of these optimizer steps NaN, or its gradients alone."""
    count = iter(range(10_000))
    losses_of = SpectralLM.losses

    def losses(self: SpectralLM, window_BW: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        next_loss, chunk_loss = losses_of(self, window_BW, phase)
        if next(count) in steps:
            ruined: Tensor = _NanBackward.apply(next_loss)  # type: ignore[no-untyped-call]
            next_loss = ruined if gradients_alone else next_loss * float("nan")
        return next_loss, chunk_loss

    monkeypatch.setattr(SpectralLM, "losses", losses)


def test_dead_run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 NaN in a row end the run with a sentence; the last commit is of a finite state, and resumes."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        poisoned(patch, range(3, 10_000))
        with pytest.raises(NonFiniteLoss, match=r"step 27: 25 NaN or infinite .* it is of step 0"):
            run(out)
    found = rows(out / "metrics.jsonl")
    assert [row["loss"] for row in found[3:]] == ["NaN"] * 25
    assert run(out, resume=True) == 0
    same_run(out, whole)


def test_a_few_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few NaN losses are counted, written down, skipped by the optimizer, and the run goes on with finite weights."""
    poisoned(monkeypatch, range(9, 12))
    assert run(tmp_path / "run") == 0
    found = rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in found if row["loss"] == "NaN"] == [9, 10, 11]
    assert [row["step"] for row in found if row.get("skipped")] == [9, 10, 11]
    assert isinstance(found[-1]["loss"], float)


def test_not_finite_at_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose model is not finite at its end says so in a sentence, and its summary holds no number for a score."""
    out = tmp_path / "run"
    with pytest.raises(
        NonFiniteLoss, match=r"step 3: the run is over, and its model is not finite: nan bits/byte .*--peak"
    ):
        run(out, epochs=1, steps_per_epoch=3, overrides={"peak": 1e30}, unchecked=True)
    assert json.loads((out / "summary.json").read_text())["bpb_stream"] == "NaN"
    assert "the model writes" not in capsys.readouterr().out


@pytest.mark.parametrize("lr", [1e3, 1e5, 1e8])
def test_no_leak_where_losses_are_large(tmp_path: Path, lr: float) -> None:
    """Where the rate has ruined a model, its large losses are rounded coarsely, and no leak is made of it."""
    out = tmp_path / "run"
    try:
        assert run(out, epochs=1, steps_per_epoch=3, overrides={"peak": lr}, unchecked=True) == 0
    except NonFiniteLoss:
        return
    assert json.loads((out / "summary.json").read_text())["bpb_stream"] > 100


def test_gradients_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step with a finite loss and gradients that are not changes no weight and is marked as skipped."""
    poisoned(monkeypatch, range(4, 5), gradients_alone=True)
    assert run(tmp_path / "run") == 0
    found = rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in found if row.get("skipped")] == [4]
    assert isinstance(found[4]["loss"], float)
    assert all(isinstance(row["loss"], float) for row in found)


# Knobs and requests


def test_every_knob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taps, sequence length and batch size are knobs too, each up to its limit, and the same after a resume."""
    knobs = (
        b'[knob.kernel_taps]\nladder = [4, 8, 99]\n[knob.seq_len]\nladder = [8, 16, "full"]\n'
        b"[knob.batch_size]\nladder = [1, 2]"
    )
    values = {
        b"cutoff = 64": b"kernel_taps = 4, seq_len = 8, batch_size = 1",
        b"cutoff = 256": b"kernel_taps = 8, seq_len = 16, batch_size = 2",
        b'cutoff = "full"': b'kernel_taps = 99, seq_len = "full", batch_size = 2',
    }
    curriculum = CURRICULUM.replace(b'[knob.cutoff]\nladder = [64, 256, "full"]', knobs)
    for cutoff, others in values.items():
        curriculum = curriculum.replace(cutoff, others)
    assert run(tmp_path / "run", curriculum=curriculum) == 0
    found = [row["knobs"] for row in rows(tmp_path / "run" / "metrics.jsonl")]
    assert found[0] == {"kernel_taps": 4, "seq_len": 8, "batch_size": 1}
    assert found[16] == {"kernel_taps": 8, "seq_len": 16, "batch_size": 2}
    assert found[-1] == {"kernel_taps": 12, "seq_len": 24, "batch_size": 2}
    stop_at(monkeypatch, {11: signal.SIGTERM, 18: signal.SIGTERM})
    assert run(tmp_path / "cut", curriculum=curriculum) == 143
    while run(tmp_path / "cut", curriculum=curriculum, resume=True) == 143:
        pass
    same_run(tmp_path / "cut", tmp_path / "run")


def test_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A curriculum's requests are carried out before the step they belong to, and again the same after a resume."""
    actions = b'["rollback", "reset_optimizer", "evaluate", { signal = "bell" }, "lr_restart"]'
    curriculum = CURRICULUM.replace(b'["lr_restart", "checkpoint"]', actions)
    assert run(tmp_path / "a", curriculum=curriculum) == 0
    told = capsys.readouterr().out
    assert "step 16: the curriculum asks for signal bell" in told
    assert "weights and optimizer are those of step-00000015 again" in told
    assert "val_bpb" in rows(tmp_path / "a" / "metrics.jsonl")[16]
    stop_at(monkeypatch, {15: signal.SIGTERM, 16: signal.SIGTERM, 18: signal.SIGTERM})
    assert run(tmp_path / "b", curriculum=curriculum) == 143
    while run(tmp_path / "b", resume=True, curriculum=curriculum) == 143:
        pass
    same_run(tmp_path / "b", tmp_path / "a")


@pytest.mark.parametrize(
    "actions",
    [b'["rollback"]', b'["checkpoint", "rollback"]', b'["evaluate", "rollback", "checkpoint", "reset_optimizer"]'],
)
@pytest.mark.parametrize("stops", [{15: signal.SIGTERM}, {13: signal.SIGTERM, 15: signal.SIGTERM}])
def test_rollback_at_a_planned_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actions: bytes, stops: dict[int, int]
) -> None:
    """A run told to end just before a rollback, at a step that is saved by plan, goes on as the uninterrupted one."""
    curriculum = CURRICULUM.replace(b'["lr_restart", "checkpoint"]', actions)
    given: dict[str, Any] = {"curriculum": curriculum, "overrides": {"save_every": 4}, "unchecked": True}
    assert run(tmp_path / "a", **given) == 0
    stop_at(monkeypatch, dict(stops))
    assert run(tmp_path / "b", **given) == 143
    while run(tmp_path / "b", resume=True, curriculum=curriculum) == 143:
        pass
    same_run(tmp_path / "b", tmp_path / "a")


def test_rollback_is_exact(tmp_path: Path) -> None:
    """After a rollback weights and moments are those of the commit."""
    out = tmp_path / "run"
    assert run(out) == 0
    record = read_record(out)
    learner = Learner(record.config, read_same_text(record, RunOptions(out=out)), 0, torch.device("cpu"), False)
    commit = read_commit(out / "checkpoints" / "step-00000030")
    learner.turn({})
    learner.restore(commit)
    before = learner.copied().packed()
    learner.step(3, 0.1)
    assert learner.copied().packed()["weights.safetensors"] != before["weights.safetensors"]
    learner.restore(commit, random=False)
    assert learner.copied().packed() == before


# The chunk head alone


def test_frozen_backbone(whole: Path, tmp_path: Path) -> None:
    """With a frozen backbone only a new chunk head is trained, by its own loss; it can be interrupted like any run."""
    assert run(tmp_path / "head", freeze_backbone=whole) == 0
    before = Checkpoints(whole / "checkpoints", 5, Disk()).newest()
    after = Checkpoints(tmp_path / "head" / "checkpoints", 5, Disk()).newest()
    assert before is not None
    assert after is not None
    from safetensors.torch import load

    old, new = load(before.files["weights.safetensors"]), load(after.files["weights.safetensors"])
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {name for name in old if name.startswith("chunk_head.")}
    found = rows(tmp_path / "head" / "metrics.jsonl")
    assert all(row["loss"] == row["chunk_loss"] for row in found)
    assert found[-1]["loss"] < found[0]["loss"]


def test_saves_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is saved once even if plan, request and end all ask for it."""
    saved: list[int] = []
    save = Checkpoints.save

    def counted(self: Checkpoints, step: int, files: Any) -> Path:
        saved.append(step)
        return save(self, step, files)

    monkeypatch.setattr(Checkpoints, "save", counted)
    assert run(tmp_path / "run", overrides={"save_every": 8}) == 0
    assert saved == [0, 8, 16, 24, 32]


def test_compiler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch cannot compile, a run that asks for it ends with a sentence that says why."""

    def compiled(*given: Any, **options: Any) -> Any:
        raise TorchDynamoException("no working C++ compiler was found\nand a long story")

    monkeypatch.setattr(torch, "compile", lambda losses, **options: compiled)
    with pytest.raises(RunError, match=r"--compile: .*: no working C\+\+ compiler was found\. Begin another run"):
        run(tmp_path / "run", overrides={"compile": True})


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_no_step_waits(compiled: bool) -> None:
    """On a GPU no step waits for the device: windows, gradients, both optimizers and what is told of the step."""
    config = Config(model=SMALL, batch_size=2, compile=compiled)
    learner = Learner(config, read_text(None), 0, torch.device("cuda"), heads_only=False)
    learner.turn({})
    for step in range(3):
        Stats(learner.step(step, 1e-3)).read()
    torch.cuda.set_sync_debug_mode("error")
    try:
        told = [Stats(learner.step(step, 1e-3)) for step in range(3, 6)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(loss == pytest.approx(8 * 0.6931, abs=0.5) for loss, *_ in (stats.read() for stats in told))


@pytest.mark.gpu
def test_on_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU a run learns, its losses come a step late without being waited for, and it can be interrupted."""
    stop_at(monkeypatch, {13: signal.SIGTERM})
    assert run(tmp_path / "run", device="cuda") == 143
    assert run(tmp_path / "run", device="cuda", resume=True) == 0
    found = rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in found] == list(range(STEPS))
    assert found[-1]["loss"] < found[0]["loss"] - 1
    assert read_record(tmp_path / "run").bound.lag == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"overrides": {"d_model": 10**12}}, "--d-model 1000000000000; expected a number less than or equal to"),
        ({"overrides": {"batch_size": 10**20}}, "--batch-size 1"),
        ({"overrides": {"weight_decay": float("inf")}}, "--weight-decay inf; expected a finite number"),
        ({"steps_per_epoch": 10**23}, "more than the 999,999,999,999 steps that a run can have"),
    ],
)
def test_a_number_beyond_all_bounds(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    """A number that no machine could train with is refused before a folder is made."""
    with pytest.raises(RunError, match=sentence):
        run(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()
