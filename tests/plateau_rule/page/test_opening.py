"""What is opened decides as a replay of it does, whatever steps its log lacks."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.reading import load, loads, shipped
from plateau_rule.page.answers import Answers
from plateau_rule.page.errors import PageError
from plateau_rule.page.opening import open_folder, open_log
from plateau_rule.page.report import kept
from plateau_rule.page.run import Run
from plateau_rule.sim.logs import read
from plateau_rule.sim.replayer.replay import replay
from tests.plateau_rule.page.runs import Training

STEPS = 6000
COUNTED = """
name = "tokens"
run = { tokens_per_step = [2, "batch"], tokens = TOKENS }
lr = { peak = 1.0 }
knob.batch.ladder = [1, 2, 4]
guard.low.below = { value = 2.0 }
state = [{ name = "a", set = { batch = 1 } }, { name = "b", set = { batch = 4 } }]
transition = [{ from = "a", to = "b", guards = ["low"] }]
"""


def log_of(folder: Path, kind: str) -> Path:
    """A log that has a loss now and then, and an evaluation rarely."""
    rng = np.random.default_rng(7)
    every = {"each": 1, "tenth": 10, "uneven": 1}[kind]
    steps = np.arange(0, STEPS, every)
    if kind == "uneven":
        steps = np.flatnonzero(rng.random(STEPS) < 0.3)
    lines = ["step,loss,val_loss"]
    for step in steps.tolist():
        loss = 1 + 2 * np.exp(-step / 700) + 0.02 * rng.standard_normal()
        lines.append(f"{step},{loss:.5f},{loss + 0.1:.5f}" if step % 500 == 490 else f"{step},{loss:.5f},")
    path = folder / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["each", "tenth", "uneven"])
@pytest.mark.parametrize("curriculum", sorted(shipped()))
def test_a_log_is_decided_on_as_replay_decides(curriculum: str, kind: str, tmp_path: Path) -> None:
    """Under every shipped curriculum, the page's raises over a log are those of `plateau replay`."""
    path, given = log_of(tmp_path, kind), Binding(epochs=12, steps_per_epoch=500, lag=0)
    log = read(str(path), column="loss")
    timeline = replay(load(curriculum), log, given)
    run = Run(open_log(log, str(path), curriculum, given))
    assert [(one.step, one.to_state) for one in run.session.decisions] == [
        (one.step, one.to_state) for one in timeline.decisions
    ]
    assert run.session.plan[:5] == timeline.final[:5]


