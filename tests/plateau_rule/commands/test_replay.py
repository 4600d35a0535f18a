"""The commands `replay`, `noise` and `plot`, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plateau_rule import load
from plateau_rule.commands.app import main
from tests.sim.conftest import run_of, write_run

CONSTANT = """
format = 1
name = "constant"
[lr]
peak = 1.0
shape = "constant"
[knob.cutoff]
ladder = [1, 2]
[[state]]
name = "low"
set = { cutoff = 1 }
[[state]]
name = "high"
set = { cutoff = 2 }
[[transition]]
from = "low"
to = "high"
guards = [{ patience = { steps = 30 } }]
"""


def losses(count: int = 1500, sigma: float = 0.03) -> list[float]:
    """A curve that flattens, with noise."""
    random = np.random.default_rng(0)
    curve = 2 + 3 * np.exp(-np.arange(count) / 150)
    values: list[float] = (curve * (1 + sigma * random.standard_normal(count))).tolist()
    return values


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of ours: 15 epochs of 100 steps under plateau.toml."""
    folder = tmp_path / "run"
    folder.mkdir()
    rows, decisions, _, controller = run_of(
        load("plateau"), losses(), limits={"cutoff": 1025}, epochs=15, steps_per_epoch=100
    )
    write_run(folder, rows, controller)
    keys = {"from_state": "from", "to_state": "to"}
    told = [{keys.get(key, key): value for key, value in decision._asdict().items()} for decision in decisions]
    wanted = ("step", "epoch", "from", "to", "knobs", "lr", "loss")
    lines = [json.dumps({key: dict(row[key]) if key == "knobs" else row[key] for key in wanted}) for row in told]
    (folder / "decisions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of somebody else's: a CSV with a point every 10 steps."""
    path = tmp_path / "log.csv"
    rows = [f"{10 * i},{loss}" for i, loss in enumerate(losses(2000))]
    path.write_text("step,loss\n" + "\n".join(rows) + "\n")
    return path


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Run `plateau` with some words: exit code, output, complaints."""

    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_replay_of_a_run_prints_the_transitions_that_the_run_made(run: Path, said: Said) -> None:
    """`replay --json` over a run's metrics.jsonl is one object, whose transitions are those of decisions.jsonl."""
    code, out, err = said("replay", "plateau", run / "metrics.jsonl", "--json")
    made = [json.loads(line) for line in (run / "decisions.jsonl").read_text().splitlines()]
    assert (code, err) == (0, "")
    assert len(made) == 3
    assert json.loads(out)["transitions"] == made
    assert said("replay", "plateau", run, "--json")[1] == out


def test_replay_for_people_shows_timeline_guards_what_it_can_tell_and_a_verdict(log: Path, said: Said) -> None:
    """The tables name each transition, how close each guard came, where numbers come from, and what a replay is not."""
    code, out, _ = said("replay", "plateau", log, "--steps-per-epoch", 1000, "--epochs", 20)
    assert code == 0
    for part in (
        "syntax → words",
        "128 → 256",
        "Where it was held",
        "the log is a stand-in",
        "--first-only stops there",
        "Verdict: ",
        "a window of 50 observations is 500 steps",
    ):
        assert part in out


def test_replay_says_when_the_log_is_of_the_very_run(run: Path, said: Said) -> None:
    """Over the run's own log nothing is a stand-in, and that is said; of another curriculum, that it is another's."""
    assert "made the same transitions" in said("replay", "plateau", run)[1]
    assert "made other transitions" in said("replay", "fixed-epochs", run)[1]


def test_why_prints_every_guard_at_a_step(run: Path, said: Said) -> None:
    """`--why STEP` shows the guards as they stood, and the transition if there was one."""
    code, out, _ = said("replay", "plateau", run, "--why", 137)
    assert code == 0
    assert "step 137 (epoch 1)" in out
    assert "min_epoch: 1 epoch complete, 2 needed -> false" in out
    assert "flat (plateau): improved" in out


def test_first_only_ends_after_the_first_transition(log: Path, said: Said) -> None:
    """`--first-only` shows one transition."""
    words = ("--steps-per-epoch", 1000, "--epochs", 20, "--first-only", "--json")
    assert len(json.loads(said("replay", "plateau", log, *words)[1])["transitions"]) == 1


def test_flags_override_what_the_run_was(run: Path, said: Said) -> None:
    """--limit, --peak, --epochs and --steps-per-epoch replace the run's own."""
    words = ("--limit", "cutoff=300", "--peak", "0.5", "--steps-per-epoch", "150", "--epochs", "10")
    code, out, err = said("replay", "plateau", run, "--json", *words)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {step["knobs"]["cutoff"] for step in found["transitions"]} <= {256, 300}
    assert all(step["step"] % 150 == 0 for step in found["transitions"])
    assert found["transitions"][0]["lr"] == 0.5
    told = said("replay", "plateau", run, *words)[1]
    assert "in place of that, as asked: limits cutoff 300, epochs 10" in told
    assert 'state "full" equals "spelling" within the limits cutoff 300: merged' in told


def test_several_curricula_over_one_log(log: Path, said: Said, tmp_path: Path) -> None:
    """`replay A B --log L` replays both, as one JSON object and on one picture."""
    words = ("--steps-per-epoch", 1000, "--epochs", 20, "--log", log)
    code, out, err = said("replay", "plateau", "fixed-epochs", *words, "--json", "--plot", tmp_path / "both.svg")
    assert code == 0
    assert [each["curriculum"] for each in json.loads(out)["timelines"]] == ["plateau", "fixed-epochs"]
    assert "both.svg" in err
    assert "fixed-epochs" in (tmp_path / "both.svg").read_text()


def test_several_logs_are_parts_of_one_run(tmp_path: Path, said: Said) -> None:
    """Two logs of one run are joined by step."""
    for part in (0, 1):
        steps = range(part * 600, (part + 1) * 600)
        rows = [json.dumps({"step": step, "loss": 2.0}) for step in steps]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(rows))
    words = ("--steps-per-epoch", 100, "--epochs", 12, "--json")
    found = json.loads(said("replay", "plateau", tmp_path / "0.jsonl", tmp_path / "1.jsonl", *words)[1])
    assert found["points"] == 1200


