"""A log of any trainer that grows under a curriculum: what is new is shown, and the rest stays as it was."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from socket import socket

import numpy as np
import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.binding import Binding
from plateau_rule.page import growing, serving
from plateau_rule.page.answers import Answers
from plateau_rule.page.desk import Desk
from plateau_rule.page.growing import FRESH_S, SHARE, GrowingLog, follow_log
from plateau_rule.page.opening import open_log
from plateau_rule.page.run import Run
from plateau_rule.sim.logs import LogError, read
from tests.plateau_rule.page.runs import loss_at

BOUND = Binding(epochs=20, steps_per_epoch=80)


def rows(start: int, stop: int) -> str:
    """Lines of a CSV, with losses that bring raises at steps 160, 320 and 480."""
    return "".join(f"{step},{loss_at(step, step - step % 160, step // 160):.5f}\n" for step in range(start, stop))


class Trainer:
    """Somebody else's trainer, which writes a log: of lines, or of whole files.

    Args:
        path: the log.
        text: what stands in it at first.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.warned, self._writes = path, list[str](), 0
        path.write_text(text)

    def write(self, text: str, anew: bool = False) -> None:
        """Append to the log, or write it anew; as if at another moment than what was written before."""
        self.path.write_text(text if anew else self.path.read_text() + text)
        self._writes += 1
        status = self.path.stat()
        os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns + self._writes))

    def opened(self, curriculum: str = "plateau", given: Binding = BOUND) -> Run:
        """The page's run of it."""
        reads = partial(read, str(self.path))
        return Run(follow_log(str(self.path), curriculum, given, reads, reads, self.warned.append))


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is always time to look."""
    monkeypatch.setattr(growing, "SHARE", 0)


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    """A trainer that has logged 100 steps."""
    return Trainer(tmp_path / "log.csv", "step,loss\n" + rows(0, 100))


def told(run: Run) -> list[tuple[int, str]]:
    """The transitions so far."""
    return [(one.step, one.to_state) for one in run.session.decisions]


@pytest.mark.usefixtures("busy")
def test_decisions_fall_as_it_grows(trainer: Trainer) -> None:
    """Bit by bit, a run decides what it decides of the whole log, and says what is new."""
    run = trainer.opened()
    assert (len(run.session), run.goes_on, run.quiet, told(run)) == (100, True, False, [])
    assert run.poll() is None
    for start in range(100, 900, 50):
        trainer.write(rows(start, start + 50))
        assert run.poll() == {"n": start + 50, "gen": 0, "more": False}
    assert told(run)[:2] == [(160, "words"), (320, "spelling")]
    whole = Run(open_log(read(str(trainer.path)), str(trainer.path), "plateau", BOUND))
    assert told(whole) == told(run)
    assert np.array_equal(whole.session.log.losses, run.session.log.losses)


@pytest.mark.usefixtures("busy")
def test_a_line_that_is_being_written_waits(trainer: Trainer) -> None:
    """Half a number is no loss: the last line counts when it is whole, or when nobody writes any more."""
    run = trainer.opened()
    for torn, count in (("100,2", 100), (".75", 100), ("\n101,2.7", 101), ("\n1", 101), ("02,2.6\n", 103)):
        trainer.write(torn)
        run.poll()
        assert len(run.session) == count
    assert run.gen == 0
    assert run.session.log.losses[100:].tolist() == [2.75, 2.7, 2.6]


@pytest.mark.usefixtures("busy")
def test_a_last_line_without_its_end(trainer: Trainer) -> None:
    """Where nothing was written for a minute, the last line is one even without its end."""
    run = trainer.opened()
    trainer.write("100,2.75")
    assert run.poll() is None
    status = trainer.path.stat()
    os.utime(trainer.path, ns=(status.st_atime_ns, status.st_mtime_ns - int(2e9 * FRESH_S)))
    assert run.poll() == {"n": 101, "gen": 0, "more": False}
    assert run.poll() is None
    assert (run.quiet, run.goes_on) == (True, True)


@pytest.mark.usefixtures("busy")
def test_a_log_that_is_written_anew(trainer: Trainer) -> None:
    """A log that begins again, or is cut, is followed from the first step that differs, and the page is told."""
    run = trainer.opened()
    trainer.write("step,loss\n" + rows(0, 60), anew=True)
    assert run.poll() == {"n": 60, "gen": 1, "more": False, "cut": 60}
    trainer.write("step,loss\n" + rows(0, 40) + "40,9.0\n41,9.0\n", anew=True)
    assert run.poll() == {"n": 42, "gen": 2, "more": False, "cut": 40}
    trainer.write("", anew=True)
    assert run.poll() is None
    trainer.write("step,loss\n" + rows(0, 200), anew=True)
    assert run.poll() == {"n": 200, "gen": 3, "more": False, "cut": 40}


@pytest.mark.usefixtures("busy")
def test_a_log_that_has_hardly_begun(tmp_path: Path) -> None:
    """Of a log that was begun a moment ago the page waits for the first losses, and says why."""
    trainer = Trainer(tmp_path / "log.csv", "")
    run = trainer.opened()
    assert len(run.session) == 0
    assert trainer.warned == [f"{trainer.path}: the file is empty. Name the log of a run that has made some steps\n"
                              "The page waits for more."]  # fmt: skip
    for text, count in (("step,loss\n", 0), (rows(0, 1), 0), (rows(1, 170), 170)):
        trainer.write(text)
        run.poll()
        assert len(run.session) == count
    assert told(run) == [(160, "words")]


def test_a_log_that_holds_no_losses_is_refused(tmp_path: Path) -> None:
    """A log of many lines without a loss will have none later; nor will an old one of a single line."""
    with pytest.raises(LogError):
        Trainer(tmp_path / "many.csv", "a\n" * 9).opened()
    old = Trainer(tmp_path / "old.csv", "step,loss\n")
    os.utime(old.path, (0, 0))
    with pytest.raises(LogError):
        old.opened()


@pytest.mark.usefixtures("busy")
def test_an_old_log_is_over_until_it_grows(trainer: Trainer) -> None:
    """A log that nobody has written to for a minute is shown as one that is over; it is followed when it grows."""
    os.utime(trainer.path, (0, 0))
    run = trainer.opened()
    assert (run.goes_on, run.follows) == (False, True)
    os.utime(trainer.path)
    trainer.write(rows(100, 170))
    assert run.poll() == {"n": 170, "gen": 0, "more": False}
    assert (run.goes_on, told(run)) == (True, [(160, "words")])


@pytest.mark.usefixtures("busy")
def test_bound_by_what_the_log_says(tmp_path: Path) -> None:
    """Epochs come from the log where it has them; how long the run will be, the curriculum says and not the log."""
    text = (Path(__file__).parents[3] / "docs" / "examples" / "sizes.toml").read_text()
    (tmp_path / "mine.toml").write_text(text)
    lines = [f"{step},{step // 50},{3 - step / 1000}\n" for step in range(300)]
    trainer = Trainer(tmp_path / "log.csv", "step,epoch,loss\n" + "".join(lines[:120]))
    run = trainer.opened(str(tmp_path / "mine.toml"), Binding())
    machine = run.session.machine
    assert (machine.steps_per_epoch, machine.run.epochs) == (50, 20)
    trainer.write("".join(lines[120:]))
    assert run.poll() == {"n": 300, "gen": 0, "more": False}
    (tmp_path / "mine.toml").write_text(text.replace("epochs = 20", "epochs = 40"))
    trainer.write("300,6,2.7\n")
    assert run.poll() == {"n": 301, "gen": 1, "more": False}
    assert run.session.machine.run.epochs == 40


@pytest.mark.usefixtures("busy")
def test_an_evaluation_that_comes_late_cuts_nothing(tmp_path: Path) -> None:
    """What an evaluation brings of a step that is there already is taken in without a word about a cut."""
    lines = [f'{{"step": {step}, "loss": {3 - step / 1000}}}\n' for step in range(200)]
    trainer = Trainer(tmp_path / "log.jsonl", "".join(lines[:150]))
    run = trainer.opened("reduce-on-plateau", Binding(epochs=4, steps_per_epoch=100))
    trainer.write('{"step": 100, "val_loss": 3.5}\n' + "".join(lines[150:]))
    assert run.poll() == {"n": 200, "gen": 0, "more": False}
    assert run.session.log.evaluations[100] == {"val_loss": 3.5}


@pytest.mark.parametrize(("takes", "looks"), [(0.0, 4), (1.0, 1)])
def test_reading_leaves_time(takes: float, looks: int, tmp_path: Path) -> None:
    """However fast a log grows, reading it takes one part in twenty of the time."""
    now, count = [0.0], [0]
    log = Trainer(tmp_path / "log.csv", "step,loss\n" + rows(0, 9))

    def again() -> object:
        count[0] += 1
        now[0] += takes
        return open_log(read(str(log.path)), str(log.path), "plateau", BOUND)

    found = GrowingLog(log.path, again, clock=lambda: now[0])  # type: ignore[arg-type]
    for step in range(9, 13):
        log.write(rows(step, step + 1))
        found.changed()
        now[0] += SHARE / 5
    assert count[0] == looks


def test_the_command_follows(monkeypatch: pytest.MonkeyPatch, trainer: Trainer) -> None:
    """`plateau page CURRICULUM LOG` follows the log that it asks; one that is drawn beside it is read once."""
    served: list[Answers] = []

    def serve(desk: Desk, token: str, listening: socket) -> int:
        listening.close()
        desk.begin(lambda: None)
        served.append(desk.answers())
        return 0

    monkeypatch.setattr(serving, "serve", serve)
    words = ["plateau", str(trainer.path), str(trainer.path), "--epochs", "20", "--steps-per-epoch", "80"]
    assert plateau.main(["page", *words]) == 0
    (answers,) = served
    (other,) = answers.others
    assert (answers.run.follows, other.follows) == (True, False)
