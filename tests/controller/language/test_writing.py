"""A curriculum written as TOML is the same curriculum; formatting keeps comments and changes nothing that is meant."""

from __future__ import annotations

import tomllib
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import Curriculum, CurriculumError, dumps, loads
from plateau_rule.controller.guards.plateau import Plateau
from plateau_rule.controller.language import writing
from plateau_rule.controller.language.comments import Remarks
from plateau_rule.controller.language.curriculum import Guard, Knob, Rate, State, Transition
from plateau_rule.controller.language.fingerprint import fingerprints
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.language.scanning import tokens
from plateau_rule.controller.language.writing import WIDEST_LINE, comments_in, formatted
from plateau_rule.sim.strategies import curricula

MESSY = """# top of the file

# about the name
name = "x" # the name
# about lr
lr = { peak = 1_0e-4, floor = 0 } # inline lr
knob.cutoff.ladder = [ # after bracket
   128, # one
   # above two
   256,
   "full" # last
   # tail
]
state = [ {name = "a", set={cutoff=128}}, # state a
 # before b
 {name='b', set={cutoff="full"}, lr={floor=0.1}} ]
# above guard

[guard]  # the guards
[guard.flat.plateau] # flat's
# the window
window = 50 # fifty
[guard.deep]
not = { any = [ # deep comment
  "flat", {min_epoch=2} ] }

[[transition]]
to = "next" # to
from = "*"


[[transition.guards]]  # first guard
min_epoch = 2 # two
[[transition.guards]]
any = [ {dwell="10 steps"}, {plateau={window=100,threshold=0.0001}}, {below={value=3.25}}, {above={value=3.25}} ]
[check.waive]
aligned = "a reason that is long, and does not fit into a line with the table that it stands in, so it gets a header"
# the end
"""

TIDY = """# top of the file

format = 1
# about the name
name   = "x"  # the name

# about lr
[lr]  # inline lr
peak  = 1_0e-4
floor = 0

[knob.cutoff]
ladder = [
  # after bracket
  128,  # one
  # above two
  256,
  "full",  # last
  # tail
]

# above guard

# the guards
[guard.flat.plateau]  # flat's
# the window
window = 50           # fifty

[guard.deep]
# deep comment
not = { any = ["flat", { min_epoch = 2 }] }

[[state]]  # state a
name = "a"
set  = { cutoff = 128 }

# before b
[[state]]
name = "b"
set  = { cutoff = "full" }
lr   = { floor = 0.1 }

[[transition]]
from   = "*"
to     = "next"  # to
guards = [
  # two
  { min_epoch = 2 },  # first guard
  { any = [
    { dwell = "10 steps" },
    { plateau = { window = 100, threshold = 0.0001 } },
    { below = { value = 3.25 } },
    { above = { value = 3.25 } },
  ] },
]

[check.waive]
aligned = "a reason that is long, and does not fit into a line with the table that it stands in, so it gets a header"

# the end
"""


def test_layout() -> None:
    """A file written in every odd way gets the one layout, its comments at what they belonged to."""
    assert formatted(MESSY) == TIDY


def test_layout_stays() -> None:
    """Formatting a second time changes nothing."""
    assert formatted(TIDY) == TIDY


def test_two_comments_behind_one_item() -> None:
    """A comment behind an item and one behind its comma stay two: the first one behind it, the others above it."""
    text = """name = "x"
lr.peak = 1
state = [{ name = "a", set = { k = 1 } }]
knob.k.ladder = [
  1 # one
  , # two
  # above 2
  2 # three
  # last
]
"""
    assert """ladder = [
  # two
  1,  # one
  # above 2
  2,  # three
  # last
]
""" in formatted(text)


@pytest.mark.parametrize("name", shipped())
def test_shipped_files(name: str) -> None:
    """The shipped files are laid out already."""
    content = shipped()[name].read_bytes()
    assert formatted(content, name).encode() == content


