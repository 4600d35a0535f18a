"""Kinds of logs that were once read wrongly: evaluations, epochs, pairs, names, headings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from plateau_rule.sim.logs import Log, LogError, read
from tests.sim.logs.families import FAMILIES, curve

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines into a file."""

    def writer(lines: Iterable[str], name: str = "log") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return writer


def steps_of(log: Log) -> list[int]:
    """The steps of a log."""
    steps: list[int] = log.points().step.tolist()
    return steps


# Evaluations


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("[train] step {s} loss {l}", "[valid] step {s} loss 9"),
        ("training step {s} loss {l}", "validation step {s} loss 9"),
        ("INFO Train: step {s} Loss {l}", "INFO Test: step {s} Loss 9"),
        ("step {s} loss {l}", "DEV : loss 9 - f1-score 0.5"),
        ("step {s} train acc: 51.1%, loss: {l}", "result of the net: test acc: 55.0%, loss: 9"),
        ("step {s} | loss = {l}", "step {s} | loss = 9 (validation)"),
        ("step {s} - loss: {l}", "step {s} - eval - loss: 9"),
        ("step={s} loss={l}", "Evaluating: loss=9"),
    ],
)
def test_a_split_in_a_word_of_the_line(train: str, test: str, write: Write) -> None:
    """A line that names a split of evaluations by a word brings no loss of training."""
    lines = []
    for s in range(10, 210, 10):
        lines.append(train.format(s=s, l=curve(s / 10)))
        if s % 50 == 0:
            lines.append(test.format(s=s))
    log = read(write(lines))
    assert steps_of(log) == list(range(10, 210, 10))
    assert 9 not in log.points().loss
    assert {count for name, count in log.report.evals.items() if "loss" in name.lower()} == {4}
    name = next(name for name in log.report.evals if "loss" in name.lower())
    assert log.evaluations(name)[0].tolist() == [50, 100, 150, 200]


@pytest.mark.parametrize(
    "line",
    [
        "step {s} loss {l} - time since the last eval: 3 s",
        "[test_model.py:30] step {s} loss {l}",
        "/data/val/run: step {s} loss {l}",
        "step {s} loss {l} val_loss 9",
        "step {s} loss {l} test acc 0.5",
        "step {s} loss {l} lr 0.1 latest 3",
    ],
)
def test_words_that_mark_no_line(line: str, write: Write) -> None:
    """A file's name, another number's name, or a word behind the loss do not make an evaluation of it."""
    log = read(write(line.format(s=s, l=curve(s)) for s in range(30)))
    assert len(log) == 30
    assert log.points().loss[0] == curve(0)


def test_a_heading_for_evaluations(write: Write) -> None:
    """What is told below a heading for evaluations, without a clock of its own, is a result of one."""
    lines = []
    for epoch in range(12):
        lines += [
            f"Epoch {epoch}",
            "Training:",
            f"  loss: {curve(epoch)}",
            "Validation:",
            "  loss: 9",
            "  accuracy: 0.5",
        ]
    log = read(write(lines))
    assert (len(log), log.report.evals["eval loss"]) == (12, 12)


@pytest.mark.parametrize("column", ["mode", "split", "phase"])
def test_a_split_in_a_column(column: str, write: Write) -> None:
    """Rows that tell their split in a column of their own are told apart as well."""
    rows: list[dict[str, object]] = []
    for s in range(20):
        rows.append({column: "train", "step": s, "loss": curve(s)})
        rows += [{column: "val", "step": s, "loss": 9.0}] if s % 5 == 4 else []
    log = read(write(map(json.dumps, rows)))
    assert (len(log), log.report.evals) == (20, {"val loss": 4})


def test_only_evaluations(write: Write) -> None:
    """Where every loss stands behind the score of a test, the person is asked, and told the option."""
    path = write(f"step {s} test acc 0.5 loss {curve(s)}" for s in range(20))
    with pytest.raises(LogError, match=r"only evaluations: test loss.*--column 'test loss'"):
        read(path)
    assert len(read(path, column="test loss")) == 20


# Epochs


