"""Each kind of file that `check` once judged falsely gets the verdict and the exit code that are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule import load
from plateau_rule.commands import app as plateau
from plateau_rule.controller.binding import bind
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.verifier.verify import verify

HERE = Path(__file__).parent

# What the file shows; the file; a property and its answer; the exit codes, plain and with --strict.
KINDS = [
    ("a raise at a rate of 0, in a run of unknown length", "bad/misaligned-without-run", "aligned", "broken", 1, 1),
    ("a raise that can come early or late", "bad/misaligned-by-patience", "aligned", "broken", 1, 1),
    ("a raise one cycle too late", "bad/misaligned-off-by-one", "aligned", "broken", 1, 1),
    ("a rate asked for some steps after the raise", "bad/misaligned-within-cycles", "aligned", "broken", 1, 1),
    ("a rate that the next state lets fall", "bad/rate-falls-in-next-state", "aligned", "broken", 1, 1),
    ("a peak scaled down to nothing", "bad/rate-vanishes", "aligned", "broken", 1, 1),
    ("a way round that is not the first one in", "bad/unbounded-cycle-by-another-way", "monotone", "broken", 1, 1),
    ("a ramp to a limit that is not known", "bad/knob-falls-without-limit", "monotone", "not decided", 0, 3),
    ("a state that only retreats leave is not final", "bad/may-stay-under-regress", "escape", "conditional", 0, 3),
    ("epochs that the trainer closes", "bad/may-stay-by-hand", "escape", "conditional", 0, 3),
    ("a state that nothing leaves any more", "bad/dead-end-after-retreat", "reach", "broken", 1, 1),
    ("two levels that exclude each other", "bad/never-true-of-two-levels", "order", "broken", 1, 1),
    ("a patience behind a shorter one", "bad/unreachable-behind-patience", "order", "broken", 1, 1),
    ("the look at the last NaN of a run", "good/dead-look", "order", "proved", 0, 0),
    ("a stop on NaN from everywhere", "good/stop-on-nan", "escape", "proved", 0, 0),
    ("a state that starts itself over, a bounded number of times", "good/decayed-restarts", "escape", "proved", 0, 0),
    ("a stop after some reductions", "good/reduce-on-plateau", "escape", "proved", 0, 0),
]


@pytest.mark.parametrize(("kind", "file", "name", "answer", "plain", "strict"), KINDS, ids=[one[0] for one in KINDS])
def test_kind(
    kind: str, file: str, name: str, answer: str, plain: int, strict: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """The property has the answer, and no flag but --strict changes the exit code."""
    path = HERE / f"{file}.toml"
    assert verify(bind(load(path))).verdict(name).answer == answer
    assert plateau.main(["check", str(path)]) == plain
    assert plateau.main(["check", "--strict", str(path)]) == strict
    capfd.readouterr()


def test_the_look_of_a_dead_run() -> None:
    """What only the last NaN can bring about is in the table of entries."""
    entries = {entry.state: entry for entry in verify(bind(load(HERE / "good/dead-look.toml"))).entries}
    assert (entries["b"].earliest, entries["c"].latest) == (3, 4)


def test_an_entry_that_epochs_closed_by_hand_can_prevent() -> None:
    """Where the trainer closes the epochs, the run may be over before a state is entered."""
    entries = {entry.state: entry for entry in verify(bind(load(HERE / "bad/may-stay-by-hand.toml"))).entries}
    assert not entries["b"].certain


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_curricula_are_decided(name: str) -> None:
    """Every property of every shipped curriculum is decided; what is broken is waived, but in the one that shows it."""
    report = verify(bind(load(name)))
    assert "not decided" not in report.answers()
    assert report.broken is (name == "misaligned")
