"""What the wheel holds; the same from a checkout, from the sdist, and by an editable install."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.wheel.conftest import build

ROOMS = ("controller", "sim", "fftcore", "curricula")


@pytest.fixture(scope="module")
def wheel(wheel_path: Path) -> zipfile.ZipFile:
    """The wheel, open."""
    return zipfile.ZipFile(wheel_path)


def expected() -> set[str]:
    """Every file of the packages, by its name in the wheel."""
    own = ROOT / "plateau_rule"
    folders = ("adapters", "commands", "language_server", "page", "trials")
    face = [*own.glob("*.*"), *(path for folder in folders for path in (own / folder).rglob("*"))]
    rooms = [path for room in ROOMS for path in (ROOT / room).rglob("*")]
    names = [path.relative_to(ROOT).as_posix() for path in face if path.is_file()]
    names += [f"plateau_rule/{path.relative_to(ROOT).as_posix()}" for path in rooms if path.is_file()]
    return {name for name in names if "__pycache__" not in name}


def test_wheel_holds_every_file(wheel: zipfile.ZipFile) -> None:
    """The wheel holds every module, curriculum, type marker and text of the packages, and neither tests nor tools."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == expected()
    assert {"plateau_rule/fftcore/text/shakespeare.txt.xz", "plateau_rule/py.typed"} <= names


def test_wheel_needs_no_torch(wheel: zipfile.ZipFile) -> None:
    """Installing the project without extras asks for six small packages, and torch is not among them."""
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needs = BytesParser().parsebytes(wheel.read(metadata)).get_all("Requires-Dist", [])
    plain = {need.partition(">")[0] for need in needs if "extra ==" not in need}
    assert plain == {"cyclopts", "numpy", "orjson", "pydantic", "rich", "toml-rs"}


def test_wheel_has_one_name(wheel: zipfile.ZipFile) -> None:
    """Everything in the wheel lies in `plateau_rule`, so that nothing else can be overwritten or imported."""
    assert {name.partition("/")[0] for name in wheel.namelist()} == {"plateau_rule", "plateau_rule-0.1.0.dist-info"}


def test_wheel_from_the_sdist_is_the_same(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """A wheel that is built from the sdist holds the same bytes as one that is built from the checkout."""
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "tree", filter="data")
    (tree,) = (tmp_path / "tree").iterdir()
    with zipfile.ZipFile(build("wheel", tree, tmp_path / "dist")) as other:
        assert {name: other.read(name) for name in other.namelist()} == {
            name: wheel.read(name) for name in wheel.namelist()
        }


def test_editable_install_holds_no_copies(tmp_path: Path) -> None:
    """An editable install is a path to the checkout: no module is copied, so none can be stale."""
    code = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as editable:
        plain = [name for name in editable.namelist() if ".dist-info/" not in name]
        assert [Path(name).suffix for name in plain] == [".pth"]
        assert editable.read(plain[0]).decode().split() == [str(ROOT)]
