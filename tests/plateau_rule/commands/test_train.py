"""`plateau train` and `python -m fftcore.run`: a clear sentence for every mistake, and nothing that existed is lost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.fftcore.record import read_record
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.sim.plots import draw_run
from tests.fftcore.micro import CURRICULUM, contents, micro_text

PEAK = PRESETS["tiny"].peak
FLAGS = (
    *("--data", "text", "--device", "cpu", "--save-every", "5", "--log-every", "16"),
    *("--d-model", "8", "--layers", "1", "--seq-len", "24", "--kernel-len", "12", "--kernel-groups", "2"),
    *("--chunk", "4", "--batch-size", "2"),
)
PUBLISHED_FLAGS = (
    *("--published", "--data", "text", "--device", "cpu"),
    *("--d-model", "8", "--layers", "1", "--seq-len", "24", "--chunk", "4", "--batch-size", "2"),
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a curriculum and a text, in which commands are given; pictures are left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    (tmp_path / "micro.toml").write_bytes(CURRICULUM)
    (tmp_path / "text").write_bytes(micro_text())
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one message that a command is refused with; whatever is in the folder must stay as it is."""
    before = contents(Path())
    capsys.readouterr()
    assert plateau.main(["train", *words]) == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert contents(Path()) == before
    return told.err.strip()


def help_of(capsys: pytest.CaptureFixture[str]) -> str:
    """What `plateau train --help` prints."""
    capsys.readouterr()
    assert plateau.main(["train", "--help"]) == 0
    return capsys.readouterr().out


