"""`plateau compare`: curricula at one budget, and whether a difference goes beyond the spread over the seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.trials import statistics
from plateau_rule.trials.budget import TrainingBudget
from plateau_rule.trials.compare import Compared, verdict
from plateau_rule.trials.curve import Curve
from tests.plateau_rule.trials.toy import LADDER

pytest.importorskip("scipy", reason="the extra `compare`")
TOY = Path(__file__).with_name("toy.py")


def compared(*scores: list[float]) -> Compared:
    """A comparison of curricula a, b, … that ended with these scores, seed by seed."""
    curves = tuple(tuple(Curve(np.array([score]), {"step": np.array([1.0])}) for score in each) for each in scores)
    differences = [statistics.tested(np.array(each), np.array(scores[0])) for each in scores[1:]]
    return Compared(tuple("abcdef"[: len(scores)]), TrainingBudget.read("1 s"), curves, tuple(differences))


def test_a_paired_test_sees_what_an_unpaired_one_would_not() -> None:
    """Seeds that differ by far more than the curricula do hide no difference that each of them shows."""
    seeds = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = statistics.tested(seeds - [0.1, 0.11, 0.09, 0.1, 0.1], seeds)
    assert found.mean == pytest.approx(-0.1)
    assert found.is_larger_than_spread
    assert found.p < 1e-4


def test_what_cannot_be_tested_has_no_p() -> None:
    """One seed, a score that is not finite, or no difference at all: no p is made up."""
    for one, other in (([1.0], [2.0]), ([1.0, np.inf], [1.0, 2.0]), ([1.0, 2.0], [1.0, 2.0])):
        assert np.isnan(statistics.tested(np.array(one), np.array(other)).p)


def test_chance_is_called_so_as_often_as_it_says() -> None:
    """Of 300 comparisons of five curricula that are alike, some 5 % have a corrected p below 0.05, and no more."""
    chance = np.random.default_rng(0)
    lowest = []
    for _ in range(300):
        scores = chance.normal(size=(5, 5))
        lowest.append(min(statistics.holm([statistics.tested(each, scores[0]).p for each in scores[1:]])))
    assert np.mean(np.array(lowest) < 0.05) < 0.085


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (
            ([1.0, 1.1, 1.2], [0.9, 1.0, 1.11]),
            "b is better than a by 0.0967 ± 0.0058, which is more than the spread over 3",
        ),
        (([1.0, 1.1, 1.2], [1.1, 1.2, 1.29]), "b is worse than a by"),
        (([1.0, 1.1, 1.2], [1.1, 1.0, 1.2]), "no difference was found"),
        (([1.0, 1.1, 1.2], [0.9, 0.95, 1.19]), "may still be chance"),
        (([1.0], [0.9]), "one seed, which has no spread"),
        (
            ([1.0, 2.0], [float("inf"), 1.0]),
            "b cannot be held against a: the score at the end is not finite of b on 1 of 2",
        ),
        (([float("inf")] * 2, [float("inf"), 1.0]), "not finite of a on 2 of 2 seeds and of b on 1 of 2 seeds"),
        (([1.0, 2.0], [1.0, 2.0]), "b and a end with the same score on every seed: no difference was found"),
        (([1.0], [1.0]), "b and a end with the same score"),
        (([1.0, 1.1, 1.2], [1.2, 1.3, 1.4], [0.8, 0.9, 1.01]), "c is better than a"),
    ],
)
def test_the_sentence(scores: tuple[list[float], ...], said: str) -> None:
    """The sentence names the best of the others, and says whether it differs by more than the spread."""
    assert said in verdict(compared(*scores))


def test_a_comparison_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A ladder and its coarse rung at one cost: the table, the sentence, the picture and the JSON say the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(LADDER)
    coarse = LADDER.partition('[[state]]\nname = "fine"')[0].replace('name = "grid"', 'name = "coarse"')
    (tmp_path / "coarse.toml").write_text(coarse)
    words = ["compare", "coarse.toml", "grid.toml", "--trainer", f"{TOY}:train", "--budget", "160 cost", "--seeds", "2"]
    assert plateau.main([*words, "-o", "both.svg"]) == 0
    out = capfd.readouterr().out
    assert "grid is better than coarse by" in out
    assert plateau.main([*words, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["verdict"] in out
    assert [len(row["score"]) for row in told["curricula"]] == [2, 2]
    assert told["curricula"][1]["more"]["larger_than_spread"]
    assert all(curve["cost"][-1] == 160 for row in told["curricula"] for curve in row["curves"])
    assert "time (s)" in (tmp_path / "both.svg").read_text()


def test_cost_without_prices_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Files that say no prices would each be measured in a unit of their own: a cost is refused, seconds have none."""
    monkeypatch.chdir(tmp_path)
    free = LADDER.replace("cost   = [0.25, 1]\n", "")
    (tmp_path / "grid.toml").write_text(free)
    (tmp_path / "coarse.toml").write_text(
        free.partition('[[state]]\nname = "fine"')[0].replace('name = "grid"', 'name = "coarse"')
    )
    words = ["compare", "coarse.toml", "grid.toml", "--trainer", f"{TOY}:train", "--seeds", "1", "--json"]
    assert plateau.main([*words, "--budget", "160 cost"]) == 2
    assert "coarse: a budget in cost is the same for all only by prices in the files" in capfd.readouterr().out
    assert plateau.main([*words, "--budget", "1 s"]) == 0
    curves = [row["curves"][0] for row in json.loads(capfd.readouterr().out)["curricula"]]
    assert all("cost" not in curve and abs(curve["time_s"][-1] - 1) < 0.02 for curve in curves)
    timed = sorted(each.name.partition("-seed")[0] for each in (tmp_path / "trials/compare/cells").glob("*-price-*"))
    # What both have is priced once, by three runs: the toy gives one point in so few steps.
    runs = ("", "-again", "-longer")
    assert timed == [f"{setting}{run}" for setting in ("coarse-price-1", "grid-price-2") for run in runs]


@pytest.mark.parametrize("command", ["compare", "probe"])
def test_who_interrupts_is_told_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """Ctrl-C ends a comparison or a probe with 130 and one sentence: what is kept, how to go on."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    for name in ("grid", "other"):
        (tmp_path / f"{name}.toml").write_text(LADDER.replace('name = "grid"', f'name = "{name}"'))
    for module in ("compare", "probe"):
        monkeypatch.setattr(f"plateau_rule.trials.{module}.train_cells", interrupted)
    names = ["grid.toml", "other.toml"][: 2 if command == "compare" else 1]
    words = [command, *names, "--trainer", f"{TOY}:train", "--budget", "160 cost", "--out", "kept"]
    with pytest.raises(SystemExit, match="130"):
        plateau.main(words)
    said = capfd.readouterr().err
    assert said == "Interrupted. What is finished is kept in kept: the same command goes on from there\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["taps"], "two curricula or more"),
        (["taps", "taps"], "named twice"),
        (["taps", "tapps"], "tapps"),
        (["taps", "full", "--budget", "40"], "a number and a unit"),
        (["taps", "full", "--budget", "1500 steps"], "1000 or 2000 steps"),
    ],
)
def test_mistakes_of_a_comparison(capfd: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """What cannot be compared is refused in a sentence that says what to do."""
    budget = [] if "--budget" in words else ["--budget", "1000 steps"]
    assert plateau.main(["compare", *words, *budget, "--trainer", f"{TOY}:train"]) == 2
    assert said in capfd.readouterr().err