@settings(max_examples=60)
@given(curricula())
def test_round_trip(curriculum: Curriculum) -> None:
    """Written and read again, a curriculum is equal, has the same fingerprint, and is written the same again."""
    text = dumps(curriculum)
    again = loads(text)
    assert again == curriculum
    assert fingerprints(again) == fingerprints(curriculum)
    assert dumps(again) == formatted(text) == text
    assert max(map(len, text.splitlines())) <= 3 * WIDEST_LINE


@settings(max_examples=60)
@given(curricula(), st.randoms(use_true_random=False))
def test_comments_stay(curriculum: Curriculum, random: Random) -> None:
    """Comments put anywhere into a file are all there after formatting, and formatting again changes nothing."""
    pieces = []
    for number, token in enumerate(tokens(dumps(curriculum))):
        pieces.append(token.text)
        if token.kind == "newline" and random.random() < 0.25:
            pieces.append(f"  # above {number}\n")
        if token.text == "," and random.random() < 0.1 and breakable(pieces):
            pieces.append(f" # inside {number}\n")
    text = "".join(pieces)
    tidy = formatted(text)
    assert comments_in(tidy) == comments_in(text)
    assert loads(tidy) == curriculum
    assert formatted(tidy) == tidy


def breakable(pieces: list[str]) -> bool:
    """Whether a line may end here: directly in a list, not in an inline table or a text."""
    marks = [piece for piece in pieces if piece in "[]{}" and piece]
    depth = []
    for mark in marks:
        if mark in "[{":
            depth.append(mark)
        elif depth:
            depth.pop()
    return bool(depth) and depth[-1] == "["


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (2e-4, "2e-4"),
        (0.1, "0.1"),
        (3.0, "3.0"),
        (1.5e-7, "1.5e-7"),
        (1e15, "1e15"),
        (0.001, "0.001"),
        (1234567.0, "1234567.0"),
    ],
)
def test_numbers(value: float, spelled: str) -> None:
    """Numbers that Python made are written as people write them, and read as the same number."""
    text = dumps(Curriculum(name="x", lr=Rate(peak=value), state=[State(name="a")]))
    assert f"peak = {spelled}\n" in text
    assert loads(text).lr.peak == value


def test_numbers_stay_as_spelt() -> None:
    """Formatting leaves numbers as they were written."""
    text = 'name = "x"\nlr = { peak = 1_0.0e-04, floor = 0 }\nstate = [{ name = "a" }]\nrun.epochs = 0x10\n'
    assert "peak  = 1_0.0e-04\nfloor = 0\n" in formatted(text)
    assert "epochs = 0x10\n" in formatted(text)


def test_texts() -> None:
    """Quotation marks, backslashes and letters of any alphabet survive; all texts get the same quotation marks."""
    text = 'name = \'x\'\ndescription = \'a "b" \\ é 漢 🚀\'\nlr.peak = 1\nstate = [{ name = """a""" }]\n'
    assert 'description = "a \\"b\\" \\\\ é 漢 🚀"\n' in formatted(text)
    assert loads(formatted(text)) == loads(text)


def test_nothing_is_added() -> None:
    """Formatting adds the format and nothing else; defaults that were written out stay."""
    text = 'name = "x"\nlr.peak = 1\nlr.rewarm = false\nstate = [{ name = "a" }]\nrun = {}\n'
    written = tomllib.loads(formatted(text))
    assert written == {**tomllib.loads(text), "format": 1}


def test_long_tables() -> None:
    """What is too long for a line is broken at its lists, or becomes a table with a header."""
    knobs = {f"knob-number-{'abcdefghij'[i]}": Knob(ladder=[1, 2, "full"]) for i in range(10)}
    states = [State(name=f"state{'abcdefghjkmnpqrs'[i]}", set=dict.fromkeys(knobs, 2)) for i in range(12)]
    guards: list[Guard | str] = [Guard(plateau=Plateau(window=100 + i)) for i in range(8)]
    ways = [Transition(from_=[state.name for state in states[:-1]], to=states[-1].name, guards=guards)]
    curriculum = Curriculum(name="x", lr=Rate(peak=1), knob=knobs, state=states, transition=ways)
    text = dumps(curriculum)
    assert max(map(len, text.splitlines())) <= WIDEST_LINE
    assert "[state.set]\n" in text
    assert loads(text) == curriculum


