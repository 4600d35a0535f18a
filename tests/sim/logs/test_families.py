"""Families of trainers are read whole, and their logs, when damaged, never give a wrong count without a word."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from plateau_rule.sim.logs import Log, LogError, read
from tests.sim.logs.families import FAMILIES, curve, row_of


def read_text(folder: Path, text: str, column: str | None = None) -> Log:
    """Read a text as a log."""
    path = folder / "log"
    path.write_text(text, newline="")
    return read(path, column=column)


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str, tmp_path: Path) -> None:
    """A log of each family gives the losses that a person counts in it, at their steps, and its evaluations apart."""
    family = FAMILIES[name]()
    if family.refusal:
        with pytest.raises(LogError, match="--column") as refused:
            read_text(tmp_path, family.text)
        assert family.refusal in str(refused.value)
        assert any(family.series in choice for choice in refused.value.choices)
    report = read_text(tmp_path, family.text, family.series if family.refusal else None).report
    assert report.series == family.series
    assert (report.used.points, report.used.first_step, report.used.last_step) == (family.points, *family.steps)
    assert report.epoch_steps == family.per_epoch
    for metric, count in family.evals.items():
        assert report.evals[metric] == count
    assert report.meaning.startswith(family.meaning)
    assert bool(report.warnings) == family.notes


def test_families_are_many() -> None:
    """At least 25 families have a log here."""
    assert len(FAMILIES) >= 25


def test_trackio(tmp_path: Path) -> None:
    """Trackio's database is read by its runs, and keeps NaN, which it spells as text."""
    path = tmp_path / "project.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, "
            "run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)"
        )
        for run, count in (("first", 30), ("second", 5)):
            for step in range(count):
                loss: float | str = "NaN" if step == 3 else curve(step)
                values = json.dumps({"train/loss": loss, "val/loss": curve(step) + 1} | {"lr": 0.1})
                row = ("2025-01-01T10:00:00", run, step, values)
                database.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)
        database.commit()
    with pytest.raises(LogError, match="2 runs") as refused:
        read(path)
    assert refused.value.choices == ("run 'first' (30 rows)", "run 'second' (5 rows)")
    with pytest.raises(LogError, match="no run 'third'"):
        read(path, run="third")
    report = read(path, run="first").report
    assert (report.format, report.series, report.used.points) == ("Trackio database", "train/loss", 30)
    assert (report.evals, report.nonfinite) == ({"val/loss": 30}, 1)


# Damage


def words_of(log: Log) -> list[str]:
    """What a report says that a person should look at."""
    report = log.report
    loud = ("repeated", "not as many", "without a step", "without an epoch", "not JSON", "cut off", "not a number")
    return [*report.warnings, *(reason for reason in report.dropped if any(word in reason for word in loud))]


def dropped(lines: list[str], rng: random.Random) -> list[str]:
    """Some lines that tell losses are missing; a heading that is missing leaves no trace."""
    return [line for line in lines if "loss" not in line.lower() or rng.random() > 0.2]


def repeated(lines: list[str], rng: random.Random) -> list[str]:
    """Some lines stand there twice."""
    return [line for line in lines for _ in range(1 + (rng.random() < 0.2))]


def joined(lines: list[str], rng: random.Random) -> list[str]:
    """The same training again, or from its middle on."""
    return lines + lines[rng.choice([0, 0, len(lines) // 2]) :]


def interleaved(lines: list[str], rng: random.Random) -> list[str]:
    """Two trainings write into one file."""
    mixed, left, right = [], list(lines), list(lines)
    while left or right:
        source = left if left and (not right or rng.random() < 0.5) else right
        mixed.append(source.pop(0))
    return mixed


DAMAGES = (dropped, repeated, joined, interleaved)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", FAMILIES)
def test_damaged(name: str, damage: object, tmp_path: Path) -> None:
    """A damaged log is refused, or gives no more points than there are; what is not as it was is said."""
    family = FAMILIES[name]()
    rng = random.Random(f"{name} {damage.__name__}")  # type: ignore[attr-defined]
    column = family.series if family.refusal else None
    whole = read_text(tmp_path, family.text, column)
    right = dict(zip(whole.points().step.tolist(), whole.points().loss.tolist(), strict=True))
    for _ in range(2):
        lines = damage(family.text.splitlines(keepends=True), rng)  # type: ignore[operator]
        try:
            log = read_text(tmp_path, "".join(lines), column)
        except LogError:
            continue
        found = dict(zip(log.points().step.tolist(), log.points().loss.tolist(), strict=True))
        wrong = {step: loss for step, loss in found.items() if right.get(step) != loss}
        said = words_of(log)
        assert said or not wrong, f"{len(wrong)} points of {len(found)} stand elsewhere, and nothing is said"
        assert said or len(found) <= len(right)


def test_docs_list_the_families(pytestconfig: pytest.Config) -> None:
    """docs/logs.md has a row for each family, with what its log holds, and no other."""
    text = (pytestconfig.rootpath / "docs" / "logs.md").read_text()
    rows = [line for line in text.split("## Families")[1].split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert rows == [row_of(name) for name in FAMILIES]
