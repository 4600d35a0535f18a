"""A branch: what two curricula share is trained once, and the run that goes on is one of its own to the bit."""

from __future__ import annotations

import json
import shutil
from math import nextafter
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train`")

from plateau_rule.commands import app as plateau
from plateau_rule.fftcore.branching import _apart
from plateau_rule.fftcore.record import read_record
from tests.fftcore import micro

# At the end of epoch 1, and so at step 16, the two go different ways: in the run, to a cutoff of 256.
OTHER = micro.CURRICULUM.replace(b"256", b"128").replace(b'"micro"', b'"other"').replace(b'"low"', b'"lowest"')


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is over, of 32 steps, with all of its checkpoints; beside it, one of its own under the other."""
    folder = tmp_path_factory.mktemp("branch")
    assert micro.run(folder / "a", keep=20) == 0
    assert micro.run(folder / "own", curriculum=OTHER, keep=20) == 0
    return folder


@pytest.fixture
def folder(trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both, with the other curriculum's file, in which commands run."""
    shutil.copytree(trunk, tmp_path, dirs_exist_ok=True)
    (tmp_path / "other.toml").write_bytes(OTHER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_branch_ends_as_a_run_of_its_own(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Logs, weights, moments and summary are those of a run of its own, byte for byte; the run is left as it was."""
    before = micro.contents(folder / "a")
    assert plateau.main(["branch", "a", "other.toml", "--out", "b"]) == 0
    out = capfd.readouterr().out
    assert "part at step 16 (cutoff 256 and 128)" in out
    assert "b goes on at step 16" in out
    assert "plateau train other.toml --resume --out b" in out
    assert plateau.main(["runs", "b"]) == 0
    assert "step 16" in (listed := capfd.readouterr().out)
    assert "damaged" not in listed
    assert micro.run(folder / "b", curriculum=OTHER, resume=True) == 0
    branched, own = micro.contents(folder / "b"), micro.contents(folder / "own")
    last = "checkpoints/step-00000032"
    for name in ("metrics.jsonl", "decisions.jsonl", "summary.json", "curriculum.toml"):
        assert branched[name] == own[name], name
    for name in ("weights.safetensors", "optimizer.safetensors"):
        assert branched[f"{last}/{name}"] == own[f"{last}/{name}"]
    record = read_record(folder / "b")
    assert record.branched is not None
    assert (record.branched.run, record.branched.step) == (str(folder / "a"), 16)
    assert micro.contents(folder / "a") == before


def test_a_branch_under_a_depth_ladder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that enter behind the branch are those of a run of its own: they begin alike, and without moments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    two = micro.CURRICULUM.replace(b"cutoff", b"depth").replace(b"64", b"1").replace(b"256", b"2")
    three = two.replace(b", 2,", b", 3,").replace(b"depth = 2", b"depth = 3")
    for name, curriculum in (("a", two), ("own", three)):
        assert micro.run(tmp_path / name, curriculum=curriculum, keep=20, overrides={"layers": 4}) == 0
    (tmp_path / "three.toml").write_bytes(three)
    assert plateau.main(["branch", "a", "three.toml", "--out", "b"]) == 0
    assert micro.run(tmp_path / "b", curriculum=three, resume=True) == 0
    for name in ("metrics.jsonl", "summary.json", "checkpoints/step-00000032/weights.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "own" / name).read_bytes(), name
    depths = [row["knobs"]["depth"] for row in micro.rows(tmp_path / "b" / "metrics.jsonl")]
    assert (depths[0], depths[16], depths[-1]) == (1, 3, 4)


def test_a_branch_may_begin_earlier(folder: Path) -> None:
    """`--at` asks for an earlier step: the newest checkpoint up to it is gone on from, and the end is the same."""
    assert plateau.main(["branch", "a", "other.toml", "--out", "b", "--at", "12"]) == 0
    assert [path.name for path in (folder / "b" / "checkpoints").iterdir()] == ["step-00000010"]
    assert micro.run(folder / "b", curriculum=OTHER, resume=True) == 0
    last = "checkpoints/step-00000032/weights.safetensors"
    assert (folder / "b" / last).read_bytes() == (folder / "own" / last).read_bytes()


def test_a_longer_run_branches_at_the_end(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A curriculum that only goes on for longer shares the whole run, by its file or by `--epochs`."""
    (folder / "longer.toml").write_bytes(micro.CURRICULUM.replace(b"epochs = 4", b"epochs = 5"))
    for words in (["longer.toml", "--out", "b"], ["a/curriculum.toml", "--epochs", "5", "--out", "c"]):
        assert plateau.main(["branch", "a", *words]) == 0
        assert "part at step 32 (one of them ends there)" in capfd.readouterr().out


def test_a_damaged_checkpoint_is_passed_over(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One that is not as it was written is said, and an earlier one taken."""
    with (folder / "a" / "checkpoints" / "step-00000016" / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    assert plateau.main(["branch", "a", "other.toml", "--out", "b"]) == 0
    out = capfd.readouterr().out
    assert "passed over" in out
    assert "b goes on at step 15" in out


@pytest.mark.parametrize(
    ("old", "new", "words", "said"),
    [
        (b"cutoff = 64 }", b"cutoff = 256 }", [], "differ from step 0 on (cutoff 64 and 256)"),
        (b'"2 epochs"', b'"1 epoch"', [], "shared with micro (rate 0.00"),
        (b'"low"', b'"lowest"', [], "plan alike at each of the 32 steps: there is nothing to branch"),
        (b"steps_per_epoch = 8", b"steps_per_epoch = 4", [], "its epochs have 4 steps, and those of the run 8"),
        (b"cutoff", b"grid", [], "grid"),
        (b"256", b"128", ["--at", "20"], "--at 20: a and micro share 16 steps"),
        (b"256", b"128", ["--at", "3"], "no checkpoint beyond step 0 is in the 3 steps shared with micro"),
        (b"256", b"128", ["--out", "own"], "holds a run already"),
        (b"256", b"128", ["--out", "micro.txt"], "is a file, and a run takes a folder"),
    ],
)
def test_what_cannot_be_branched(
    folder: Path, capfd: pytest.CaptureFixture[str], old: bytes, new: bytes, words: list[str], said: str
) -> None:
    """What shares nothing, differs in nothing, or fits nothing is refused in a sentence, and nothing is written."""
    (folder / "new.toml").write_bytes(micro.CURRICULUM.replace(old, new))
    before = micro.contents(folder)
    out = [] if "--out" in words else ["--out", "b"]
    assert plateau.main(["branch", "a", "new.toml", *out, *words]) == 2
    assert said in capfd.readouterr().err
    assert micro.contents(folder) == before


def test_where_there_is_no_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder without a run is said to be none; no option that `plateau branch` does not have is advised."""
    (folder / "empty").mkdir()
    for name in ("empty", "nowhere"):
        assert plateau.main(["branch", name, "other.toml", "--out", "b"]) == 2
        said = capfd.readouterr().err
        assert said.startswith(f"{name}: there is no run here to branch off")
        assert "--resume" not in said


def test_rates_that_differ_by_little_read_differently() -> None:
    """Rates that are one to three figures are given with as many as tell them apart."""
    assert _apart(0.006, 0.0055) == "0.006 and 0.0055"
    assert _apart(0.006, 0.00599999) == "0.006 and 0.00599999"
    assert _apart(0.1, nextafter(0.1, 1)) == "0.10000000000000001 and 0.10000000000000002"


def test_a_log_that_was_changed_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Rows that the run's own curriculum does not plan are those of another run, and are not branched."""
    log = folder / "a" / "metrics.jsonl"
    rows = micro.rows(log)
    rows[3]["lr"] = 0.5
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert plateau.main(["branch", "a", "other.toml", "--out", "b"]) == 2
    assert "the row of step 3 is not what the run's curriculum plans" in capfd.readouterr().err