def test_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A run says what it trains, where it stands, what the guards say, its raises, its score, and where it all is."""
    assert plateau.main(["train", "micro.toml", *FLAGS]) == 0
    told = capsys.readouterr().out
    assert f'"micro" in runs/micro: 4 epochs of 8 steps of 48 bytes, peak rate {PEAK}, on cpu' in told
    assert f"step 16/32  epoch 2  middle  cutoff 256 bins (0.125 cycles/byte)  rate {PEAK}  loss" in told
    assert "min_epoch: 0 epochs complete, 2 needed -> false" in told
    assert "RAISE at step 24, epoch 3: middle → full   cutoff 256 bins (0.125 cycles/byte) → 1025 bins" in told
    assert re.search(r"^peak memory: \d+\.\d\d GiB$", told, re.MULTILINE)
    assert "bits/byte as a stream" in told.splitlines()[-2]
    assert told.splitlines()[-1] == "all of it is in runs/micro"
    assert (Path("runs/micro") / "summary.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("micro --data text", 'there is no curriculum "micro"'),
        ("broken.toml --data text", "broken.toml:2:8: "),
        ("micro.toml --data absent", "absent: the text to train on does not exist"),
        ("micro.toml --data empty", "empty: the text to train on is empty"),
        ("micro.toml --data short", "short: 300 bytes leave 15 for validation, and one window takes 272"),
        ("micro.toml --data text --epochs 0", "epochs"),
        ("micro.toml --data text --steps-per-epoch -1", "--steps-per-epoch -1; expected at least 1"),
        ("micro.toml --data text --kernel-groups 3", "d_model 160 is not a multiple of kernel_groups 3"),
        ("micro.toml --data text --dropout 1", "--dropout 1.0"),
        ("micro.toml --data text --published --kernel-groups 2", "the published model has one kernel a block"),
        ("micro.toml --data text --published --memory", "memory: the published model has none"),
        ("micro.toml --data text --objective best", "--objective"),
        ("micro.toml --data text --zero-phase", "--zero-phase"),
        ("micro.toml --data text --peak nan", "--peak nan"),
        ("micro.toml --data text --seed -1", "--seed"),
        ("micro.toml --data text --device abacus", "--device abacus"),
        ("micro.toml --data text --device cuda:77", "--device cuda:77"),
        ("micro.toml --data text --resume", "runs/micro: there is no run to resume here"),
        ("micro.toml --data text --resume --out text", "text: there is no run to resume here"),
        ("micro.toml --data text --out text", "text: is a file"),
        ("micro.toml --data text --out full", "full: holds files that are no run (a, b)"),
        ("micro.toml --data text --freeze-backbone full", "full: holds no run of `plateau train`"),
        ("image.toml --data text", 'this trainer cannot turn the knob "image_size"'),
        ("scored.toml --data text", 'this trainer does not give the metric "val_acc"'),
        ("endless.toml --data text", "how long is the run?"),
        ("half.toml --data text", "cutoff = 64.5; this trainer takes whole numbers"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    """Each mistake is answered by a sentence that names the place, by exit code 2, and by nothing else."""
    Path("broken.toml").write_text("format = 1\nname = broken\n")
    Path("image.toml").write_bytes(CURRICULUM.replace(b"cutoff", b"image_size"))
    Path("scored.toml").write_bytes(CURRICULUM.replace(b"{ window = 6", b'{ metric = "val_acc", window = 6'))
    Path("endless.toml").write_bytes(CURRICULUM.replace(b"epochs = 4\n", b"", 1))
    Path("half.toml").write_bytes(CURRICULUM.replace(b"64", b"64.5"))
    Path("empty").touch()
    Path("short").write_bytes(b"x" * 300)
    Path("full").mkdir()
    for name in ("a", "b"):
        (Path("full") / name).touch()
    assert told in refused(capsys, *words.split())


@pytest.mark.parametrize(("word", "has"), [((), True), (("--memory",), True), (("--no-memory",), False)])
def test_a_switch_of_the_preset_goes_both_ways(capsys: pytest.CaptureFixture[str], word: tuple[str], has: bool) -> None:
    """What the preset switches on, `--no-…` switches off: of such switches both words are options."""
    assert plateau.main(["train", "micro.toml", *FLAGS, *word]) == 0
    assert read_record(Path("runs/micro")).config.model.memory is has
    assert ("1 layer of 8 channels, too few for a memory, 24 bytes" in capsys.readouterr().out) is has
    assert "--published --no-published" in " ".join(help_of(capsys).split())


def test_a_backbone_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """Options that ask for another backbone are refused before anything is written; the new head may be of any size."""
    assert plateau.main(["train", "micro.toml", *FLAGS]) == 0
    heads = ("micro.toml", *FLAGS[:4], "--out", "heads", "--freeze-backbone", "runs/micro")
    for words, told in (
        ("--no-memory", "--no-memory contradicts the backbone, which was trained with --memory. Leave --no-memory out"),
        ("--layers 2", "runs/micro: --layers 2 contradicts the backbone, which was trained with 1. Leave --layers out"),
        ("--feed gelu", "--feed gelu contradicts the backbone, which was trained with swiglu"),
        ("--published", "--published contradicts the backbone, which was trained with --no-published"),
    ):
        assert told in refused(capsys, *heads, *words.split())
    assert plateau.main(["train", *heads, "--chunk", "8", "--d-model", "8", "--feed", "swiglu"]) == 0
    assert read_record(Path("heads")).config.model.chunk == 8
    assert plateau.main(["export", "heads", "--out", "model"]) == 0


def test_existing_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds a run is not begun in again; what contradicts the run is refused; what agrees is welcome."""
    assert plateau.main(["train", "micro.toml", *FLAGS, "--preset", "tiny", "--seed", "3"]) == 0
    assert "holds a run already. Continue it with --resume" in refused(capsys, "micro.toml", *FLAGS)
    for words, told in (
        ("--layers 2", "--layers 2 contradicts the run, which was begun with 1"),
        ("--seed 4", "--seed 4 contradicts the run, which was begun with 3"),
        ("--no-memory", "--no-memory contradicts the run, which was begun with --memory. Leave --no-memory out"),
        ("--published", "--published contradicts the run, which was begun with --no-published"),
        ("--draft-every 8", "--draft-every 8 contradicts the run, which was begun with 4"),
        ("--peak 1", f"--peak 1.0 contradicts the run, which was begun with {PEAK}"),
        ("--steps-per-epoch 9", "--steps-per-epoch 9 contradicts the run, which was begun with 8"),
        ("--epochs 3", "A longer run is fine"),
        ("--preset base", "checkpoints are of another model, of preset tiny"),
        (
            "--freeze-backbone text",
            "--freeze-backbone text contradicts the run, which was begun with no frozen",
        ),
        ("--data micro.toml", "micro.toml: is another text than the run in runs/micro was begun with"),
    ):
        assert told in refused(capsys, "micro.toml", "--resume", *words.split())
    same = ("--preset", "tiny", "--seed", "3", "--layers", "1", "--memory", "--draft-every")
    for drafts in ("4", "0"):  # that many, or as many as the chunk has
        assert plateau.main(["train", "micro.toml", "--resume", *same, drafts]) == 0
    capsys.readouterr()
    Path("text").rename("moved")
    assert "text: the text to train on does not exist" in refused(capsys, "micro.toml", "--resume")
    assert plateau.main(["train", "micro.toml", "--resume", "--data", "moved", "--epochs", "5"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("micro.toml --resume", "runs/micro: there is no run to resume here"),
        ("--resume micro.toml", "runs/micro: there is no run to resume here"),
        ("micro.toml --resume --seed 3", "runs/micro: there is no run to resume here"),
        ("micro.toml --resume=atuo", '--resume "atuo"; expected auto. Did you mean "auto"?'),
        ("micro.toml --resume auto --data absent", "absent: the text to train on does not exist"),
    ],
)
def test_how_to_resume(capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    """`--resume` stands anywhere, by itself or with the word auto."""
    assert told in refused(capsys, *words.split())


def test_published(capsys: pytest.CaptureFixture[str]) -> None:
    """`--published` trains the published model made causal; what else is given replaces its values."""
    assert plateau.main(["train", "micro.toml", *PUBLISHED_FLAGS, "--dropout", "0.2"]) == 0
    config = read_record(Path("runs/micro")).config
    assert (config.model.published, config.model.objective, config.dropout) == (True, "chunk-last", 0.2)
    told = refused(capsys, "micro.toml", "--resume", "--objective", "dense")
    assert "--objective dense contradicts the run, which was begun with chunk-last" in told
    assert plateau.main(["train", "micro.toml", "--resume", "--published"]) == 0


def test_zero_phase(capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose record asks for the published model as it was is refused in a sentence: it sees the future."""
    assert plateau.main(["train", "micro.toml", *PUBLISHED_FLAGS]) == 0
    record = Path("runs/micro/run.json")
    content = unseal(record.read_bytes())
    content["config"]["model"]["zero_phase"] = True
    record.write_bytes(seal(content))
    assert "sees the bytes that it is asked to predict" in refused(capsys, "micro.toml", "--resume")


def test_edited_curriculum(capsys: pytest.CaptureFixture[str]) -> None:
    """A resume under an edited curriculum is refused with what differs, and goes on with it when told to accept it."""
    assert plateau.main(["train", "micro.toml", *FLAGS]) == 0
    Path("micro.toml").write_bytes(CURRICULUM.replace(b"threshold = 0.9", b"threshold = 0.8"))
    told = refused(capsys, "micro.toml", "--resume")
    assert "another curriculum" in told
    assert "on_change" in told or "--on-change" in told
    words = ["train", "micro.toml", "--resume", "--on-change", "accept", "--epochs", "5"]
    assert plateau.main(words) == 0
    assert b"0.8" in (Path("runs/micro") / "curriculum.toml").read_bytes()
    assert plateau.main(["train", "micro.toml", "--resume"]) == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe", b"null"])
def test_damaged_record(capsys: pytest.CaptureFixture[str], damage: bytes) -> None:
    """A damaged run.json is an error that names it, not a new run."""
    Path("runs/micro").mkdir(parents=True)
    (Path("runs/micro") / "run.json").write_bytes(damage)
    assert "runs/micro/run.json" in refused(capsys, "micro.toml", "--resume")
    assert "holds a run already" in refused(capsys, "micro.toml", *FLAGS)


def test_interrupted_beginning(here: Path) -> None:
    """What a start leaves behind that was killed before there was a run does not stop the next start."""
    folder = here / "runs" / "micro"
    folder.mkdir(parents=True)
    (folder / "curriculum.toml").write_bytes(CURRICULUM)
    (folder / ".run.json.unfinished").write_bytes(b"{")
    assert plateau.main(["train", "micro.toml", *FLAGS]) == 0


def test_without_matplotlib(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where matplotlib is missing the run says so in a line and is whole but for its picture."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", draw_run)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert plateau.main(["train", "micro.toml", *FLAGS]) == 0
    told = capsys.readouterr().out
    assert "no curve.png: Drawing needs matplotlib, which is not installed. It belongs to the extra" in told
    assert not (Path("runs/micro") / "curve.png").exists()
    assert (Path("runs/micro") / "summary.json").exists()


def test_module_is_the_command(pytestconfig: pytest.Config) -> None:
    """`python -m fftcore.run` takes what `plateau train` takes, and refuses as it does."""
    command = [sys.executable, "-m", "plateau_rule.fftcore.run", "absent.toml"]
    result = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "absent.toml" in result.stderr
    assert "Traceback" not in result.stderr


def test_light_import() -> None:
    """Importing the room loads no torch, and neither does reading the command's help."""
    code = "import sys, plateau_rule.fftcore.run, plateau_rule.commands.train; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
