"""`plateau probe`: where a harder rung gets ahead, what is said of it, and that nothing is trained twice."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from plateau_rule import bind, load, loads, verify
from plateau_rule.commands import app as plateau
from plateau_rule.trials.budget import TrainingBudget, TrialError, bounded
from plateau_rule.trials.cell import command_of
from plateau_rule.trials.curve import Curve
from plateau_rule.trials.prices import Prices
from plateau_rule.trials.probe import find_crossings
from plateau_rule.trials.rungs import constant, settings_of
from plateau_rule.trials.statistics import difference, holm
from tests.conftest import ROOT
from tests.plateau_rule.trials.toy import LADDER

PAGE = ROOT / "docs" / "where-it-pays.md"
TOY = Path(__file__).with_name("toy.py")


CaptureText = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a ladder, in which commands run."""
    (tmp_path / "grid.toml").write_text(LADDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def falling(rate: float, floor: float, shift: float = 0.0) -> Curve:
    """An exponential curve over a cost of 100."""
    cost = np.arange(1.0, 101.0)
    return Curve((1 - floor) * np.exp(-rate * cost) + floor + shift, {"step": cost, "cost": cost})


def test_a_crossing_is_where_the_curves_cross() -> None:
    """Two exponential curves cross where arithmetic says, and each seed says the same."""
    crossing = np.log(4) / 0.05  # with y = exp(-0.05 x): 0.8 y² + 0.2 = y
    start, found = find_crossings([[falling(0.1, 0.2)] * 3, [falling(0.05, 0.0)] * 3], "cost")
    assert start == 0
    assert [(one.rung, one.over) for one in found] == [(1, 0)]
    assert found[0].begin == pytest.approx(crossing, abs=0.6)
    assert found[0].by_seed == pytest.approx([found[0].begin] * 3)


def test_a_lead_within_the_spread_is_none() -> None:
    """A rung that is ahead by less than the seeds are apart is not ahead; with the same shifts in both, it is."""
    cheap, dear = [falling(0.1, 0.02)] * 3, [falling(0.05, 0.0, shift) for shift in (-0.05, 0.0, 0.05)]
    assert find_crossings([cheap, dear], "cost") == (0, ())
    paired = [falling(0.1, 0.02, shift) for shift in (-0.05, 0.0, 0.05)]
    assert len(find_crossings([paired, dear], "cost")[1]) == 1


def test_a_rung_that_is_never_best_is_passed_over() -> None:
    """A middle rung that the hardest overtakes before it is ahead itself is no part of the ladder."""
    rungs = [[falling(0.2, 0.4)] * 2, [falling(0.1, 0.39)] * 2, [falling(0.05, 0.0)] * 2]
    _, found = find_crossings(rungs, "cost")
    assert [(one.rung, one.over) for one in found] == [(2, 0)]


def test_a_rung_that_leads_from_the_start_is_the_first() -> None:
    """Where a harder rung is ahead at every place, no ladder begins below it."""
    assert find_crossings([[falling(0.1, 0.2)] * 2, [falling(0.2, 0.0)] * 2], "cost") == (1, ())


def test_a_rung_that_an_easier_one_beats_is_not_climbed() -> None:
    """The hardest rung leads the first from the start and ends behind the middle one: the ladder begins there."""
    rungs = [[falling(0.05, 0.4)] * 2, [falling(0.1, 0.0)] * 2, [falling(0.2, 0.2)] * 2]
    assert find_crossings(rungs, "cost") == (1, ())


def test_a_run_that_diverges_is_never_ahead() -> None:
    """An infinite score is not better than any."""
    wild = Curve(np.full(100, np.inf), falling(0.1, 0.0).spent)
    assert find_crossings([[falling(0.1, 0.2)] * 2, [wild] * 2], "cost") == (0, ())


def test_a_rung_that_diverges_on_one_seed_is_behind() -> None:
    """A first rung that ends without a finite score on one of two seeds is left where that begins, or never taken."""
    cheap, dear = falling(0.1, 0.2), falling(0.05, 0.3)
    whole, late = np.full(100, np.inf), np.where(np.arange(100) < 50, cheap.score, np.inf)
    assert find_crossings([[cheap, Curve(whole, cheap.spent)], [dear] * 2], "cost") == (1, ())
    start, found = find_crossings([[cheap, Curve(late, cheap.spent)], [dear] * 2], "cost")
    assert start == 0
    assert [one.rung for one in found] == [1]
    assert found[0].begin == pytest.approx(50.5, abs=0.6)
    assert found[0].by_seed[0] is None


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        ([64], ["rung 2 (grid = 64) ended with a score that is not finite on 2 of 2 seeds", "use the cheap rung"]),
        ([16], ["on 2 of 2 seeds, and is never ahead", "rung 2 (grid = 64) is ahead from the first score to the last"]),
        ([16, 64], ["No rung can be advised. Lower the rate"]),
    ],
)
def test_scores_that_are_not_finite(folder: Path, capfd: CaptureText, rungs: list[int], said: list[str]) -> None:
    """What diverged is named and never advised; no warning of a library's is shown, and the picture has a gap."""
    (folder / "mine.py").write_text(
        f"import sys\n\nsys.path.insert(0, {str(TOY.parent)!r})\nimport toy\n\n\ndef train(curriculum, budget, seed):\n"
        "    for point in toy.train(curriculum, budget, seed):\n"
        f"        yield point | ({{'score': float('nan')}} if curriculum.state[0].set['grid'] in {rungs} else {{}})\n"
    )
    words = ["probe", "grid.toml", "--trainer", "mine.py:train", "--budget", "80 cost", "--seeds", "2", "-o", "a.svg"]
    assert plateau.main(words) == 0
    found = capfd.readouterr()
    assert all(each in found.out for each in said)
    assert "warning" not in found.err
    assert "nan" not in found.out
    assert "1e30" not in (folder / "a.svg").read_text()
    assert plateau.main([*words, "--json"]) == 0
    advised = json.loads(capfd.readouterr().out)["advised"]
    assert advised == {"64": 1, "16": 2}.get(" ".join(map(str, rungs)))