def test_a_curriculum_without_epochs_needs_none(tmp_path: Path, log: Path, said: Said) -> None:
    """Where nothing asks for epochs, none are needed, and none are shown."""
    path = tmp_path / "constant.toml"
    path.write_text(CONSTANT)
    code, out, _ = said("replay", path, log)
    assert code == 0
    assert "low → high" in out


def test_noise_prints_sigma_rho_and_the_lint(log: Path, said: Said) -> None:
    """`noise` estimates the noise and says what it does to a curriculum's guards, in words and as JSON."""
    code, out, _ = said("noise", log)
    assert code == 0
    for part in ("sigma 3.", "rho ", "spikes", "trend", 'guard "flat"', "A window of 1"):
        assert part in out
    found = json.loads(said("noise", log, "--json")[1])
    assert found["sigma"] == pytest.approx(0.03, rel=0.15)
    assert found["guards"][0]["warning"] is True


def test_plot_draws_runs_above_each_other(run: Path, log: Path, said: Said, tmp_path: Path) -> None:
    """`plot` draws a run's folder and a foreign log into one picture."""
    code, out, _ = said("plot", run, log, "--out", tmp_path / "runs.svg")
    assert code == 0
    assert "runs.svg" in out
    assert "log.csv" in (tmp_path / "runs.svg").read_text()


def test_the_log_may_come_first(log: Path, said: Said) -> None:
    """Of one curriculum and a log, in whatever order, a replay knows which is which."""
    assert said("replay", log, "plateau") == said("replay", "plateau", log)


