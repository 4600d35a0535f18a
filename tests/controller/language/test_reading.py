"""Reading a curriculum: files found by path or name, and every fault of a file at once, each at its place."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from plateau_rule import BindingError, Controller, CurriculumError, load, loads
from plateau_rule.controller.errors import Fault, Place
from plateau_rule.controller.language.reading import shipped
from tests.controller.codes_used import codes_of_reading

SMALL = """name = "small"
lr.peak = 1e-3
knob.cutoff.ladder = [128, "full"]
state = [{ name = "low", set = { cutoff = 128 } }, { name = "high", set = { cutoff = "full" } }]
"""


def faults(text: str | bytes) -> list[Fault]:
    """The faults of a text."""
    with pytest.raises(CurriculumError) as caught:
        loads(text, "f.toml")
    return list(caught.value.faults)


# Files


def test_bare_names() -> None:
    """A shipped curriculum is found by its bare name, wherever Python was started."""
    assert load("plateau").name == "plateau"
    assert load(shipped()["plateau"]) == load("plateau")


def test_path(tmp_path: Path) -> None:
    """A file is found by its path, as a string or as a Path, and the error shows that path."""
    file = tmp_path / "mine.toml"
    file.write_text(SMALL)
    assert load(file) == load(str(file)) == loads(SMALL)
    file.write_text(SMALL.replace("1e-3", "0"))
    with pytest.raises(CurriculumError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}:2:11: lr.peak: found 0; expected a number above 0 [out-of-range]\n")


def test_file_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name means the shipped curriculum even if a file of that name lies here; with its ending, the file."""
    monkeypatch.chdir(tmp_path)
    Path("plateau").write_text(SMALL)
    Path("plateau.toml").write_text(SMALL)
    assert load("plateau").name == "plateau"
    assert load("plateau.toml").name == load("./plateau").name == "small"


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("platau", "no-such-file", 'there is no curriculum "platau". Did you mean "plateau"? [no-such-file]'),
        ("nothing/here.toml", "no-such-file", "Give a path to a .toml file"),
        ("plateu.toml", "no-such-file", 'Did you mean "plateau"?'),
        ("\0", "no-such-file", 'there is no curriculum "�"'),
        ("x" * 5000, "no-such-file", "there is no curriculum"),
        (os.path.dirname(__file__), "not-a-file", "is a folder; expected the file of a curriculum [not-a-file]"),  # noqa: PTH120  # a string
    ],
)
def test_no_file(source: str, code: str, message: str) -> None:
    """What is no file is a CurriculumError that says what to do."""
    with pytest.raises(CurriculumError, match=r"\[[a-z-]+\]$") as caught:
        load(source)
    assert caught.value.faults[0].code == code
    assert message in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_pipe(tmp_path: Path) -> None:
    """A pipe is refused at once; nobody waits for what may never come."""
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(CurriculumError, match="not a regular file"):
        load(tmp_path / "pipe.toml")


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the system refuses to open is a CurriculumError with the system's words."""
    file = tmp_path / "mine.toml"
    file.write_text(SMALL)

    def refuse(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CurriculumError, match=r"cannot be read: Permission denied \[unreadable\]"):
        load(file)


def test_large_file(tmp_path: Path) -> None:
    """Of a file that is too large only the beginning is read, and the fault says where it gets too large."""
    file = tmp_path / "large.toml"
    file.write_text(SMALL + "# 78901234567890\n" * 10**5)
    with pytest.raises(CurriculumError) as caught:
        load(file)
    (fault,) = caught.value.faults
    assert fault.code == "file-too-large"
    assert fault.place is not None
    assert fault.place.line == 4 + (65536 - len(SMALL)) // 17 + 1


# Texts


@pytest.mark.parametrize("text", [SMALL, SMALL.encode(), SMALL.replace("\n", "\r\n"), "\ufeff" + SMALL, SMALL.rstrip()])
def test_spellings(text: str | bytes) -> None:
    """Text or bytes, Windows' line ends, a byte order mark, no end of line: the same curriculum."""
    assert loads(text) == loads(SMALL)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_places_with_any_line_ends(end: str) -> None:
    """Line and column are the same whatever the line ends, and a byte order mark takes no column."""
    (fault,) = faults("\ufeff" + SMALL.replace("small", "sm all").replace("\n", end))
    assert fault.place == Place("f.toml", 1, 8, 15, 'name = "sm all"')


