"""Losses in what trainers print, in the spellings that are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule.sim.logs import LogError, read

# What each trainer prints at a step, with {s} for the step and {l} for the loss.
LINES = {
    "nanoGPT": "iter {s}: loss {l:.4f}, time 193.77ms, mfu -100.00%",
    "modded-nanogpt": "step:{s}/6200 train_loss:{l:.4f} train_time:74701ms step_avg:nanms",
    "llm.c's log": "s:{s} trl:{l:.4f} lr:0.000001 norm:14.96",
    "llm.c's output": "step {s:5d}/19560 | loss {l:.4f} (+nanz)| norm 15.0 (+1.0z)| lr 7.0e-07 | 1500.00 ms",
    "nanochat": "step {s:05d}/21400 (0.00%) | loss: {l:.6f} | lrm: 1.00 | dt: 453.21ms | tok/sec: 1,156,846",
    "torchtitan": "\x1b[31mstep: {s:2d}  \x1b[32mloss: {l:7.4f}  \x1b[33mmemory: 21.13GiB(22.24%)\x1b[0m",
    "Megatron": " iteration {s:8d}/  500000 | lm loss: {l:.6E} | loss scale: 1.0 | grad norm: 5.4 |",
    "LitGPT": "Epoch 1 | iter {s} step {s} | loss train: {l:.4f}, val: n/a | iter time: 312.52 ms (step)",
    "fairseq": "2024-01-02 10:11:12 | INFO | train_inner | epoch 001: {s} / 500 loss={l:.3f}, num_updates={s}",
    "a tutorial": "Epoch [1/10], Step [{s}/600], Loss: {l:.4f}",
    "another": "[2024-01-02 10:11:12,345] [INFO] [logging.py:96] step={s}, skipped=0, loss={l:.4f}, lr=[1e-05]",
    "a sentence": "At step {s} the loss is {l:.4f}.",
    "a dictionary": "{{'step': {s}, 'loss': {l:.4f}, 'lr': 0.001}}",
    "a tensor": "Step {s} Training Loss: tensor({l:.4f}, device='cuda:0', grad_fn=<NllLossBackward0>)",
    "NumPy": "{{'step': {s}, 'loss': np.float64({l:.4f})}}",
    "capitals": "STEP {s} LOSS {l:.4f}",
    "without a nought": "step {s} loss +.{r}",
}


@pytest.mark.parametrize("trainer", LINES)
def test_trainer(trainer: str, tmp_path: Path) -> None:
    """The lines of a trainer give its steps and losses, with prose around them."""
    losses = [0.9 - step / 200 for step in range(100)]
    lines = [LINES[trainer].format(s=step, l=loss, r=f"{loss:.4f}"[2:]) for step, loss in enumerate(losses)]
    path = tmp_path / "out.txt"
    path.write_text("Using cuda\nparameters: 124439808\n" + "\n".join(lines) + "\nTraceback (most recent call last):\n")
    points = read(path).points()
    assert points.step.tolist() == list(range(100))
    assert points.loss == pytest.approx(losses, abs=6e-4)


def test_evaluations(tmp_path: Path) -> None:
    """Evaluations stand beside the training losses: nanoGPT measures both kinds of loss when it evaluates."""
    path = tmp_path / "out.txt"
    lines = [f"step {step}: train loss 1.5, val loss 1.75\niter {step}: loss 1.25, time 1.00ms" for step in range(20)]
    path.write_text("\n".join(lines))
    log = read(path)
    assert log.report.format == "lines printed by nanoGPT"
    assert log.report.evals == {"val loss": 20, "eval train loss": 20}
    assert set(log.points().loss) == {1.25}
    path.write_text("\n".join(f"step {step}: train loss 1.5, val loss 1.75" for step in range(20)))
    log = read(path)
    assert (log.report.series, log.report.evals) == ("train loss", {"val loss": 20})


def test_not_finite(tmp_path: Path) -> None:
    """NaN and infinities that were printed are losses; words that begin like them are not."""
    path = tmp_path / "out.txt"
    spelt = ["nan", "NaN", "-inf", "Infinity", "inf", "NAN", "INF", "1.5", "nanny", "1.5e3", "-2.5", "info"]
    path.write_text("".join(f"step {step} loss: {loss} (information)\n" for step, loss in enumerate(spelt)))
    log = read(path)
    assert log.report.nonfinite == 7
    assert log.points().step.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]
    assert log.points().loss[-3:].tolist() == [1.5, 1500, -2.5]


def test_another_column(tmp_path: Path) -> None:
    """A number that is not called a loss can be named."""
    path = tmp_path / "out.txt"
    path.write_text("".join(f"step {step} | bits per byte: {3 - step / 100}\n" for step in range(50)))
    assert read(path, column="bits per byte").points().loss[-1] == 2.51
    with pytest.raises(LogError, match="no line speaks of a loss; lines tell:\n  bits per byte"):
        read(path)


def test_epoch_above_the_lines(tmp_path: Path) -> None:
    """An epoch that is announced on a line of its own holds for the lines below it, and counts their steps on."""
    path = tmp_path / "out.txt"
    path.write_text("".join(f"Epoch {e}/3\n" + "".join(f"  step {s} loss 1.5\n" for s in range(20)) for e in (1, 2, 3)))
    log = read(path)
    assert log.points().step.tolist() == list(range(60))
    assert log.report.epochs == (1, 3)


def test_lines_that_are_all_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of lines does not grow with the number of their kinds."""
    monkeypatch.setattr("plateau_rule.sim.logs.printed.MOST_KINDS", 10)
    path = tmp_path / "out.txt"
    words = ["".join(chr(97 + step // base % 26) for base in (676, 26, 1)) for step in range(500)]
    path.write_text("".join(f"{word}: step {step} loss 1.5\n" for step, word in enumerate(words)))
    assert len(read(path)) == 500