def test_holm_is_the_textbook_s() -> None:
    """Holm's correction of four values, worked out by hand; it keeps their order, and never goes above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8, float("nan")])[:2] == [1.0, 1.0]


def test_differences_are_paired() -> None:
    """Seeds that are far apart, and a difference that is the same on each: no spread is left."""
    seeds = np.array([1.0, 2.0, 3.0])
    assert difference(seeds + 0.25, seeds).spread == 0


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("90 s", "90 s"),
        ("2 minutes", "120 s"),
        ("1.5hours", "5400 s"),
        ("2e6 tokens", "2000000 tokens"),
        ("1 step", "1 steps"),
        ("1234567.5 cost", "1234567.5 cost"),
        ("0.00001 cost", "0.00001 cost"),
        ("1e15 cost", "1000000000000000 cost"),
    ],
)
def test_budgets(text: str, read: str) -> None:
    """A budget is read with its unit, times in seconds, and is read again from what is written of it."""
    assert str(TrainingBudget.read(text)) == read
    assert TrainingBudget.read(read) == TrainingBudget.read(text)


@pytest.mark.parametrize("text", ["", "90", "0 s", "-1 s", "1.5 steps", "3 parsecs", "1e99 s", "nan s"])
def test_what_is_no_budget(text: str) -> None:
    """Anything else is refused, with an example."""
    with pytest.raises(TrialError, match='such as "90 s"') as error:
        TrainingBudget.read(text)
    assert ("above 0" in str(error.value)) == (text in ("0 s", "1.5 steps", "1e99 s"))


def test_each_rung_is_a_run_that_stays_there() -> None:
    """Rungs have one state, a rate that ends with the budget, and nothing that `check` calls broken."""
    curriculum = loads(LADDER)
    for place, setting in enumerate(settings_of(curriculum)):
        held = bounded(constant(curriculum, setting, f"rung-{place}"), TrainingBudget.read("100 cost"))
        assert [dict(state.set) for state in held.state] == [setting]
        assert (held.run.cost, held.run.clock, held.lr.length) == (100, "cost", "rest")
        assert verify(bind(held)).exit_code(strict=True) == 0


def test_a_rate_that_follows_a_knob_goes_into_the_peak() -> None:
    """A rung has the rate that it had in the ladder, where the rate follows the knob."""
    text = LADDER.replace('length = "rest" }', 'length = "rest", follow = { grid = 0.5 } }')
    held = constant(loads(text), {"grid": 64}, "fine")
    assert held.state[0].lr.peak == 2.0


@pytest.mark.parametrize("name", ["taps", "plateau", "two-knobs-with-retreat", "mixture", "sgdr", "teacher-forcing"])
def test_shipped_ladders_have_rungs(name: str) -> None:
    """Every rung of a shipped curriculum is a curriculum of its own, whatever its rate is."""
    curriculum = load(name)
    try:
        settings = settings_of(curriculum)
    except TrialError:
        settings = [dict(curriculum.state[0].set)]
    for setting in settings:
        constant(curriculum, setting, "held")


def test_prices_are_shares_of_the_dearest() -> None:
    """A price is a setting's share of the unit, a step of the dearest."""
    prices = Prices(({"grid": 16}, {"grid": 64}), (0.002, 0.008), unit_s=0.008)
    assert [prices.of({"grid": rung}) for rung in (16, 64)] == [0.25, 1.0]


