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
    assert 'this trainer cannot turn the knob "cutoff"' in capfd.readouterr().err