@pytest.mark.parametrize("length", range(1, 65))
def test_the_width_of_a_line(length: int) -> None:
    """What fits into 120 characters with all that stands beside it in its line is one line, and nothing else is."""
    name = "n" * length
    nested = f'{{ any = ["{"p" * 50}", "{"q" * 30}", "{name}"] }}'
    lines = {
        "a table": f'plateau = {{ metric = "{name}", window = 5000, threshold = 0.00501, per = "window" }}',
        "a table below a longer key": f"set  = {{ {'k' * 60} = 1, {name} = 2 }}",
        "a list below a longer key": f'from   = ["{"s" * 60}", "{name}"]',
        "a table in a list": f"  {nested},",
    }
    text = f"""\
name = "x"
lr.peak = 1
knob.{"k" * 60}.ladder = [1]
knob.{name}.ladder = [2]
guard.{"p" * 50}.min_step = 1
guard.{"q" * 30}.min_step = 2
guard.{name}.min_step = 3
guard.other.{lines["a table"]}
guard.more.any = ["other", {nested}]
[[state]]
name = "{"s" * 60}"
{lines["a table below a longer key"]}
[[state]]
name = "{name}"
{lines["a table below a longer key"]}
[[state]]
name = "last"
{lines["a table below a longer key"]}
[[transition]]
to = "next"
{lines["a list below a longer key"]}
guards = ["more", # so that it has a line for each
{nested}]
"""
    written = formatted(text).splitlines()
    assert {what for what, line in lines.items() if line in written} == {
        what for what, line in lines.items() if len(line) <= WIDEST_LINE
    }
    assert max(map(len, written)) <= WIDEST_LINE


def test_a_lost_comment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: were a comment lost, the file would be refused rather than written without it."""
    monkeypatch.setattr("plateau_rule.controller.language.writing.remarks_in", lambda text: Remarks())
    with pytest.raises(CurriculumError, match="comments-lost"):
        formatted(MESSY)


def test_a_changed_meaning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: were a number written wrong, nothing would be written."""
    curriculum = Curriculum(name="x", lr=Rate(peak=1), state=[State(name="a")])

    def wrong(value: Any, path: tuple[Any, ...], spell: Any = writing.spell_value) -> str:
        return "2" if path == ("lr", "peak") else str(spell(value, path))

    monkeypatch.setattr(writing, "spell_value", wrong)
    with pytest.raises(CurriculumError, match=r"^\"x\" cannot be written as TOML \[meaning-lost\]$"):
        dumps(curriculum)


def test_the_end_of_a_file() -> None:
    """A file may lack its last newline, or end in a comment and blank lines: one newline ends what is written."""
    text = 'name = "x"\nlr.peak = 1\n\n[[state]]\nname = "a"'
    written = formatted(text)
    assert written.endswith('name = "a"\n')
    assert formatted(text + "\n# the end\n\n\n") == written + "\n# the end\n"
    assert formatted(text + "  # a\n# the end\n  \n").endswith('name = "a"  # a\n\n# the end\n')


def test_a_text_that_is_too_long_for_a_line_stays_in_one() -> None:
    """Only lists are broken: a long reason has a long line."""
    reason = "because " * 30 + "of that"
    text = f'name = "x"\nlr.peak = 1\nstate = [{{ name = "a" }}]\ncheck.waive.reach = "{reason}"\n'
    assert f'reach = "{reason}"\n' in formatted(text)


def test_faults_come_first() -> None:
    """What is no curriculum is not formatted; its faults are told with their places."""
    with pytest.raises(CurriculumError, match=r"^f.toml:3:18: run.epochs: found 0"):
        formatted('name = "x"\nlr.peak = 1\nrun = { epochs = 0 }\nstate = [{ name = "a" }]\n', "f.toml")
