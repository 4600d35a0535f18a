"""A text is bounded before a parser sees it, with the place of what is too much; and its headers are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import CurriculumError
from plateau_rule.controller.language.scanning import DEEPEST_NESTING, Header, headers, tokens, within_limits


@given(st.text(alphabet="ab\"'#[]{}=,.\n\\ ", max_size=40))
def test_tokens_are_the_text(text: str) -> None:
    """The pieces, put together, are the text, and each stands where it says."""
    found = list(tokens(text))
    assert "".join(token.text for token in found) == text
    lines = text.split("\n")
    for token in found:
        first = token.text.split("\n")[0]
        assert lines[token.line - 1][token.column - 1 :].startswith(first)


def test_places_of_tokens() -> None:
    """Lines and columns count from 1, also behind a text of several lines."""
    found = [(t.kind, t.text, t.line, t.column) for t in tokens('a = """x\ny\nz""" # c\n\n[b]')]
    assert found == [
        ("other", "a ", 1, 1), ("mark", "=", 1, 3), ("other", " ", 1, 4), ("string", '"""x\ny\nz"""', 1, 5),
        ("other", " ", 3, 5), ("comment", "# c", 3, 6), ("newline", "\n", 3, 9), ("newline", "\n", 4, 1),
        ("mark", "[", 5, 1), ("other", "b", 5, 2), ("mark", "]", 5, 3),
    ]  # fmt: skip


def refusal(content: bytes | str) -> list[str]:
    """The lines of the refusal of a text: what is said, and the lines that show where."""
    with pytest.raises(CurriculumError) as caught:
        within_limits(content, "f")
    return str(caught.value).split("\n")


def test_what_may_be_read() -> None:
    """A byte order mark in front is dropped, Windows' line ends become plain ones, and all else stays."""
    assert within_limits("\ufeffa = 1\r\nb = 2\r\n", "f") == "a = 1\nb = 2\n"
    assert within_limits("\ufeffé\r\n".encode(), "f") == "é\n"
    assert within_limits(b"", "f") == ""


@pytest.mark.parametrize("letter", ["a", "é"])
def test_the_largest_file(letter: str) -> None:
    """64 KiB may be read and one byte more may not, whatever the letters; the place is where it is passed."""
    wide = len(letter.encode())
    lines = "".join(f"# {letter * 20}\n" for _ in range(65536 // (3 + 20 * wide)))
    rest = 65536 - len(lines.encode())
    whole = lines + "x" * rest
    assert within_limits(whole, "f") == whole
    assert within_limits(whole.encode(), "f") == whole
    number = lines.count("\n") + 1
    message = "a file of more than 64 KiB; expected 65,536 bytes at most [file-too-large]"
    assert refusal((whole + "y").encode())[0] == f"f:{number}:{rest + 1}: {message}"
    if letter == "a":
        assert refusal(whole + "y")[0] == f"f:{number}:{rest + 1}: {message}"
    cut = (whole[:-1] + "é" + "y" * 9).encode()  # in the middle of a letter
    assert refusal(cut)[0].endswith(message)


def test_the_longest_line() -> None:
    """A thousand characters may stand in a line, and not one more; the place is the first that is too many."""
    assert within_limits("\n" + "é" * 1000, "f") == "\n" + "é" * 1000
    text = "\n" + "é" * 1001
    assert refusal(text)[0] == "f:2:1001: a line of 1001 characters; expected 1,000 at most [line-too-long]"
    with pytest.raises(CurriculumError) as caught:
        within_limits(text, "f")
    place = caught.value.faults[0].place
    assert place is not None
    assert (place.column, place.end_column, place.text) == (1001, 1001, "é" * 1001)


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("\x01", "1:1", "1 | \ufffd"),
        ("a\x01b", "1:2", "1 | a\ufffdb"),
        ("\nab\x01", "2:3", "2 | ab\ufffd"),
        ("a\n\x01b\nc", "2:1", "2 | \ufffdb"),
    ],
)
def test_hidden_characters(text: str, place: str, line: str) -> None:
    """A character that does not show is told by its number, on the first line, on the last, and between."""
    told = f"f:{place}: the character U+0001, which does not show; expected characters that can be seen, blanks"
    assert refusal(text)[0].startswith(told)
    assert refusal(text)[2] == line