def test_plot_of_a_curriculum(said: Said) -> None:
    """A curriculum in the place of a run: the three commands that draw it are named."""
    code, _, err = said("plot", "plateau")
    assert code == 2
    assert "plateau is a curriculum, and plot draws runs and logs." in err
    for command in ("plateau draw plateau -o", "plateau check plateau --plot", "plateau replay plateau LOG --plot"):
        assert command in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("replay",), "name a curriculum and a log"),
        (("replay", "plateau"), "name a curriculum and a log"),
        (("replay", "--log", "LOG"), "name a curriculum"),
        (
            ("replay", "plateau", "other.toml"),
            "plateau and other.toml are curricula; with more than one, name the log by --log",
        ),
        (("replay", "platau", "LOG"), 'Did you mean "plateau"?'),
        (("replay", "plateau", "nowhere.jsonl"), "there is no such file"),
        (("replay", "plateau", "LOG", "--limit", "1025"), "expected KNOB=NUMBER"),
        (("replay", "plateau", "LOG", "--limit", "cutoff=many"), "expected KNOB=NUMBER"),
        (("replay", "plateau", "LOG", "--limit", "cutof=1025"), "cutof"),
        (("replay", "plateau", "LOG", "--epochs", "0"), "at least 1"),
        (("replay", "plateau", "LOG", "--epochs", "many"), "--epochs"),
        (("replay", "plateau", "LOG", "--lag", "-1"), "--lag: -1; expected a whole number of at least 0"),
        (("replay", "plateau", "LOG", "--why", "99999999"), "lies beyond the log"),
        (("replay", "plateau", "LOG", "--why", "-3"), "counts from 0"),
        (("replay", "plateau", "LOG", "--ema", "1.5"), "from 0 to below 1"),
        (("replay", "plateau", "LOG", "--column", "acc"), "no column 'acc'"),
        (("replay", "plateau", "LOG", "--plot", "x.gif"), "ends in .png or .svg"),
        (("noise",), "name a log"),
        (("noise", "LOG", "--curriculum", "none"), 'no curriculum "none"'),
        (("plot",), "name a run's folder or a log"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    log: Path, said: Said, words: tuple[str, ...], sentence: str
) -> None:
    """What a user can get wrong is answered with a sentence that says what to do, and no traceback."""
    code, _, err = said(*(log if word == "LOG" else word for word in words))
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


def test_a_progress_bar_is_shown_on_a_terminal(run: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, reading and replaying show how far they are, on the standard error; the output stays clean."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, out, err = said("replay", "plateau", run, "--json")
    assert code == 0
    assert "replaying plateau" in err
    assert json.loads(out)["points"] == 1500


def test_a_log_without_enough_points_for_noise_is_still_replayed(tmp_path: Path, said: Said) -> None:
    """Seven points are too few for noise, which `noise` says; a replay does without."""
    path = tmp_path / "short.csv"
    path.write_text("step,loss\n" + "".join(f"{i},{3 - i / 10}\n" for i in range(7)))
    assert said("replay", "plateau", path)[0] == 0
    code, out, err = said("noise", path)
    assert "7 points" in out  # what was read is said all the same
    assert code == 2
    assert "too few" in err


def test_importing_the_commands_loads_nothing_heavy() -> None:
    """Importing the commands loads neither numpy nor matplotlib nor torch: help must come at once."""
    code = (
        "import importlib, sys; from plateau_rule.commands.app import COMMANDS, python_name\n"
        "for name in COMMANDS: importlib.import_module(f'plateau_rule.commands.{python_name(name)}')\n"
        "print([n for n in ('numpy', 'matplotlib', 'torch', 'rich') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_real_log_is_shown_without_a_traceback(shared_data: Callable[[str], Path], said: Said) -> None:
    """A user who replays any of the real logs sees tables and a verdict, or one sentence."""
    folder = shared_data("logs")
    for name in json.loads((folder / "expected.json").read_text()):
        code, out, err = said("replay", "plateau", folder / name)
        assert code in (0, 2)
        assert ("Verdict: " in out) if code == 0 else err
        assert "Traceback" not in err
