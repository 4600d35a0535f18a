"""`make release` builds the sdist and the wheel of this commit into dist/, and holds them against what they must equal.

Nothing is uploaded. Both are built twice, from a fresh clone and from this checkout, and must be the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the sdist holds of its own.
METADATA = "PKG-INFO"


class ReleaseError(Exception):
    """What stands against a release, in a sentence."""


def git(*words: str) -> str:
    """What git says of this checkout."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def versions() -> dict[str, str]:
    """The version, in each place that states it."""
    citation, changelog, page = (
        (ROOT / name).read_text() for name in ("CITATION.cff", "CHANGELOG.md", "docs/versions.md")
    )
    patterns = {
        "CITATION.cff": (citation, r"^version: (\S+)$"),
        "CHANGELOG.md": (changelog, r"^## (\d\S*), \d{4}-\d\d-\d\d$"),
        "docs/versions.md": (page, r"^\| the package \| (\S+) \|"),
    }
    stated = {"pyproject.toml": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]}
    for name, (text, pattern) in patterns.items():
        found = re.search(pattern, text, re.MULTILINE)
        stated[name] = found[1] if found else "none"
    return stated


def build(tree: Path, out: Path, *targets: str, epoch: str) -> None:
    """Build in a tree with the tools of this environment; without targets the sdist, and the wheel from the sdist."""
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *targets, str(tree)]
    done = subprocess.run(
        words, env={**os.environ, "SOURCE_DATE_EPOCH": epoch}, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise ReleaseError(f"python -m build failed:\n{done.stdout}{done.stderr}")


def files_of(archive: Path) -> dict[str, bytes]:
    """Every file in a wheel or an sdist, by its name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as sdist:
        members = [member for member in sdist.getmembers() if member.isfile()]
        return {member.name.partition("/")[2]: _content(sdist, member) for member in members}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()


def require_same(one: Path, other: Path) -> None:
    """Raise ReleaseError, naming the files, unless two archives are the same bytes."""
    if one.read_bytes() == other.read_bytes():
        return
    first, second = files_of(one), files_of(other)
    names = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    raise ReleaseError(f"{one.name} differs between {one.parent} and {other.parent}: {names or 'in its frame alone'}")


def require_tracked(sdist: Path) -> None:
    """Raise ReleaseError unless the sdist holds every file that git has, and no other."""
    tracked = {name for name in git("ls-files").splitlines() if not (ROOT / name).is_symlink()}
    held = files_of(sdist).keys() - {METADATA}
    if foreign := sorted(held - tracked):
        raise ReleaseError(f"the sdist holds what git has not: {foreign}")
    if missing := sorted(tracked - held):
        raise ReleaseError(f"the sdist lacks {missing}: name them in pyproject.toml, only-include of the sdist")


def require_running(wheel: Path, folder: Path, version: str) -> None:
    """Raise ReleaseError unless the wheel, unpacked, says its version and checks a curriculum."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    env = {**os.environ, "PYTHONPATH": str(folder)}
    for words, expected in ((["--version"], version), (["check", "plateau"], "nothing broken")):
        command = [sys.executable, "-m", "plateau_rule", *words]
        done = subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True, text=True)
        if expected not in done.stdout:
            raise ReleaseError(f"plateau {' '.join(words)} printed {done.stdout}{done.stderr}; expected {expected}")


def release(dist: Path) -> list[Path]:
    """Build both, and hold them against everything.

    Args:
        dist: the folder that they are put into; what is there is removed.

    Returns:
        The sdist and the wheel.

    Raises:
        ReleaseError: something stands against it.
    """
    if changed := git("status", "--porcelain"):
        raise ReleaseError(f"commit first, or remove what is not to be released:\n{changed.rstrip()}")
    stated = versions()
    if len(set(stated.values())) != 1:
        raise ReleaseError(f"one version is to stand everywhere: {stated}")
    epoch = git("log", "-1", "--format=%ct").strip()
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder / "clone"], check=True)
        build(folder / "clone", dist, epoch=epoch)
        build(ROOT, folder / "again", "--sdist", "--wheel", epoch=epoch)
        built = sorted(dist.iterdir())
        for archive in built:
            require_same(archive, folder / "again" / archive.name)
        wheel, sdist = sorted(built, key=lambda archive: archive.suffix != ".whl")
        require_tracked(sdist)
        require_running(wheel, folder / "unpacked", stated["pyproject.toml"])
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *built], check=True)
    return built


def main() -> int:
    """Build a release, and say what was built."""
    try:
        built = release(ROOT / "dist")
    except ReleaseError as error:
        print(f"No release: {error}", file=sys.stderr)
        return 1
    for archive in built:
        content = archive.read_bytes()
        print(f"{hashlib.sha256(content).hexdigest()}  dist/{archive.name}  {len(content):,} bytes")
    print("Built twice, from a fresh clone and from here, to the same bytes; the wheel from the sdist is the wheel.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