def test_all_faults_at_once() -> None:
    """Faults of words, of values and of sense are told together, in the order of the file."""
    text = """name = "many"
lr = { peak = 0 }
[knob.cutoff]
ladder = [128, "full"]
[knob.length]
ladder = [1, true]
[[state]]
name = "low"
sett = { cutoff = 128 }
[[state]]
name = "high"
set = { cutoff = 3, length = 1, width = 2 }
[[transition]]
from = "low"
to = "hihg"
guards = ["flat", { min_epoch = "5" }, { dwell = "rest" }]
guard = []
[check]
waive = { ordr = "why" }
"""
    found = [(fault.code, fault.place and fault.place.line) for fault in faults(text)]
    assert found == [
        ("out-of-range", 2),
        ("wrong-type", 6),
        ("unknown-key", 9),
        ("off-ladder", 12),
        ("unknown-knob", 12),
        ("unknown-state", 15),
        ("unknown-guard", 16),
        ("wrong-type", 16),
        ("rest-here", 16),
        ("unknown-key", 17),
        ("unknown-property", 19),
    ]


@pytest.mark.parametrize(
    ("old", "new", "codes"),
    [
        ("cutoff.ladder", '"cut off".ladder', ["bad-name"]),  # and not: the states set a knob that nothing declares
        ('[128, "full"]', '[128, "ful"]', ["unknown-word"]),  # and not: "full" is not on the ladder
        ("ladder", "lader", ["unknown-key"]),  # and not: a knob without values
        ('name = "low"', 'nam = "low"', ["unknown-key"]),  # and not: the name is missing
        ('name = "low", ', "", ["missing-key"]),  # and not: no state "low"
        ('set = { cutoff = "full" }', "set = { cutoff = true }", ["wrong-type"]),  # and not: the knob is not set
        ("lr.peak", "lr.peek", ["unknown-key"]),
        ('name = "small"', "", ["missing-key"]),
        ("lr.peak = 1e-3", "", ["missing-key"]),
        ('"low"', '"low", lr = { shape = "wds", decay = 0.1 }', ["unknown-word"]),  # and not: decay without wsd
    ],
)
def test_no_fault_for_another(old: str, new: str, codes: list[str]) -> None:
    """What is only wrong because something else is wrong is not told."""
    text = SMALL + '[[transition]]\nfrom = "low"\nto = "next"\n'
    assert old in text
    assert [fault.code for fault in faults(text.replace(old, new, 1))] == codes


def test_at_most_twenty() -> None:
    """Of many faults the first twenty are told, and how many more there are."""
    with pytest.raises(CurriculumError, match=r"\n… and 10 more$") as caught:
        loads(SMALL + "".join(f"k{i} = 1\n" for i in range(30)))
    assert [fault.path for fault in caught.value.faults] == [(f"k{i}",) for i in range(20)]


def test_errors_travel() -> None:
    """An error goes through pickle, as it must to come out of another process."""
    with pytest.raises(CurriculumError) as caught:
        loads(SMALL.replace("small", ""))
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own
    assert (type(again), str(again), again.faults) == (CurriculumError, str(caught.value), caught.value.faults)


def test_binding_names_the_place() -> None:
    """What does not fit the trainer is shown where the file says it."""
    curriculum = loads(SMALL, "f.toml")
    with pytest.raises(BindingError) as caught:
        Controller(curriculum, limits={"cutof": 1025}, epochs=1, steps_per_epoch=1)
    (fault,) = caught.value.faults
    assert fault.place is not None
    assert (fault.place.file, fault.place.line) == ("f.toml", 3)


def test_equal_wherever_read_from() -> None:
    """Two curricula that say the same are equal, whatever file they came from."""
    assert loads(SMALL, "one.toml") == loads("# comment\n" + SMALL, "other.toml")


@pytest.mark.parametrize(
    ("line", "place", "found"),
    [
        ("x = ", (5, 5), 'nothing after "="'),
        ("x = plateau", (5, 5), "found plateau"),
        ("x = 50%", (5, 5), "found 50%"),
        ("x: 1", (5, 2), '":" after the key "x"'),
        ("x", (5, 1), '"x" without a value'),
        ("x = [1, 2", (5, 5), "the bracket [ is not closed"),
        ('x = "abc', (5, 5), "the text is not closed"),
        ("name = 'again'", (5, 1), 'the key "name" a second time'),
        ("x = { a = 1, }", (5, 12), 'a comma before "}"'),  # allowed in TOML 1.1 only
    ],
)
def test_no_toml(line: str, place: tuple[int, int], found: str) -> None:
    """A text that is no TOML is shown where the mistake is, in words."""
    (fault,) = faults(SMALL + line + "\n")
    assert fault.place is not None
    assert fault.found.startswith(found), fault
    assert (fault.place.line, fault.place.column) == place


