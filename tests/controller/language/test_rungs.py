"""One state for each rung of a ladder: what it means, how a run goes through it, and what is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from plateau_rule import Binding, Controller, CurriculumError, load, loads
from plateau_rule.controller.checking import in_words
from plateau_rule.controller.drawing import mermaid
from plateau_rule.controller.language.fingerprint import canonical
from plateau_rule.controller.language.ladders import ranks_of
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.rungs import spelled_out
from plateau_rule.controller.language.writing import dumps
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.sim.batch.engine import Batch
from plateau_rule.sim.simulator.simulate import filled

HEAD = """
name = "grown"
run = { epochs = 20, steps_per_epoch = 10 }
lr = { peak = 1.0, shape = "linear", length = "40 steps" }
knob.width = { order = "none", ladder = [8, 4] }
"""
KNOB = "knob.modes = { range = { min = 16, max = 20, multiple_of = 2 } }\n"
SHORT = (
    HEAD
    + KNOB
    + """
[[state]]
name = "first"
set = { modes = 16, width = 4 }
[[state]]
name = "grow"
each = "modes"
set = { width = 8 }
[[state]]
name = "last"
set = { modes = 20, width = 8 }
[[transition]]
name = "begin"
from = "first"
to = "grow"
guards = [{ dwell = "5 steps" }]
[[transition]]
name = "climb"
from = "grow"
to = "next"
guards = [{ below = { value = 2.0, window = 3 } }]
actions = ["lr_restart"]
[[transition]]
name = "back"
from = ["grow", "last"]
to = "grow.18"
guards = [{ nonfinite = 2 }]
at_most = 2
regress = true
"""
)
LONG = (
    HEAD
    + KNOB
    + """
[[state]]
name = "first"
set = { modes = 16, width = 4 }
[[state]]
name = "grow16"
set = { modes = 16, width = 8 }
[[state]]
name = "grow18"
set = { modes = 18, width = 8 }
[[state]]
name = "grow20"
set = { modes = 20, width = 8 }
[[state]]
name = "last"
set = { modes = 20, width = 8 }
[[transition]]
name = "begin"
from = "first"
to = "grow16"
guards = [{ dwell = "5 steps" }]
[[transition]]
name = "climb"
from = ["grow16", "grow18", "grow20"]
to = "next"
guards = [{ below = { value = 2.0, window = 3 } }]
actions = ["lr_restart"]
[[transition]]
name = "back"
from = ["grow16", "grow18", "grow20", "last"]
to = "grow18"
guards = [{ nonfinite = 2 }]
at_most = 2
regress = true
"""
)


def test_each_means_what_it_spells_out() -> None:
    """A state for each rung means the same as all of them written by hand, but for their names."""
    short, long = (json.dumps(canonical(loads(text)), sort_keys=True) for text in (SHORT, LONG))
    assert short.replace("grow.", "grow") == long


def losses(seed: int) -> list[float]:
    """Losses that fall, lie flat, and now and then are none."""
    rng = random.Random(seed)
    return [float("nan") if rng.random() < 0.2 else rng.choice((1.0, 1.5, 3.0)) for _ in range(200)]


@pytest.mark.parametrize("seed", range(5))
def test_a_run_goes_through_the_rungs(seed: int) -> None:
    """Every plan and decision is that of the file written by hand, saved and resumed on the way; so is a batch's."""
    short, long = Controller(loads(SHORT)), Controller(loads(LONG))
    batch = Batch(loads(SHORT), 1)
    for loss in losses(seed):
        if short.plan.stop is not None:
            break
        assert short.plan.state.replace("grow.", "grow") == long.plan.state
        assert short.plan._replace(state="") == long.plan._replace(state="")
        resumed = Controller(loads(SHORT))
        resumed.load_state_dict(json.loads(json.dumps(short.state_dict())))
        short = resumed
        one, other = short.observe(loss), long.observe(loss)
        assert (one and (one.step, one.transition, one.lr)) == (other and (other.step, other.transition, other.lr))
        batch.observe([loss])
        assert batch.machine.states[batch.state[0]].name == short.plan.state


IFNO = """
name = "ifno"
run = { epochs = 500, steps_per_epoch = 100 }
lr = { peak = 1e-3, shape = "constant" }
knob.modes = { range = { min = 16, max = 64, multiple_of = 1 } }
[[state]]
name = "grow"
each = "modes"
[[transition]]
from = "grow"
to = "next"
at = "epoch"
guards = [{ dwell = "2 epochs" }, { gap = { over = "100 steps", value = 0.001 } }]
[[transition]]
from = "grow"
to = "next"
at = "epoch"
guards = [{ dwell = "8 epochs" }]
"""