def test_a_probe_from_end_to_end(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Prices are measured, the crossing found, the best rung advised, the ladder a file; nothing is trained twice."""
    (folder / "grid.toml").write_text(LADDER.replace("cost   = [0.25, 1]\n", ""))
    words = ["probe", "grid.toml", "--trainer", f"{TOY}:train", "--budget", "1.6 s", "--seeds", "2", "--out", "found"]
    assert plateau.main(words) == 0
    out = capfd.readouterr().out
    assert "rung 2 (grid = 64) is ahead of rung 1 (grid = 16) from " in out
    assert "on: a ladder raises there (seed by seed: " in out
    assert "Use rung 2 (grid = 64) throughout, unless a comparison shows that the ladder does better" in out
    assert "cost = [0.25, 1]" in out
    ladder = load(folder / "found" / "ladder.toml")
    assert [dict(state.set) for state in ladder.state] == [{"grid": 16}, {"grid": 64}]
    assert verify(bind(ladder)).exit_code(strict=False) == 0
    curves = {path: path.stat().st_mtime_ns for path in (folder / "found").rglob("curve.jsonl")}
    assert len(curves) == 2 * 3 + 4  # each rung timed by three runs, and trained on two seeds
    assert plateau.main([*words, "--json", "--plot", "probe.svg"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in (folder / "found").rglob("curve.jsonl")} == curves
    assert [one["to"] for one in told["raises"]] == [2]
    assert told["advised"] == 2
    assert told["prices"] == {"grid": [0.25, 1.0]}
    assert "ahead from here: rung 2" in (folder / "probe.svg").read_text()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("points[: len(points) // 2]", "The scores of rung 1 (grid = 16) end at 80 cost of 160 cost: curves"),
        ("[{**each, 'score': -each['score']} for each in points]", "Every curve ends higher than it begins"),
    ],
)
def test_what_speaks_against_a_verdict(folder: Path, capfd: CaptureText, body: str, said: str) -> None:
    """Trainings that end before their budget, and scores of which more is better, are told of."""
    (folder / "mine.py").write_text(
        f"import sys\n\nsys.path.insert(0, {str(TOY.parent)!r})\nimport toy\n\n\ndef train(*given):\n"
        f"    points = list(toy.train(*given))\n    return {body}\n"
    )
    words = ["probe", "grid.toml", "--trainer", "mine.py:train", "--budget", "160 cost", "--seeds", "2"]
    assert plateau.main(words) == 0
    assert said in capfd.readouterr().out


@pytest.mark.parametrize(("cost", "fits"), [("[0.25, 1]", True), ("[0.9, 1]", False)])
def test_prices_of_a_file_are_not_called_measured(folder: Path, capfd: CaptureText, cost: str, fits: bool) -> None:
    """A budget in seconds is counted by the file's prices: they are not called measured, and a bad fit is said."""
    (folder / "grid.toml").write_text(LADDER.replace("[0.25, 1]", cost))
    words = [
        "probe",
        "grid.toml",
        "--trainer",
        f"{TOY}:train",
        "--budget",
        "1.6 s",
        "--seeds",
        "2",
        "--out",
        "my probe",
    ]
    assert plateau.main(words) == 0
    out = capfd.readouterr().out
    assert "as measured here" not in out
    assert ("a unit of cost is 2.78 ms on rung 1, 10 ms on rung 2" in out) == (not fits)
    if fits:
        _, _, command = out.partition("a comparison says: ")
        assert shlex.split(command)[2:4] == ["my probe/ladder.toml", "my probe/rung-1.toml"]
        assert ["--trainer", f"{TOY}:train"] == shlex.split(command)[-4:-2]


def test_a_cell_that_fails_is_said_and_the_others_are_kept(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The last words of a trainer that failed are shown, with the command that trains this cell alone."""
    words = ["probe", "grid.toml", "--trainer", f"{TOY}:fail", "--budget", "40 cost", "--seeds", "2", "--out", "found"]
    assert plateau.main(words) == 2
    err = capfd.readouterr().err
    assert "2 of 4 trainings failed" in err
    assert "RuntimeError: the device is lost" in err
    assert len(list((folder / "found").rglob("curve.jsonl"))) == 2


def test_a_command_line_trains(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A command with placeholders gives the curves that the function gives."""
    curves = []
    for trainer in (f"{sys.executable} {TOY} {{curriculum}} {{seed}} {{out}}", f"{TOY}:train"):
        words = ["probe", "grid.toml", "--trainer", trainer, "--budget", "80 cost", "--seeds", "1", "--json"]
        assert plateau.main(words) == 0
        curves.append([rung["curves"] for rung in json.loads(capfd.readouterr().out)["rungs"]])
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trainer", "toy:train"], "there is no module toy"),
        (["--trainer", "toy.py:train"], "there is no file"),
        (["--trainer", "fftcor"], 'expected "fftcore"'),
        (["--trainer", "python {curriculum} {sed} {out}"], 'Did you mean "seed"?'),
        (["--trainer", "python {curriculum} {out}"], "{seed} is nowhere in it"),
        (["--trainer", "pyhton {curriculum} {seed} {out}"], "there is no command pyhton"),
        (["--trainer", "fftcore --seed 3"], "--seed is said by the experiment"),
        (["--trainer", f"{TOY}:train", "--budget", "40 steps"], "says nothing of what they cost"),
        (["--trainer", f"{TOY}:train", "--budget", "4e4 tokens"], "tokens_per_step in [run]"),
        (["--trainer", f"{TOY}:train", "--knob", "gird"], 'no knob "gird"'),
        (["--trainer", f"{TOY}:train", "--budget", "2 cost"], "score more often"),
        (["--trainer", f"{TOY}:train", "--knob", "batch"], 'the knob "batch" has one rung'),
        (["--trainer", f"{TOY}:train", "--knob", "width"], 'the knob "width" has a range'),
    ],
)
def test_mistakes(folder: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """What cannot be probed is refused in a sentence that says what to do."""
    budget = [] if "--budget" in words else ["--budget", "40 cost"]
    others = '[knob.batch]\norder = "none"\nladder = [8]\n[knob.width]\norder = "none"\nrange = { min = 1, max = 8 }\n'
    text = LADDER.replace("[[state]]", f"{others}[[state]]", 1).replace("set  = {", "set  = { batch = 8, width = 4,")
    (folder / "grid.toml").write_text(text)
    assert plateau.main(["probe", "grid.toml", "--seeds", "1", *budget, *words]) == 2
    assert said in capfd.readouterr().err


def test_one_setting_has_no_rungs(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A curriculum without a ladder has nothing to probe."""
    assert plateau.main(["probe", "full", "--trainer", f"{TOY}:train", "--budget", "40 cost"]) == 2
    assert "one setting alone" in capfd.readouterr().err


def test_a_ladder_of_before_is_not_left(folder: Path, capfd: CaptureText) -> None:
    """Where a later probe in the folder advises no ladder, none lies there; the curriculum is not written over."""
    words = ["probe", "grid.toml", "--trainer", f"{TOY}:train", "--seeds", "1", "--out", "found", "--budget"]
    assert plateau.main([*words, "160 cost"]) == 0
    assert (folder / "found" / "ladder.toml").exists()
    assert plateau.main([*words, "80 cost"]) == 0
    assert not (folder / "found" / "ladder.toml").exists()
    (folder / "ladder.toml").write_text(LADDER)
    assert plateau.main(["probe", "ladder.toml", *words[2:-3], "--out", ".", "--budget", "80 cost"]) == 2
    assert "ladder.toml: files of this name are written into ." in capfd.readouterr().err
    assert (folder / "ladder.toml").read_text() == LADDER


def test_a_cell_has_a_command(tmp_path: Path) -> None:
    """A cell is trained by one command, on its own."""
    assert command_of(tmp_path)[1:] == ["-m", "plateau_rule.trials", str(tmp_path)]


def test_the_page_s_trainer_trains(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The function of docs/where-it-pays.md, with the ladder there, gives curves that can be probed."""
    page = PAGE.read_text()
    ladder, function = (re.findall(rf"^```{kind}\n(.*?)^```$", page, re.M | re.S)[0] for kind in ("toml", "python"))
    (folder / "points.toml").write_text(ladder.replace("4096] }", "4096], cost = [0.25, 0.5, 1] }"))
    (folder / "mine.py").write_text(function)
    words = ["probe", "points.toml", "--trainer", "mine.py:train", "--budget", "200 cost", "--seeds", "1"]
    assert plateau.main(words) == 0
    assert "rung 3 (points = 4096)" in capfd.readouterr().out
