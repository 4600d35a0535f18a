"""What the commands write never takes the place of what they read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.commands.outputs import CURRICULA, OUTPUTS, RUNS
from plateau_rule.controller.language.reading import contents

LOSSES = "step,loss\n" + "".join(f"{step},{3 + 1 / (1 + step):.4f}\n" for step in range(300))
READS = "this command reads that file, and would write over it"
TOML = "that file exists, and what is to be written is not TOML"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder we are in: two curricula, logs by several names, and a folder with a log."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine.toml", "other.toml", "curriculum.svg"):
        Path(name).write_bytes(contents("plateau")[0])
    for name in ("c.log", "c.svg", "c.html", "fit.svg", "run/metrics.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(LOSSES)
    Path("link.svg").symlink_to("c.svg")
    os.link("c.svg", "hard.svg")
    Path("page.html").symlink_to("mine.toml")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("report mine.toml c.log -o mine.toml", READS),
        ("report mine.toml c.log -o c.log", READS),
        ("report mine.toml c.html -o c.html", READS),
        ("report mine.toml c.log -o other.toml", TOML),
        ("report plateau c.log -o page.html", TOML),
        ("fit c.log --out c.log", READS),
        ("fit run --out run/metrics.csv", READS),
        ("fit c.log --out mine.toml", TOML),
        ("draw mine.toml -o mine.toml --as svg", READS),
        ("draw curriculum.svg -o curriculum.svg", READS),
        ("draw mine.toml -o ./run/../other.toml --as dot", TOML),
        ("plot c.svg -o c.svg", READS),
        ("plot c.log c.svg -o link.svg", READS),
        ("plot link.svg -o hard.svg", READS),
        ("schema -o mine.toml", TOML),
        ("check mine.toml -o mine.toml", READS),
        ("check mine.toml --format brief -o other.toml", TOML),
        ("check mine.toml --log c.svg --plot c.svg", READS),
        ("replay mine.toml c.svg --plot c.svg", READS),
        ("replay mine.toml --log c.log --log c.svg -o c.svg", READS),
        ("tune mine.toml --log c.svg --over window=10..20 -o c.svg", READS),
        ("simulate curriculum.svg -o curriculum.svg", READS),
        ("simulate mine.toml --fitted fit.svg --plot fit.svg", READS),
    ],
)
def test_no_input_is_lost(folder: Path, capfd: pytest.CaptureFixture[str], words: str, why: str) -> None:
    """An output that is an input, by whatever name, or a TOML file that exists, is refused; no file changes."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert plateau.main(words.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith(f": {why}. Name another file to write to; nothing was changed\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_train_writes_into_a_folder(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where a run's folder is to be, `train` refuses its own curriculum, and leaves it as it is."""
    pytest.importorskip("torch", reason="train needs torch")
    before = (folder / "mine.toml").read_bytes()
    assert plateau.main(["train", "mine.toml", "--out", "mine.toml"]) == 2
    assert "mine.toml: is a file" in capfd.readouterr().err
    assert (folder / "mine.toml").read_bytes() == before


@pytest.mark.parametrize("name", ["x.txt", "x", "new.toml"])
def test_a_report_is_html(folder: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    """A report goes into a file that ends in .html; another ending is refused before anything is read."""
    assert plateau.main(["report", "mine.toml", "c.log", "-o", name]) == 2
    assert capfd.readouterr().err == f"{name}: a report is a page in HTML; name a file that ends in .html\n"
    assert not (folder / name).exists()


@pytest.mark.parametrize(("command", "default"), [("plot", "curve.png"), ("report mine.toml", "run.html")])
def test_a_default_name_is_no_input_either(
    folder: Path, capfd: pytest.CaptureFixture[str], command: str, default: str
) -> None:
    """An output that was not named is one that the command reads: it is refused, and stays as it is."""
    (folder / default).write_text("step,loss\n0,3.0\n1,2.0\n")
    before = (folder / default).read_bytes()
    assert plateau.main([*command.split(), default]) == 2
    assert capfd.readouterr().err.startswith(f"{default}: this command reads that file, and would write over it")
    assert (folder / default).read_bytes() == before


@pytest.mark.parametrize("words", ["draw mine.toml -o a.svg", "schema -o a.json", "check . -o a.log"])
def test_an_output_may_be_written_again(folder: Path, words: str) -> None:
    """A file that an earlier call wrote is replaced."""
    for _ in range(2):
        assert plateau.main(words.split()) == 0
        assert (folder / words.split()[-1]).stat().st_size


def test_every_input_is_known() -> None:
    """Whatever a command that writes a file takes by its place is an input that is spared."""
    for name in plateau.COMMANDS:
        names = {one.field_info.name: one for one in plateau.app[name].assemble_argument_collection()}
        if not names.keys().isdisjoint(OUTPUTS):
            places = {one for one, argument in names.items() if argument.field_info.is_positional}
            assert places <= {*CURRICULA, *RUNS}, name
