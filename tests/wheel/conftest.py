"""The wheel is built once, and installed into environments of its own: from wheels on disk, without a network.

`make setup` puts those wheels into `.venv/wheels`. Where there are none (an environment that was made by hand), the
tests that install anything are skipped and say so.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

WHEELS = ROOT / ".venv" / "wheels"
ALL_LIGHT = ("compare", "plot", "test", "tune", "lsp", "page")  # the extras but `train`: LIGHT in the Makefile


def clean_environment() -> dict[str, str]:
    """The environment variables of a user: nothing that leads Python or pytest back to this checkout."""
    ours = ("PYTHON", "PYTEST", "COV_", "COVERAGE", "PIP_")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)} | {"CI": "1"}


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds the wheel."""

    folder: Path

    def run(self, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment, such as `plateau`, in a folder."""
        program = self.folder / "bin" / words[0]
        env = clean_environment() | {"VIRTUAL_ENV": str(self.folder)}
        return subprocess.run(
            [program, *words[1:]], cwd=cwd, env=env, capture_output=True, text=True, errors="replace", check=False
        )

    def borrow(self, site_packages: str) -> None:
        """Let it also import what lies in another environment, behind everything of its own."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (self.folder / "lib" / version / "site-packages" / "borrowed.pth").write_text(site_packages + "\n")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Hold a lock on `folder`; true for the process that is to make it, false where it is made already."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".done")
        yield not done.exists()
        done.touch()


def build(target: str, root: Path, folder: Path) -> Path:
    """Build the `wheel` or the `sdist` of the tree at `root` into a folder of its own."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return next(path for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz")))


@pytest.fixture(scope="session")
def wheel_path(shared_folder: Path) -> Path:
    """The wheel that a user installs, built from this tree."""
    folder = shared_folder / "dist"
    with made_once(folder) as mine:
        return build("wheel", ROOT, folder) if mine else next(folder.glob("*.whl"))


def install_into(environment: Environment, *requirements: str) -> None:
    """Install packages from the wheels that were put aside, and from nowhere else."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment.folder / "bin" / "python")]
    # Most of the modules are never imported: to compile them all takes longer than to install them.
    words = ["install", "--quiet", "--no-compile", "--no-index", "--find-links", str(WHEELS), *requirements]
    env = clean_environment() | {"PIP_CONFIG_FILE": os.devnull}
    subprocess.run([*pip, *words], check=True, capture_output=True, env=env)


@pytest.fixture(scope="session")
def install(shared_folder: Path, wheel_path: Path) -> Callable[..., Environment]:
    """A function that makes an environment with the wheel, some of its extras and other packages: each one once."""
    if not WHEELS.is_dir():
        pytest.skip(f"{WHEELS.relative_to(ROOT)} is not there; `make setup` puts the wheels aside that this installs")

    def make(*extras: str, packages: tuple[str, ...] = (), name: str = "", borrow_torch: bool = False) -> Environment:
        environment = Environment(shared_folder / (name or "-".join(["wheel", *extras, *packages])))
        with made_once(environment.folder) as mine:
            if mine:
                venv = [sys.executable, "-m", "venv", "--without-pip", str(environment.folder)]
                subprocess.run(venv, check=True, capture_output=True)
                install_into(environment, f"{wheel_path}[{','.join(extras)}]" if extras else str(wheel_path), *packages)
                if borrow_torch:
                    environment.borrow(sysconfig.get_path("purelib"))
        return environment

    return make
