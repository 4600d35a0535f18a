"""What `make release` refuses, and that one version stands everywhere."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.wheel.release import ReleaseError, require_same, versions

pytestmark = pytest.mark.source


def test_one_version() -> None:
    """The package, the citation, the changelog's newest release and the page on versions state the same version."""
    assert len(set(versions().values())) == 1, versions()


def test_two_wheels_that_differ_are_told_by_their_files(tmp_path: Path) -> None:
    """Two builds that differ in one file are refused, and the file is named."""
    for folder, text in (("one", "a"), ("other", "b")):
        (tmp_path / folder).mkdir()
        with zipfile.ZipFile(tmp_path / folder / "x.whl", "w") as wheel:
            wheel.writestr("same.py", "")
            wheel.writestr("module.py", text)
    with pytest.raises(ReleaseError, match=r"\['module.py'\]"):
        require_same(tmp_path / "one" / "x.whl", tmp_path / "other" / "x.whl")


def test_the_pythons_that_are_named() -> None:
    """The oldest Python that pyproject.toml names is the one that it requires, and docs/versions.md names them all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert project["requires-python"] == f">={named[0]}"
    page = (ROOT / "docs" / "versions.md").read_text()
    assert all(f"| {version} " in page for version in named)
