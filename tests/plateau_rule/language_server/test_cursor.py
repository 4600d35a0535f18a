"""What stands at the cursor of a text that may be half-written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.errors import Key
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import shipped
from plateau_rule.language_server.cursor import CursorPlace, cursor_at

SHIPPED = {name: path.read_text(encoding="utf-8") for name, path in shipped().items()}
BEFORE = '[[state]]\nname = "one"\n[[state]]\nname = "two"\n'


def at_mark(text: str) -> CursorPlace:
    """The cursor at the `|` of a text."""
    line, column = next((n, row.index("|")) for n, row in enumerate(text.split("\n")) if "|" in row)
    return cursor_at(text.replace("|", ""), line, column)


@pytest.mark.parametrize(
    ("text", "path", "at_value", "word"),
    [
        ("|", (), False, ""),
        ("na|", (), False, "na"),
        ("[lr]\npeak = 1\nsh|", ("lr",), False, "sh"),
        ("[lr]\nshape = |", ("lr", "shape"), True, ""),
        ('[lr]\nshape = "co|', ("lr", "shape"), True, "co"),
        ("[lr]\nshape = 'co|", ("lr", "shape"), True, "co"),
        ("[knob.cutoff]\nladder = [1, 2, |]", ("knob", "cutoff", "ladder", 2), True, ""),
        (BEFORE + "lr = { pe|", ("state", 1, "lr"), False, "pe"),
        (BEFORE + "lr = { peak = 1, fl| }", ("state", 1, "lr"), False, "fl"),
        (BEFORE + "lr.fl|", ("state", 1, "lr"), False, "fl"),
        (BEFORE + "[state.set]\ncu|", ("state", 1, "set"), False, "cu"),
        ("[[transition]]\nguards = [\n  { plateau = { win|", ("transition", 0, "guards", 0, "plateau"), False, "win"),
        ("[[transition]]\nguards = [\n  { dwell = \"3 epochs\" },\n  {|", ("transition", 0, "guards", 1), False, ""),
        ("[[transition]]\nguards = [\n  \"ready\",\n  \"ot|", ("transition", 0, "guards", 1), True, "ot"),
        ("[tra|", (), False, "tra"),
        ("[state.l|]", ("state",), False, "l"),
        (BEFORE + "[state.l|]", ("state", 1), False, "l"),
        ("# a comment\n[lr] # the rate\nfl|", ("lr",), False, "fl"),
    ],
)  # fmt: skip
def test_place(text: str, path: tuple[Key, ...], at_value: bool, word: str) -> None:
    """The path, the word, and whether a value is asked for are right in texts that end anywhere."""
    found = at_mark(text)
    assert (found.path, found.at_value, found.word) == (path, at_value, word)


def test_what_was_left_open_ends_at_the_next_key() -> None:
    """A list or a table that was never closed does not swallow the keys and headers below it."""
    for opened in ("guards = [", 'guards = [{ dwell = "3', "lr = {", 'set = { a = "'):
        assert at_mark(f"[[transition]]\n{opened}\nto = |").path == ("transition", 0, "to")
        assert at_mark(f"[[transition]]\n{opened}\n[lr]\npe|").path == ("lr",)


def _leaves(value: Any, path: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, number))
    else:
        yield path


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_of_a_shipped_file(name: str) -> None:
    """At every value of every shipped file, the cursor has the path that the parser gives it."""
    text = SHIPPED[name]
    places = Places(text, name)
    for path in _leaves(tomllib.loads(text)):
        place = places.of(path)
        column = place.column if place.text[place.column - 1] in "\"'" else place.column - 1
        found = cursor_at(text, place.line - 1, column)
        assert (found.path, found.at_value) == (path, True), path


@given(st.data())
def test_any_cut_of_a_file(data: st.DataObject) -> None:
    """A file that is cut anywhere, or has a piece cut out, has a cursor at every place: never an error."""
    text = SHIPPED[data.draw(st.sampled_from(sorted(SHIPPED)))]
    first = data.draw(st.integers(0, len(text)))
    last = data.draw(st.integers(first, min(len(text), first + 40)))
    cut = text[:first] + data.draw(st.text("[]{}\"'=,.#\n a", max_size=4)) + text[last:]
    line = data.draw(st.integers(0, cut.count("\n")))
    column = data.draw(st.integers(0, len(cut.split("\n")[line])))
    found = cursor_at(cut, line, column)
    assert 0 <= found.start <= found.end <= len(cut.split("\n")[line])