def epochs(form: str, start: int, stop: int, height: float = 0.0) -> list[str]:
    """A line an epoch, in CSV, JSON lines or text."""
    forms = {
        "csv": "{e},{l}",
        "jsonl": '{{"train_loss": {l}, "epoch": {e}}}',
        "text": "Epoch {e}: loss {l}",
        "heading": "2025-02-25 04:00:09.2: Epoch {e} \n2025-02-25 04:00:09.4: train_loss {l} ",
        "prefix": "INFO:root:Epoch {e}/50\nINFO:root:loss = {l}",
        "stars": "**** EPOCH {e:03d} ****\nmean loss: {l}",
        "model": "NetA - Epoch {e}/50\n  loss: {l}",
        "dashes": "---------- Epoch {e} ----------\nloss: {l}",
    }
    return [forms[form].format(e=e, l=round(curve(e) + height, 4)) for e in range(start, stop)]


FORMS = ("csv", "jsonl", "text", "heading", "prefix", "stars", "model", "dashes")


@pytest.mark.parametrize("form", FORMS)
def test_epochs_that_begin_anew(form: str, write: Write) -> None:
    """A file whose only clock is the epoch holds two runs where the epoch begins anew; each is read by its number."""
    head = ["epoch,loss"] if form == "csv" else []
    path = write(head + epochs(form, 1, 18) + epochs(form, 1, 9, 1.0))
    with pytest.raises(LogError, match="2 runs one after the other") as refused:
        read(path)
    assert len(refused.value.choices) == 2
    first, second = read(path, run=1), read(path, run=2)
    assert (len(first), len(second)) == (17, 8)
    assert (first.report.meaning, second.points().loss[0]) == ("epoch value", round(curve(1) + 1, 4))


@pytest.mark.parametrize("form", FORMS)
def test_one_epoch_twice(form: str, write: Write) -> None:
    """A resume that repeats an epoch, or some, leaves the rows their meaning; what is repeated is counted."""
    head = ["epoch,loss"] if form == "csv" else []
    for back in (1, 5):
        log = read(write(head + epochs(form, 0, 20) + epochs(form, 20 - back, 30)))
        assert steps_of(log) == list(range(30))
        assert log.report.meaning == "epoch value"
        assert log.report.dropped["step that is repeated (the last one was kept)"] == back


# Pairs and lengths


def iterations(total: str, length: int = 120) -> list[str]:
    """Each 50th iteration of 10 epochs of 120."""
    return [
        f"epoch {e} - iter {i}{total} - loss {curve(e * 3 + i / 50):.6f}"
        for e in range(1, 11)
        for i in range(0, length, 50)
    ]


@pytest.mark.parametrize("total", ["/120", "/0120", " of 120"])
def test_a_stated_length(total: str, write: Write) -> None:
    """A length that the lines state is the epoch's, and no word is said."""
    log = read(write(iterations(total)))
    assert steps_of(log)[:6] == [0, 50, 100, 120, 170, 220]
    assert (steps_of(log)[-1], log.report.epoch_steps, log.report.warnings) == (1180, 120, ())


def test_a_length_that_is_guessed(write: Write) -> None:
    """A length that is not stated is guessed, the guess is named, and what the person says replaces it."""
    path = write(iterations(""))
    log = read(path)
    assert log.report.epoch_steps == 150
    assert any("150 steps were assumed (--steps-per-epoch replaces it)" in each for each in log.report.warnings)
    given = read(path, steps_per_epoch=120)
    assert (steps_of(given)[-1], given.report.warnings) == (1180, ())
    assert steps_of(read(write(iterations("/120")), steps_per_epoch=200))[3] == 200


def test_passes_without_an_epoch(write: Write) -> None:
    """Bars that begin anew, with no epoch anywhere, are runs or epochs: the person is asked, and told both options."""
    bars = [
        f"{i // 10}%|██ | {i}/1000 [00:10<00:12, loss={curve(e * 4 + i / 300):.3f}]"
        for e in range(3)
        for i in range(100, 1001, 100)
    ]
    path = write(bars)
    with pytest.raises(
        LogError, match="--run and its number; or, if these are epochs of one run, --steps-per-epoch 1000"
    ):
        read(path)
    log = read(path, steps_per_epoch=1000)
    assert steps_of(log) == list(range(100, 3001, 100))
    assert log.report.warnings == ()
    assert read(write(f"step {s} loss {curve(s)}" for s in range(30)), steps_per_epoch=10).report.epochs is None


