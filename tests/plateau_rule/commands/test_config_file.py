"""`plateau train --config FILE`: options in TOML, every fault with its place; the command line wins."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="train needs torch")

from plateau_rule.commands import app as plateau
from plateau_rule.fftcore.record import read_record
from tests.fftcore.micro import CURRICULUM, contents, micro_text

FILE = """\
curriculum = "micro.toml"
data = "text"
out = "runs/one"
resume = "auto"
device = "cpu"
save-every = 5
log_every = 16
d-model = 8
layers = 1
seq-len = 24
kernel-len = 12
kernel-groups = 2
chunk = 4
batch-size = 2
peak = 6e-3
compile = false
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a curriculum and a text, in which commands are given; pictures are left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    Path("micro.toml").write_bytes(CURRICULUM)
    Path("text").write_bytes(micro_text())
    Path("run.toml").write_text(FILE)


def train(*words: str) -> int:
    """Give the command with the file."""
    return plateau.main(["train", *words, "--config", "run.toml"])


def test_all_of_it_from_a_file() -> None:
    """A file says all that options can, the curriculum too, and what the command line says wins."""
    assert train("--seed", "7", "--save-every", "4 steps", "--out", "runs/other", "--compile=false") == 0
    record = read_record(Path("runs/other"))
    assert (record.config.model.d_model, record.config.save_every, record.seed) == (8, 4, 7)
    assert record.config.peak == 6e-3
    assert not Path("runs/one").exists()


def test_resumed_by_the_same_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The same file goes on with a run; a file that was changed since is refused, and named."""
    assert train() == 0
    assert train("--epochs", "5") == 0
    Path("run.toml").write_text(FILE.replace("layers = 1", "layers = 2"))
    before = contents(Path())
    assert train() == 2
    told = capsys.readouterr().err
    assert "--layers 2 contradicts the run, which was begun with 1. Leave --layers, or layers in run.toml, out" in told
    assert contents(Path()) == before
    assert train("--layers", "1") == 0


def test_a_switch_that_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    """What the file switches off is named by the word that does so, and found in the file under its own."""
    assert train("--memory") == 0
    Path("run.toml").write_text(FILE + "memory = false\n")
    assert train() == 2
    told = capsys.readouterr().err
    assert "--no-memory contradicts the run, which was begun with --memory. Leave --no-memory, or memory in" in told
    assert train("--memory") == 0


def test_an_option_that_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """Of such an option the file has a list, and each of its values is taken."""
    Path("run.toml").write_text(FILE + 'track = ["tensorboard:one", "abacus:two"]\n')
    assert train() == 2
    assert "'abacus' is no tracker" in capsys.readouterr().err
    Path("run.toml").write_text(FILE + "track = []\n")
    assert train() == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("track = [1]", "run.toml:1:9: track: a list; expected text or a list of texts"),
        ("epoch = 5", 'run.toml:1:1: epoch: unknown key "epoch". Did you mean "epochs"? [unknown-key]'),
        ("config = 'x'", 'run.toml:1:1: config: unknown key "config".'),
        ("layers = 'two'", 'run.toml:1:10: layers: "two"; expected a whole number [wrong-type]'),
        ("layers = true", "run.toml:1:10: layers: true; expected a whole number"),
        ("seed = 3.5", "run.toml:1:8: seed: 3.5; expected a whole number"),
        ("seed = -1", "run.toml:1:8: seed -1; expected at least 0"),
        ("peak = '1'", 'run.toml:1:8: peak: "1"; expected a number'),
        ("compile = 1", "run.toml:1:11: compile: 1; expected true or false"),
        ("data = 5", "run.toml:1:8: data: 5; expected a path, as text"),
        (r'out = "a\u0000b"', 'run.toml:1:7: out: "a�b"; expected a path, as text, without null characters'),
        ("save-every = 5.5", "run.toml:1:14: save-every: 5.5; expected text or a whole number"),
        ("preset = 'tinny'", 'preset: "tinny"; expected "tiny" or "base". Did you mean "tiny"?'),
        ("resume = 'atuo'", 'resume: "atuo"; expected true or false or "auto". Did you mean "auto"?'),
        ("keep = [3]", "keep: a list; expected a whole number"),
        ("d_model = 8\nd-model = 8", 'run.toml:2:1: d-model: "d-model" is the same option as "d_model"'),
        (
            "[run]\nepochs = 3",
            'run.toml:1:1: run: a table "run"; expected options and their values. Write NAME = VALUE',
        ),
        ("[[run]]\nepochs = 3", 'run: a table "run"'),
        ("epochs = ", 'run.toml:1:10: nothing after "="'),
        ("x = " + "[" * 40, "nested more than 32 deep"),
        ("#" * 70_000, "a file of more than 64 KiB"),
    ],
)
def test_faults(capsys: pytest.CaptureFixture[str], line: str, told: str) -> None:
    """Each mistake in the file is answered with its place, what was found and what was expected."""
    Path("run.toml").write_text(line + "\n")
    assert plateau.main(["train", "micro.toml", "--config", "run.toml"]) == 2
    assert told in capsys.readouterr().err
    assert not Path("runs").exists()


def test_all_faults_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A file with two mistakes is told of both."""
    Path("run.toml").write_text("epoch = 5\nlayers = 'two'\n")
    assert train("micro.toml") == 2
    told = capsys.readouterr().err
    assert "run.toml:1:1" in told
    assert "run.toml:2:10" in told


@pytest.mark.parametrize(
    ("name", "told"), [("absent", "does not exist"), (".", "is not a regular file"), ("a\0b", "does not exist")]
)
def test_no_such_file(capsys: pytest.CaptureFixture[str], name: str, told: str) -> None:
    """A file that is not there, or is none, is said in a sentence."""
    assert plateau.main(["train", "micro.toml", "--config", name]) == 2
    assert told in capsys.readouterr().err