@pytest.mark.source
def test_no_jargon() -> None:
    """No message uses a word of pydantic's, and every code that reading shows is one of ours."""
    assert all("_" not in code for code in codes_of_reading())


# What is shown


def test_caret_under_wide_characters() -> None:
    """The caret stands below its place also after wide characters, combining ones and tabs."""
    place = Place("f", 1, 8, 9, "a漢\tbe\u0301 xy")
    assert place.shown() == "  |\n1 | a漢\tbe\u0301 xy\n  |    \t   ^^"


def test_caret_past_the_end() -> None:
    """What is missing at the end of a line is pointed at there."""
    assert Place("f", 12, 5, 5, "x = ").shown() == "   |\n12 | x = \n   |     ^"


def test_long_lines_are_cut() -> None:
    """Of a long line, what is around the caret is shown."""
    shown = Place("f", 1, 901, 903, "a" * 900 + "bad" + "c" * 90).shown().splitlines()
    assert all(len(line) < 170 for line in shown)
    assert shown[1][shown[2].index("^") :].startswith("bad")


def test_nothing_reaches_the_terminal() -> None:
    """What a terminal would obey is not printed, wherever it stands."""
    fault = Fault("x", (), "found", place=Place("a\x1b[31m.toml", 1, 1, 1, "b\x1b[31m\u202e"))
    assert "\x1b" not in str(fault)
    assert "\u202e" not in str(fault)


WAY = '[[transition]]\nfrom = "low"\nto = "next"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALL + WAY + 'guards = "flat"\n', "expected a list. Put it into brackets: [ … ]."),
        (SMALL + WAY + "guards = { min_epoch = 2 }\n", "expected a list. Put it into brackets: [ { … } ]."),
        (SMALL + WAY + "guards = [[{ min_epoch = 2 }]]\n", "Join several by { any = [ … ] } or { all = [ … ] }."),
        (SMALL + WAY + 'guards = ["plateau"]\n', "Write a table, { plateau = … }."),
        (SMALL + "guard.f.min_step = 1\n" + WAY + "guards = [{ f = 1 }]\n", 'It is a [guard.NAME]: write "f".'),
        (SMALL + WAY + "guards = [{ window = 50 }]\n", "write { plateau = { window = … } }."),
        (SMALL + WAY + 'actions = ["lr_scale"]\n', "This action has an argument: write { lr_scale = … }."),
        (SMALL + WAY + "actions = [{ lr_restart = true }]\n", 'This action has no argument: write "lr_restart".'),
        (SMALL + WAY.replace("[[", "[").replace("]]", "]"), "expected tables with double brackets, [[…]]"),
        (SMALL + WAY.replace("[[", "[").replace("]]", "]") * 2, "Write [[transition]], with double brackets"),
        (SMALL + WAY.replace('"next"', "next"), 'Texts stand in quotation marks: "next".'),
        (SMALL + '[[transition]]\nfrom = "low", "high"\n', "Lists have brackets: [ … ]."),
        (SMALL.replace('[128, "full"]', "[128, full]"), 'Texts stand in quotation marks: "full".'),
        (SMALL.replace("cutoff.ladder", "cutoff"), "Write { ladder = [ … ] }."),
        (SMALL.replace("1e-3", '"1e-3"'), "expected a number above 0. Write it without quotation marks."),
        (SMALL + 'lr.floor = "10%"\n', "expected a number from 0 to 1. Write 0.1."),
        (SMALL + 'lr.length = "10%"\n', 'Did you mean "0.1 run"?'),
        (SMALL + "lr.length = 500\n", 'Say the unit: "500 steps".'),
        (SMALL + 'lr.length = "5 minutes"\n', "Units: steps, epochs, tokens, cost, run."),
        (SMALL + "run.epochs = 5.0\n", "Write 5."),
        (SMALL + "[[run]]\nepochs = 5\n", "A table of which there is one has single brackets, […]."),
        (SMALL + "[lr_schedule]\n", "Known here: check, description, format, guard"),
        (SMALL.replace("lr.peak = 1e-3", "lr = 1e-3"), "expected a table of peak, shape, floor, lowest, length"),
        (SMALL.replace("set = { cutoff = 128 }", "set = 128"), "expected a table, { NAME = … }"),
        (SMALL + "guard.min_epoch = 2\n", "[guard] without a name; expected [guard.NAME]"),
    ],
)
def test_common_mistakes(text: str, message: str) -> None:
    """The slips that people make are answered by what they meant."""
    with pytest.raises(CurriculumError) as caught:
        loads(text, "f.toml")
    assert len(caught.value.faults) == 1
    assert message in str(caught.value)