def test_a_bar_of_epochs(write: Write) -> None:
    """A bar that is drawn around the epochs counts epochs, not steps."""
    log = read(write(f"Epochs: {e * 5}%|███| {e}/20 [00:01<00:02, t_loss={curve(e):.3f}]" for e in range(1, 21)))
    assert (steps_of(log), log.report.meaning) == (list(range(1, 21)), "epoch value")


def test_samples_become_steps(write: Write) -> None:
    """Pairs that count samples become steps where the person says how many an epoch has."""
    path = write(FAMILIES["PyTorch MNIST"]().lines)
    log = read(path, steps_per_epoch=938)
    assert steps_of(log)[:3] == [0, 100, 200]
    assert log.report.epoch_steps == 938


@pytest.mark.parametrize("name", ["PyTorch ImageNet", "Swin", "timm", "mmdetection", "tqdm", "ESPnet"])
def test_runs_of_pairs(name: str, write: Write) -> None:
    """Two runs in one file are told apart by pairs as well, and a run that begins late keeps its epochs."""
    family = FAMILIES[name]()
    lines = family.text.replace("\r", "\n").splitlines()
    with pytest.raises(LogError, match="2 runs one after the other"):
        read(write([*lines, *lines]))
    later = read(write(lines[len(lines) // 2 :]))
    assert set(steps_of(later)) <= set(steps_of(read(write(lines))))


# Names


def test_the_series_that_has_steps(write: Write) -> None:
    """An epoch's summary that is called the training loss does not hide the losses that stand with the steps."""
    lines = []
    for e in range(1, 13):
        lines += [f"Epoch[{e:03d}/100], Step[{i:04d}/0200], Avg Loss: {curve(e):.4f}" for i in (0, 100)]
        lines.append(f"----- Epoch[{e:03d}/100], Train Loss: {curve(e):.4f}, Train Acc: 0.75")
    path = write(lines)
    log = read(path)
    assert (log.report.series, len(log), log.report.others) == ("Avg Loss", 24, ("Train Loss",))
    log = read(path, column="Train Loss", step_column="epoch")
    assert (len(log), log.report.used.last_step) == (12, 12)


@pytest.mark.parametrize(
    ("line", "series"),
    [
        ("step {s}; xent: {l}; lr: 1.0", "xent"),
        ("Up. {s} : Cost {l} * 2,000", "Cost"),
        ("step {s} nll {l}", "nll"),
        ("step {s} ppl {l}", "ppl"),
        ("step {s} | loss | {l} |", "loss"),
        ("step {s}, loss, {l}", "loss"),
        ("step {s} loss -> {l}", "loss"),
        ("step {s} loss => {l}", "loss"),
        (" {s}: {l} loss, 0.1 rate, 3.5 seconds", "loss"),
        ("[{s}]\ttraining's l2: {l}", "training's l2"),
        ("step {s:,} loss {l}", "loss"),
        ("step{s} loss {l}", "loss"),
    ],
)
def test_other_words_and_marks(line: str, series: str, write: Write) -> None:
    """Other words for what is minimised, and other marks between a name and its number."""
    steps = range(900, 1300, 10)
    log = read(write(line.format(s=s, l=curve((s - 900) / 10)) for s in steps))
    assert (log.report.series, steps_of(log)) == (series, list(steps))
    assert log.points().loss[0] == curve(0)


@pytest.mark.parametrize(
    "line",
    [
        "| epoch   {e} |    {i}/1000 batches | lr 5.00 | ms/batch 5.5 | loss  {l} | ppl   100.0",
        "Training epoch {e}: 100%|███| {i}/1000 [00:10<00:00, 10.0it/s, loss={l}]",
        "epoch {e} {i}/1000 steps loss={l}",
    ],
)
def test_pairs_beside_other_words(line: str, write: Write) -> None:
    """A pair that counts batches by a word behind it is the clock, and milliseconds a batch are none."""
    lines = [line.format(e=e, i=i, l=round(curve(e * 3 + i / 300), 4)) for e in range(3) for i in range(200, 1001, 200)]
    log = read(write([*lines, "Validating epoch 2: 100%|███| 20/20 [00:01<00:00, 20.0it/s, loss=9]"]))
    assert steps_of(log) == list(range(200, 3001, 200))
    assert 9 not in log.points().loss


def test_a_number_in_a_name(write: Write) -> None:
    """Two losses that are told apart by a number are two series, and the number is no loss."""
    path = write(f"iteration {s}: loss 1: {curve(s)}, loss 2: 0.5" for s in range(20))
    with pytest.raises(LogError, match="2 series could be meant") as refused:
        read(path)
    assert refused.value.choices == ("loss 1 (20 points seen)", "loss 2 (20 points seen)")
    assert read(path, column="loss 1").points().loss[0] == curve(0)


def test_a_perplexity_is_marked(write: Write) -> None:
    """A perplexity that is read because nothing else is there is called one."""
    assert read(write(f"step {s} ppl {curve(s)}" for s in range(20))).report.meaning == "perplexity"


def test_a_refusal_lists_what_there_is(write: Write) -> None:
    """Where nothing is called a loss, the refusal lists the names in the lines, and the option that takes one."""
    path = write(f"step {s}: bits {curve(s)} fps 30" for s in range(20))
    with pytest.raises(LogError, match="no line speaks of a loss; lines tell:") as refused:
        read(path)
    assert refused.value.choices == ("bits (20 points seen)", "fps (20 points seen)")
    assert "--column 'bits'" in str(refused.value)
    assert len(read(path, column="bits")) == 20


def test_a_table_of_pairs(write: Write) -> None:
    """A table of names and values has no columns; each of its names is one."""
    lines = []
    for i in range(1, 13):
        lines += ["| train/ | |", f"|    loss | {curve(i):.3f} |", f"|    n_updates | {10 * i} |"]
    log = read(write(lines))
    assert (log.report.series, steps_of(log)) == ("train/loss", list(range(10, 130, 10)))


# Files


def test_two_runs_are_not_joined(write: Write) -> None:
    """Two files that begin at the same step and tell other losses are two runs; copies of one file are one."""
    one = write([f"step {s} loss {curve(s)}" for s in range(30)], "one")
    two = write([f"step {s} loss {curve(s) + 1}" for s in range(40)], "two")
    with pytest.raises(LogError, match="these are two runs: both begin at the same step"):
        read([one, two])
    same = write([f"step {s} loss {curve(s)}" for s in range(40)], "same")
    assert len(read([one, same])) == 40
    later = write([f"step {s} loss {curve(s) + 1}" for s in range(25, 60)], "later")
    assert len(read([one, later])) == 60


def test_steps_and_epochs_are_not_joined(write: Write) -> None:
    """A file that counts steps and one that counts epochs are no parts of one run."""
    one = write([f"step {s} loss {curve(s)}" for s in range(30)], "one")
    two = write([f"Epoch {e}: loss {curve(e)}" for e in range(30)], "two")
    with pytest.raises(LogError, match=r"not parts of one run: .*one counts steps, .*two counts epochs"):
        read([one, two])


def test_a_refusal_does_not_suggest_a_counter(write: Write) -> None:
    """Of columns in another language, the one that is suggested is not that of the steps."""
    path = write(["schritt;verlust", *(f"{i};{3 - i / 10}" for i in range(12))])
    with pytest.raises(LogError, match="for instance --column 'verlust'"):
        read(path)


def test_names_of_columns_lose_the_blanks_around_them(write: Write) -> None:
    """A table in Markdown has its names as a person reads them."""
    rows = [f"| {i * 100} | {3 - i / 10:.2f} | {3.1 - i / 10:.2f} |" for i in range(10)]
    report = read(write(["| step | train loss | val loss |", "|---|---|---|", *rows])).report
    assert (report.series, report.used.points, report.evals) == ("train loss", 10, {"val loss": 10})