@pytest.mark.parametrize(
    ("content", "place", "line"),
    [
        (b"\xff", "1:1", "1 | \ufffd"),
        ("é\nab".encode() + b"\xffc\nd", "2:3", "2 | ab\ufffdc"),
        ("a\né\ud800b", "2:2", "2 | é?b"),
        ("\ud800\n", "1:1", "1 | ?"),
    ],
)
def test_no_utf8(content: bytes | str, place: str, line: str) -> None:
    """Bytes, and halves of characters, that are no UTF-8 are told with their place, counted in characters."""
    byte = ', 0xff, which Windows-1252 has for "\u00ff"' if isinstance(content, bytes) else ""
    assert refusal(content)[0] == f"f:{place}: a byte that is no UTF-8{byte}; expected a text in UTF-8 [not-utf8]"
    assert refusal(content)[2] == line


DEEP = DEEPEST_NESTING


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a = " + "[" * DEEP + "]" * DEEP, None),
        ("a = " + "[" * (DEEP + 1), 5 + DEEP),
        ("a = " + "{ b = " * DEEP, None),
        (".".join("a" * (DEEP + 1)) + " = 1", None),
        (".".join("a" * (DEEP + 2)) + " = 1", 2 * DEEP + 2),
        ("a.b = " + "[" * (DEEP - 1), None),
        ("a.b = " + "[" * DEEP, 6 + DEEP),
        ("a = { b.c = " + "[" * (DEEP - 2), None),
        ("a = { b.c = " + "[" * (DEEP - 1), 12 + DEEP - 1),
        # What is closed, and what stands behind a comma or on another line, counts no more.
        ("a = [" + "[], " * 2 * DEEP + "]", None),
        ("a = [" + "[1.5], " * 2 * DEEP + "]", None),
        ("a = [" + "1.5, " * 2 * DEEP + "]", None),
        ("a = 1.5\n" * 2 * DEEP, None),
        ("a = [" + "{ b.c.d = 1 }, " * DEEP + "]", None),
        ("]" * 9 + "[" * (DEEP + 1), 9 + DEEP + 1),
        ('a = "' + "[" * 2 * DEEP + '" # ' + "[" * 2 * DEEP, None),
        ("a = " + ", ".join([".".join("1" * (DEEP + 1))] * 2), None),
    ],
)
def test_nesting(text: str, column: int | None) -> None:
    """Brackets and dots lie 32 deep at most, one in the other; the place is the first that is too deep."""
    if column is None:
        assert within_limits(text, "f") == text
    else:
        message = "brackets and dots nested more than 32 deep; expected less [nested-too-deep]"
        assert refusal("\n" + text)[0] == f"f:2:{column}: {message}"


def test_headers() -> None:
    """Headers are those brackets that begin a line outside of a value; those of lists are counted."""
    text = """\
  [a] # [no]
x = [
  [1, 2], [ "]" ],
  { y = "[" },
]
[ a . "b.c" ]
	[[s]]
z = { w = [1] } [no]
[s.t]
[[s]]
[[s.u]]
[[s.u]]
[s.u.v]
"""
    assert headers(text) == [
        Header(("a",), 1, 3, 5),
        Header(("a", "b.c"), 6, 1, 13),
        Header(("s", 0), 7, 2, 6),
        Header(("s", 0, "t"), 9, 1, 5),
        Header(("s", 1), 10, 1, 5),
        Header(("s", 1, "u", 0), 11, 1, 7),
        Header(("s", 1, "u", 1), 12, 1, 7),
        Header(("s", 1, "u", 1, "v"), 13, 1, 7),
    ]