def steps_in(curve: str) -> list[float]:
    """The steps of the columns that a report holds."""
    content = b64decode(curve)
    steps: list[float] = np.frombuffer(content, "<f8", len(content) // 20).tolist()
    return steps


@pytest.mark.parametrize("kind", ["each", "tenth", "uneven"])
def test_a_report_draws_each_loss_of_a_log_with_gaps(kind: str, tmp_path: Path) -> None:
    """A report holds a column for each logged step up to the last, of the run and of one beside it, as the page has."""
    path, given = log_of(tmp_path, kind), Binding(epochs=12, steps_per_epoch=500)
    log = read(str(path), column="loss")
    run = Run(open_log(log, str(path), "plateau", given))
    answers = Answers(run, [run])
    data = kept(answers)
    assert steps_in(data["curve"]) == log.points().step.tolist()
    assert b64decode(data["curve"]) == answers.curve(0, STEPS, STEPS)
    assert steps_in(data["others"][0])[-1] > STEPS - 50


def test_a_report_draws_a_log_of_epochs(tmp_path: Path) -> None:
    """Of a log with one row an epoch, a report holds a column at the end of each epoch."""
    path, given = tmp_path / "history.csv", Binding(epochs=12, steps_per_epoch=500)
    path.write_text("epoch,loss\n" + "".join(f"{epoch},{3 - epoch / 10}\n" for epoch in range(12)))
    opened = open_log(read(str(path)), str(path), "plateau", given)
    assert steps_in(kept(Answers(Run(opened)))["curve"]) == [*range(499, STEPS, 500)]


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize("kind", ["each", "tenth", "uneven"])
def test_late_losses_of_a_log_with_gaps(kind: str, lag: int, tmp_path: Path) -> None:
    """Late losses come as late as the replay has them; where a step was not logged, nothing comes for it."""
    path, given = log_of(tmp_path, kind), Binding(epochs=12, steps_per_epoch=500, lag=lag)
    log = read(str(path), column="loss")
    run = Run(open_log(log, str(path), "plateau", given))
    timeline = replay(load("plateau"), log, given)
    assert [one.step for one in run.session.decisions] == [one.step for one in timeline.decisions]
    assert run.session.plan[:5] == timeline.final[:5]


@pytest.mark.parametrize(
    "name",
    [
        "hf_trainer/whisper-tiny-nbailab.trainer_state.json",
        "jsonl/llamafactory-qwen2.5-sft.trainer_log.jsonl",
        "lightning_csv/slm-version_0.metrics.csv",
        "keras_csvlogger/brats2020-unet.training.log",
        "text/llmc-gpt2-124M.main.log",
    ],
)
def test_real_logs(name: str, shared_data: Callable[[str], Path]) -> None:
    """Logs of real trainers, in whatever form, are decided on as `plateau replay` decides."""
    log = read(str(shared_data(f"logs/{name}")))
    for curriculum in ("plateau", "plateau-trend"):
        run = Run(open_log(log, name, curriculum, Binding()))
        timeline = replay(load(curriculum), log)
        assert [one.step for one in run.session.decisions] == [one.step for one in timeline.decisions]
        assert Answers(run).meta()["points"] == len(log)


def test_steps_that_were_dropped_enter_no_guard(tmp_path: Path) -> None:
    """A step that the trainer marked as dropped counts as time, and its loss is kept from the guards, as in the run."""
    training = Training(tmp_path / "run").train(800)
    training.close()
    path = tmp_path / "run" / "metrics.jsonl"
    rows = path.read_text().splitlines()
    path.write_text(
        "\n".join(row[:-1] + ', "skipped": true}' if 90 < i < 140 else row for i, row in enumerate(rows)) + "\n"
    )
    run = Run(open_folder(tmp_path / "run", None, Binding()))
    timeline = replay(load("plateau"), read(str(path)))
    assert [one.step for one in run.session.decisions] == [one.step for one in timeline.decisions]
    assert run.session.why(91).ways[0].parts[1] == run.session.why(140).ways[0].parts[1]


def test_steps_that_count_something_else_are_refused(tmp_path: Path) -> None:
    """A log whose steps are too many to be steps is refused by a sentence that names the option."""
    path = tmp_path / "tokens.csv"
    path.write_text("step,loss\n0,3\n60000000000,2\n120000000000,1\n")
    with pytest.raises(PageError, match="--step-column"):
        open_log(read(str(path)), str(path), "plateau", Binding(epochs=5, steps_per_epoch=100))


@pytest.mark.parametrize("kind", ["each", "tenth", "uneven"])
@pytest.mark.parametrize("tokens", [5_000, 31_000])
def test_a_run_ends_where_its_tokens_are_used_up(kind: str, tokens: int, tmp_path: Path) -> None:
    """A log that goes on after the tokens of the run are used up is decided on to the step on which a replay ends."""
    path, text = log_of(tmp_path, kind), COUNTED.replace("TOKENS", str(tokens))
    curriculum = tmp_path / "counted.toml"
    curriculum.write_text(text)
    log = read(str(path), column="loss")
    timeline = replay(loads(text), log, Binding())
    session = Run(open_log(log, str(path), str(curriculum), Binding())).session
    assert (session.plan.step, session.ended) == (timeline.final.step, f"the run of {tokens} tokens is over")
    assert [one.step for one in session.decisions] == [one.step for one in timeline.decisions]
