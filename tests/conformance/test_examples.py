"""The examples and the guides of the two trainers, as a user would run them, with the real libraries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from plateau_rule import loads
from tests.conformance.drivers import ALL
from tests.conftest import ROOT
from tests.test_examples import TWO_GRIDS

PICTURE = b"\x89PNG"


def run(library: str, words: list[str], folder: Path) -> list[str]:
    """Run Python with these words in a folder, if the library is there; the lines that it prints."""
    if find_spec(library) is None:
        (pytest.fail if os.environ.get(ALL) == "all" else pytest.skip)(f"{library} is not installed")
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "script", "raises"),
    [
        (
            "transformers",
            "language_model.py",
            ["words -> lines, seq_len 16 -> 32", "lines -> verses, seq_len 32 -> 64"],
        ),
        ("lightning", "digits.py", ["small -> medium, image_size 4 -> 6", "medium -> full, image_size 6 -> 8"]),
    ],
)
def test_examples_raise_and_draw(library: str, script: str, raises: list[str], tmp_path: Path) -> None:
    """Each example prints its raises, in order, and ends with a picture that is there."""
    lines = run(library, [str(ROOT / "examples" / script), str(tmp_path)], tmp_path)
    printed = [line for line in lines if line.startswith("plateau: step ")]
    assert [told.partition(": ")[2].partition(": ")[2].rpartition(", lr")[0] for told in printed] == raises
    (picture,) = (Path(line) for line in lines if line.endswith(".png"))
    assert picture.read_bytes().startswith(PICTURE)


def test_image_sizes_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier of growing images has points to price a step by, and gets better; the same from the same seed."""
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    classifier = import_module("digit_sizes")
    sizes = loads("""
name = "sizes"
run  = { epochs = 2, steps_per_epoch = 6 }
lr   = { peak = 5e-3, shape = "constant" }
knob = { image_size = { ladder = [8, 32] } }
state = [{ name = "small", set = { image_size = 8 } }, { name = "full", set = { image_size = 32 } }]
transition = [{ from = "small", to = "full", guards = [{ dwell = "1 epoch" }], actions = ["lr_restart"] }]
""")
    one, other = ([{**point, "time_s": 0} for point in classifier.train(sizes, None, 0)] for _ in range(2))
    assert one == other
    assert [point["step"] for point in one] == list(range(1, 13))
    assert one[-1]["score"] < one[0]["score"]


@pytest.mark.slow
def test_the_operator_in_jax_compiles_once_a_grid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two grids, two compilations; the curve ends at the budget, on the finer grid."""
    pytest.importorskip("optax")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    operator = import_module("fourier_operator_jax")
    curve = operator.train(loads(TWO_GRIDS.replace("cost = 6", "cost = 12")), budget=None, seed=1)
    assert "two-grids: 2 compilations" in capsys.readouterr().out
    assert (curve[0]["grid"], curve[-1]["grid"], curve[-1]["cost"]) == (64, 128, 12)
    assert curve[-1]["score"] < curve[0]["score"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "page"),
    [
        ("transformers", "transformers"),
        ("lightning", "lightning"),
        ("keras", "keras"),
        ("optax", "jax"),
        ("tensorboard", "trackers"),
    ],
)
def test_guides_run(library: str, page: str, tmp_path: Path) -> None:
    """The Python on each page runs as it stands, beside the README's sizes.toml."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / f"{page}.md").read_text(), re.M | re.S)
    (tmp_path / "sizes.toml").write_text((ROOT / "docs" / "examples" / "sizes.toml").read_text())
    (tmp_path / "guide.py").write_text(block)
    run(library, ["guide.py"], tmp_path)


@pytest.mark.slow
def test_readme_loop_runs(tmp_path: Path) -> None:
    """The loop in the README runs as it stands, climbs all its sizes, and torch has nothing to warn of."""
    for name in ("loop.py", "sizes.toml"):
        (tmp_path / name).write_text((ROOT / "docs" / "examples" / name).read_text())
    lines = run("sklearn", ["loop.py"], tmp_path)
    assert [line.split(": ")[1] for line in lines] == ["small -> medium, lr 0.003", "medium -> large, lr 0.003"]
