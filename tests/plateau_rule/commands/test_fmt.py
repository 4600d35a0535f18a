"""The command `plateau fmt`, as it is called from a shell."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.language.reading import shipped

PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")
UNTIDY = PLATEAU.replace('name        = "plateau"', 'name="plateau"')


def test_fmt(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`fmt` lays out a file in place and says so; a second time it has nothing to do, and says that."""
    file = tmp_path / "mine.toml"
    file.write_text(UNTIDY, encoding="utf-8")
    assert plateau.main(["fmt", str(file)]) == 0
    assert file.read_text(encoding="utf-8") == PLATEAU
    assert capfd.readouterr().out == f"{file}: formatted\n"
    assert plateau.main(["fmt", str(file)]) == 0
    assert capfd.readouterr().out == "1 file unchanged\n"
    assert list(tmp_path.iterdir()) == [file]


def test_fmt_check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`fmt --check` writes nothing, names what would change, and exits with 1 if there is any."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(PLATEAU, encoding="utf-8")
    bad.write_text(UNTIDY, encoding="utf-8")
    assert plateau.main(["fmt", "--check", str(good), str(bad)]) == 1
    assert capfd.readouterr().out == f"{bad}: would change\n1 file unchanged\n"
    worse = tmp_path / "worse.toml"
    worse.write_text(UNTIDY, encoding="utf-8")
    assert plateau.main(["fmt", "--check", str(worse), str(bad)]) == 1
    assert capfd.readouterr().out == f"{worse}: would change\n{bad}: would change\n"
    assert bad.read_text(encoding="utf-8") == UNTIDY
    assert plateau.main(["fmt", "--check", str(good)]) == 0


def test_fmt_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that is no curriculum does not keep the others from being laid out."""
    worse, bad = tmp_path / "worse.toml", tmp_path / "bad.toml"
    worse.write_text("x: 1\n", encoding="utf-8")
    bad.write_text(UNTIDY, encoding="utf-8")
    assert plateau.main(["fmt", str(worse), str(bad)]) == 2
    out, err = capfd.readouterr()
    assert out == f"{bad}: formatted\n"
    assert err.startswith(f"{worse}:1:2: ")
    assert bad.read_text(encoding="utf-8") == PLATEAU


def test_fmt_print(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`fmt --print` leaves the file alone; it also prints a shipped curriculum, with a schema if it is there."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(UNTIDY, encoding="utf-8")
    assert plateau.main(["fmt", "--print", str(file)]) == 0
    assert plateau.main(["fmt", "--print", "plateau"]) == 0
    assert capfd.readouterr().out == PLATEAU + PLATEAU.partition("\n")[2]
    assert plateau.main(["schema", "-o", "curriculum-1.schema.json"]) == 0
    assert plateau.main(["fmt", "--print", "plateau"]) == 0
    assert capfd.readouterr().out == PLATEAU
    assert file.read_text(encoding="utf-8") == UNTIDY


def test_fmt_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`fmt -` reads the standard input and prints, as editors call it."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(UNTIDY.encode())))
    assert plateau.main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == PLATEAU


def test_fmt_keeps_line_ends_and_mode(tmp_path: Path) -> None:
    """Windows' line ends stay, and so does who may read the file."""
    file = tmp_path / "mine.toml"
    file.write_bytes(UNTIDY.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    assert plateau.main(["fmt", str(file)]) == 0
    assert file.read_bytes() == PLATEAU.replace("\n", "\r\n").encode()
    assert file.stat().st_mode & 0o777 == 0o640
    half = UNTIDY.count("\n") // 2
    for count, ends in ((half, "\n"), (half + 1, "\r\n")):  # what most lines have, all get
        file.write_bytes(UNTIDY.replace("\n", "\r\n", count).encode())
        assert plateau.main(["fmt", str(file)]) == 0
        assert file.read_bytes() == PLATEAU.replace("\n", ends).encode()


def test_fmt_follows_links(tmp_path: Path) -> None:
    """A link stays a link; the file that it leads to is laid out."""
    file, link = tmp_path / "mine.toml", tmp_path / "link.toml"
    file.write_text(UNTIDY, encoding="utf-8")
    try:
        link.symlink_to(file)
    except OSError:
        pytest.skip("this system allows no links")
    assert plateau.main(["fmt", str(link)]) == 0
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == PLATEAU


def test_fmt_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no curriculum stays as it is, nothing at all is a mistake, and shipped files are not overwritten."""
    file = tmp_path / "mine.toml"
    file.write_text("name = 5\n")
    assert plateau.main(["fmt", str(file)]) == 2
    assert file.read_text() == "name = 5\n"
    assert f"{file}:1:8: name: found 5" in capfd.readouterr().err
    assert plateau.main(["fmt"]) == 2
    assert capfd.readouterr().err == "plateau fmt: FILE is missing. See: plateau fmt --help\n"
    assert plateau.main(["fmt", "--chekc", str(file)]) == 2
    assert capfd.readouterr().err == (
        'plateau fmt: unknown option --chekc. Did you mean "--check"? See: plateau fmt --help\n'
    )
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"name = 5\n")))
    assert plateau.main(["fmt", "-"]) == 2
    assert "<stdin>:1:8: name: found 5" in capfd.readouterr().err
    shutil.copytree(shipped()["plateau"].parent, tmp_path / "curricula")  # not those of this project, if it goes wrong
    monkeypatch.setattr(
        "plateau_rule.controller.language.reading.files", lambda folder: tmp_path / folder.rpartition(".")[2]
    )
    monkeypatch.setattr(
        "plateau_rule.controller.language.writing.formatted", lambda content, name: PLATEAU + "# changed\n"
    )
    assert plateau.main(["fmt", "plateau"]) == 2
    assert capfd.readouterr().err == (
        '"plateau" is a shipped curriculum; expected a file of your own. '
        "Print it: plateau fmt plateau --print [would-overwrite]\n"
    )
    assert shipped()["plateau"].read_text(encoding="utf-8") == PLATEAU
