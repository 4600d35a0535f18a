"""The command `plateau draw`, as it is called from a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        ([], "---\ntitle: plateau\n---\nstateDiagram-v2\n"),
        (["--as", "mermaid"], "---\n"),
        (["--as", "dot"], 'digraph "plateau" {\n'),
        (["--as", "svg"], "<svg "),
    ],
)
def test_draw(capfd: pytest.CaptureFixture[str], words: list[str], begins: str) -> None:
    """`draw` prints Mermaid, or what --as asks for."""
    assert plateau.main(["draw", "plateau", *words]) == 0
    assert capfd.readouterr().out.startswith(begins)


@pytest.mark.parametrize(
    ("name", "begins"), [("a.svg", "<svg "), ("a.dot", "digraph"), ("a.gv", "digraph"), ("a.md", "---")]
)
def test_draw_to_a_file(tmp_path: Path, name: str, begins: str) -> None:
    """With -o the picture goes to a file, whose name says which kind it is."""
    assert plateau.main(["draw", "plateau", "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)


def test_draw_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, a kind that is none, a folder that is not there: exit code 2 and a sentence."""
    assert plateau.main(["draw", "platau"]) == 2
    assert 'Did you mean "plateau"?' in capfd.readouterr().err
    assert plateau.main(["draw", "plateau", "--as", "png"]) == 2
    assert "png" in capfd.readouterr().err
    assert plateau.main(["draw", "plateau", "-o", str(tmp_path / "no" / "a.svg")]) == 2
    assert "No such file or directory" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words", [["a.png"], ["a.PDF"], ["a"], ["a.txt"], ["a.png", "--as", "svg"], ["a.svg", "--as", "dot"]]
)
def test_draw_refuses_an_ending(tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    """A file whose ending is none of the formats', or is that of another one, is refused, and nothing is written."""
    file = tmp_path / words[0]
    assert plateau.main(["draw", "plateau", "-o", str(file), *words[1:]]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"{file}: a curriculum is drawn as SVG (.svg), DOT (.dot, .gv) or Mermaid (.mmd, .md). ")
    assert not file.exists()


def test_draw_as(tmp_path: Path) -> None:
    """With --as, an ending that means nothing is no obstacle."""
    assert plateau.main(["draw", "plateau", "--as", "dot", "-o", str(tmp_path / "a.txt")]) == 0
    assert (tmp_path / "a.txt").read_text(encoding="utf-8").startswith("digraph")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("plot a.csv", "-o a.bmp"),
        ("replay plateau a.csv", "-o a.bmp"),
        ("simulate plateau", "-o a.bmp"),
        ("tune plateau --log a.csv", "-o a.bmp"),
    ],
)
def test_o_everywhere(capfd: pytest.CaptureFixture[str], words: str, option: str) -> None:
    """Every command that draws takes -o, and refuses an ending that it cannot write before it reads anything."""
    assert plateau.main([*words.split(), *option.split()]) == 2
    assert "a.bmp: pictures are written as PNG or SVG; name a file that ends in .png or .svg" in capfd.readouterr().err


def test_draw_within_a_limit(capfd: pytest.CaptureFixture[str]) -> None:
    """With a limit the machine is drawn as it is bound: larger values are the limit, merged states are named."""
    assert plateau.main(["draw", "plateau", "--limit", "cutoff=300", "--peak", "0.5"]) == 0
    out, err = capfd.readouterr()
    assert [line.split("<br>")[1] for line in out.splitlines() if "<br>" in line] == [
        "cutoff 128 rfft bins", "cutoff 256 rfft bins", "cutoff 300 rfft bins",
    ]  # fmt: skip
    assert "lr 0.5" in out
    assert err == 'state "full" equals "spelling" within the limits cutoff 300: merged\n'
    assert plateau.main(["draw", "plateau", "--limit", "depth=3"]) == 2
    assert '--limit depth: this curriculum has no knob "depth". Known here: cutoff.' in capfd.readouterr().err
