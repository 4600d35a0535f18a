"""Errors: what stands where in them, to the letter."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from plateau_rule import CurriculumError, PlateauError, StepError
from plateau_rule.controller.errors import Fault, Key, Place, nearest, spelled, visible

LONG = "".join(chr(ord("a") + i % 26) for i in range(400))


def test_line_with_a_caret() -> None:
    """The line is shown with its number, and a caret under every column of the place."""
    assert Place("f.toml", 7, 2, 4, "abcdef").shown() == "  |\n7 | abcdef\n  |  ^^^"
    assert Place("f.toml", 120, 1, 1, "abcdef").shown() == "    |\n120 | abcdef\n    | ^"


def test_caret_past_the_end_of_a_line() -> None:
    """What is missing at the end of a line, or after it, has a caret where it is missing."""
    assert Place("f", 1, 4, 4, "abc").shown() == "  |\n1 | abc\n  |    ^"
    assert Place("f", 1, 6, 2, "abc").shown() == "  |\n1 | abc\n  |      ^"
    assert Place("f", 1, 1, 1, "").shown() == "  |\n1 | \n  | ^"


def test_widths_of_characters() -> None:
    """Wide characters take two columns, marks on others none, and a tab stays a tab."""
    assert Place("f", 1, 5, 6, "漢e\u0301\t\uff21x").shown() == "  |\n1 | 漢e\u0301\t\uff21x\n  |    \t^^^"
    assert Place("f", 1, 2, 3, "a\u20dd漢").shown() == "  |\n1 | a\u20dd漢\n  |  ^^"


@pytest.mark.parametrize(
    ("column", "end_column", "start", "end", "at", "wide"),
    [
        (201, 203, 147, 307, 54, 3),
        (54, 54, 0, 160, 53, 1),
        (55, 55, 1, 161, 54, 1),
        (5, 6, 0, 160, 4, 2),
        (395, 400, 240, 400, 155, 6),
        (10, 390, 0, 160, 9, 151),
        (293, 293, 239, 399, 54, 1),
        (294, 294, 240, 400, 54, 1),
    ],
)
def test_long_lines(column: int, end_column: int, start: int, end: int, at: int, wide: int) -> None:
    """Of a line of more than 160 characters, 160 around the place are shown, with marks where others are left out."""
    shown = ("…" if start else "") + LONG[start:end] + ("…" if end < 400 else "")
    assert Place("f", 1, column, end_column, LONG).shown() == f"  |\n1 | {shown}\n  | {' ' * at}{'^' * wide}"


def test_lines_that_just_fit() -> None:
    """A line of 160 characters is shown whole, one of 161 is not."""
    assert Place("f", 1, 1, 1, LONG[:160]).shown() == f"  |\n1 | {LONG[:160]}\n  | ^"
    assert Place("f", 1, 1, 1, LONG[:161]).shown() == f"  |\n1 | {LONG[:160]}…\n  | ^"


def test_what_a_terminal_might_obey() -> None:
    """Control characters become marks, in lines and in file names; tabs and marks on letters stay."""
    assert visible("a\x1b[2Jb\tc\u0301\u200b\n") == "a\ufffd[2Jb\tc\u0301\ufffd\ufffd"
    assert str(Place("a\x1bb", 3, 4, 5, "")) == "a\ufffdb:3:4"
    assert Place("f", 1, 1, 1, "\x1bx").shown() == "  |\n1 | \ufffdx\n  | ^"


def test_suggestions() -> None:
    """The word that was probably meant, whatever its case; else the words that there are, the first 20 of them."""
    assert nearest("cutof", ["depth", "cutoff"]) == 'Did you mean "cutoff"?'
    assert nearest("CUTOFF", ["Cutoff"]) == 'Did you mean "Cutoff"?'
    assert nearest("cutoff", ["CUTOFF"]) == 'Did you mean "CUTOFF"?'
    assert nearest("abcxx", ["abcyy", "z"]) == 'Did you mean "abcyy"?'  # six letters of ten alike
    assert nearest("abxxx", ["abyyy", "z"]) == "Known here: abyyy, z."
    assert nearest("q", ["b", "a"]) == "Known here: a, b."
    words = [f"w{i:02d}" for i in range(23)]
    assert nearest("q", words[:20]) == f"Known here: {', '.join(words[:20])}."
    assert nearest("q", words[:21]) == f"Known here: {', '.join(words[:20])} and 1 more."
    assert nearest("q", words) == f"Known here: {', '.join(words[:20])} and 3 more."
    assert nearest("q", []) == ""


def test_faults_are_sentences() -> None:
    """A fault says where, what was found, what was expected and what to do, as far as it knows."""
    assert str(Fault("a-code", (), "found")) == "found [a-code]"
    assert str(Fault("a-code", ("lr", "peak"), "found", "more")) == "lr.peak: found; expected more [a-code]"
    hinted = Fault("a-code", ("lr",), "found", hint="Do it.", word="pea", words=("peak",), where="there")
    assert hinted.suggestion == 'Do it. Did you mean "peak"?'
    assert hinted.sentence == 'found. Do it. Did you mean "peak"?'
    assert str(hinted) == 'there: found. Do it. Did you mean "peak"? [a-code]'
    assert Fault("a-code", (), "found", words=("peak",)).suggestion == ""
    placed = Fault("a-code", ("lr",), "found", place=Place("f", 1, 2, 3, "abc"))
    assert str(placed) == "f:1:2: lr: found [a-code]\n  |\n1 | abc\n  |  ^^"


def test_fields_of_faults() -> None:
    """As JSON, the same; what stands in the file is null where the place is unknown."""
    place = Place("f", 1, 2, 3, "abc")
    fault = Fault("a-code", ("lr", "cycles", 0), "found", "more", "Do it.", place)
    fields = {
        "code": "a-code", "file": "f", "line": 1, "column": 2, "end_column": 3, "text": "abc",
        "path": ["lr", "cycles", 0], "where": "lr.cycles 1", "found": "found", "expected": "more",
        "suggestion": "Do it.",
    }  # fmt: skip
    assert fault.fields() == fields
    nowhere = Fault("a-code", ("lr", "cycles", 0), "found", "more", "Do it.", where="there")
    unknown = dict.fromkeys(("file", "line", "column", "end_column", "text"))
    assert nowhere.fields() == fields | unknown | {"where": "there"}
    assert StepError("a sentence").fields() == {"error": "StepError", "message": "a sentence"}


WRITTEN: dict[str, Any] = {"state": [{"name": "low"}, {"name": "a" * 64}, {"name": "a" * 65}, {"name": 5}, {}]}
WRITTEN["state"].append({"name": "a\nb"})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("knob", "cutoff", "ladder", 2), "knob.cutoff.ladder 3"),
        (("state",), "state"),
        (("state", "low"), "state.low"),
        (("state", 0), 'state "low"'),
        (("state", 0, "set", "cutoff"), 'state "low", set.cutoff'),
        (("state", 1), f'state "{"a" * 64}"'),
        (("state", 2, "set"), "[[state]] 3, set"),
        (("state", 3), "[[state]] 4"),
        (("state", 4), "[[state]] 5"),
        (("state", 5), "[[state]] 6"),
        (("state", 9), "[[state]] 10"),
        (("transition", 1, "guards", 0, "any", 2, "dwell"), "[[transition]] 2, guards 1, any 3, dwell"),
        (("knob", 0), "knob 1"),
        (("a" * 64,), "a" * 64),
        (("a" * 65, "b"), "a" * 60 + "….b"),
        (("a\x1b", "b\x1b"), "a\ufffd.b\ufffd"),
    ],
)
def test_paths_as_people_read_them(path: tuple[Key, ...], text: str) -> None:
    """Indices count from 1, states are named where they have a fit name, and what is long is cut."""
    assert spelled(path, WRITTEN) == text


def test_paths_without_a_file() -> None:
    """Where the file is unknown, states are numbered."""
    assert spelled(("state", 0, "set")) == "[[state]] 1, set"


def test_many_faults() -> None:
    """20 faults are told, one below the other, and the others counted; it goes through pickle, as workers need it."""
    faults = [Fault("a-code", (), f"fault {i}") for i in range(23)]
    error = CurriculumError(faults, more=2)
    assert (error.faults, error.more) == (tuple(faults[:20]), 5)
    assert str(error) == "\n".join([*(f"fault {i} [a-code]" for i in range(20)), "… and 5 more"])
    assert str(CurriculumError(faults[:2])) == "fault 0 [a-code]\nfault 1 [a-code]"
    assert str(CurriculumError(faults[:1], more=1)) == "fault 0 [a-code]\n… and 1 more"
    assert error.fields() == {"error": "CurriculumError", "faults": [f.fields() for f in faults[:20]], "more": 5}
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (type(again), str(again), again.more) == (CurriculumError, str(error), 5)
    assert isinstance(error, PlateauError)