def test_forty_nine_rungs_are_proved_and_drawn_as_few() -> None:
    """49 modes are proved as one state is, in a report and a picture that stay short."""
    curriculum = loads(IFNO)
    report = verify(Controller(curriculum).machine)
    assert report.findings == ()
    assert not report.open
    assert [entry.state for entry in report.entries] == [f"grow.{modes}" for modes in range(16, 65)]
    words = list(in_words(report, Places(IFNO, "ifno.toml"), {}, False))
    assert len(words) < 40
    assert sum("47 rungs between" in line for line in words) == 1
    shown = [line.split('"')[1].split("<br>")[:2] for line in mermaid(curriculum).splitlines() if "<br>" in line]
    between = ["grow.18 #8230; grow.63", "modes 18 to 63, 46 rungs"]
    assert shown == [["grow.16", "modes 16"], ["grow.17", "modes 17"], between, ["grow.64", "modes 64"]]


def test_few_rungs_are_drawn_one_by_one() -> None:
    """Three rungs are three states, with the ways between them and those of the states around."""
    ways = [line.strip().split(" : ")[0] for line in mermaid(loads(SHORT)).splitlines() if " : " in line]
    assert ways == [
        "s0 --> s1",
        "s1 --> s2",
        "s2 --> s3",
        "s3 --> s4",
        "s1 --> s2",
        "s2 --> s2",
        "s3 --> s2",
        "s4 --> s2",
    ]


def test_fmt_keeps_the_one_state() -> None:
    """Formatting writes what was written, not what it spells out."""
    text = dumps(loads(SHORT))
    assert text.count("[[state]]") == 3
    assert loads(text) == loads(SHORT)


@pytest.mark.parametrize(
    ("knob", "names"),
    [
        ('{ ladder = [1, 4, "full"] }', ["grow.1", "grow.4", "grow.full"]),
        ('{ order = "down", ladder = [0.5, 0.25] }', ["grow.0.5", "grow.0.25"]),
        ('{ ladder = ["web", "books"] }', ["grow.web", "grow.books"]),
        ('{ order = "down", range = { min = 1, max = 4, multiple_of = 2 } }', None),
        ("{ range = { min = 2, max = 7, multiple_of = 2 } }", ["grow.2", "grow.4", "grow.6", "grow.7"]),
    ],
)
def test_rungs_have_names(knob: str, names: list[str] | None) -> None:
    """A rung is called by its value, in the order of the ladder, easiest first."""
    head = 'name = "x"\nlr = { peak = 1.0, shape = "constant" }\n'
    text = f'{head}knob.k = {knob}\n[[state]]\nname = "grow"\neach = "k"\n'
    if names is None:
        with pytest.raises(CurriculumError, match="min 1; expected a multiple of 2"):
            loads(text)
        return
    assert [state.name for state in spelled_out(loads(text)).state] == names


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('each = "modes"', 'each = "mode"', 'no knob "mode". Did you mean "modes"?'),
        (
            'each = "modes"\nset = { width = 8 }',
            'each = "modes"\nset = { width = 8, modes = 16 }',
            '"modes" in set of a',
        ),
        ("multiple_of = 2", "multiple_of = 0.01", "whose range has 401 rungs; expected at most 256: each is a state"),
        ("multiple_of = 2", "multiple_of = 0", "knob.modes.range.multiple_of: found 0; expected a number above 0"),
        (", multiple_of = 2", "", "whose range has no multiple_of to count by"),
        ("max = 20", 'max = "full"', 'whose range ends in "full": where that is, the file does not say'),
        (
            "range = { min = 16, max = 20, multiple_of = 2 }",
            "ladder = [[16, 1], [20, 1]]",
            "values are lists or tables",
        ),
        ('to = "grow.18"', 'to = "grow.19"', 'no state "grow.19"'),
        ("set = { width = 8 }\n[[state]]", "set = { width = 5 }\n[[state]]", "width = 5; expected one of 8, 4"),
    ],
)
def test_what_is_refused(old: str, new: str, sentence: str) -> None:
    """What is wrong with such a state is said once, where it is written."""
    assert old in SHORT
    with pytest.raises(CurriculumError) as caught:
        loads(SHORT.replace(old, new, 1), "x.toml")
    assert sentence in str(caught.value)
    assert len(caught.value.faults) == 1
    assert all(fault.place is not None for fault in caught.value.faults)


def test_a_range_has_no_names() -> None:
    """A state for each value of a range has none in the file, and a simulation asks for what is in the file."""
    assert ranks_of(loads(SHORT)) == {}
    assert filled(loads(SHORT), Binding()).limits == {"modes": 20, "width": 8}


def test_a_pickled_curriculum_knows_what_it_spells_out() -> None:
    """What is bound leads back to the file, for reports."""
    machine: Any = Controller(loads(SHORT)).machine
    assert [state.name for state in machine.curriculum.written.state] == ["first", "grow", "last"]
    assert machine.curriculum.written_path(("state", 2, "lr")) == ("state", 1, "lr")
    assert load("plateau").written == load("plateau")
