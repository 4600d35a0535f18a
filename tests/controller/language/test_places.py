"""Every key and value is found where it stands, however its table was written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.errors import Key
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.language.scanning import headers

TABLES = """\
plain = 1
dotted.inner.leaf = "two"
text = '''
[lr]
[[state]]
''' # [run]
inline = { one = 1, two = { three = [1, { four = "漢" }, 5] } }  # 漢

[ spaced . "quoted name" ] # comment
key = true
[lr]
[[state]]
name = "first"
[state.set]
cutoff = 128
[[state]]
name = "second"
[[state.more]]
x = 1
[[state.more]]
x = 2
[list.of]
many = [
  [1, 2],
  "é", 3,
]
"""


def shown(path: tuple[Key, ...], at_key: bool = False) -> tuple[int, str]:
    """The line of a path, and the text that its caret points at."""
    place = Places(TABLES, "f").of(path, at_key)
    assert place.text == TABLES.split("\n")[place.line - 1]
    return place.line, place.text[place.column - 1 : place.end_column]


@pytest.mark.parametrize(
    ("path", "line", "value", "key"),
    [
        (("plain",), 1, "1", "plain"),
        (("dotted", "inner", "leaf"), 2, '"two"', "leaf"),
        (("dotted", "inner"), 2, "leaf", "leaf"),
        (("dotted",), 2, "leaf", "leaf"),
        (("text",), 3, "'''", "text"),
        (("inline", "two", "three", 0), 7, "1", "1"),
        (("inline", "two", "three", 1, "four"), 7, '"漢"', "four"),
        (("inline", "two", "three", 2), 7, "5", "5"),
        (("spaced", "quoted name"), 9, '[ spaced . "quoted name" ]', '[ spaced . "quoted name" ]'),
        (("spaced", "quoted name", "key"), 10, "true", "key"),
        (("lr",), 11, "[lr]", "[lr]"),
        (("lr", "peak"), 11, "[lr]", "[lr]"),
        (("state", 0), 12, "[[state]]", "[[state]]"),
        (("state", 0, "name"), 13, '"first"', "name"),
        (("state", 0, "set"), 14, "[state.set]", "[state.set]"),
        (("state", 0, "set", "cutoff"), 15, "128", "cutoff"),
        (("state", 0, "set", "other"), 14, "[state.set]", "[state.set]"),
        (("state", 0, "lr", "floor"), 12, "[[state]]", "[[state]]"),
        (("state", 1, "name"), 17, '"second"', "name"),
        (("state", 1, "more", 1, "x"), 21, "2", "x"),
        (("state", 1, "more", 0), 18, "[[state.more]]", "[[state.more]]"),
        (("list", "of", "many", 0, 1), 24, "2", "2"),
        (("list", "of", "many", 1), 25, '"é"', '"é"'),
        (("list", "of", "many", 2), 25, "3", "3"),
        (("list", "of", "many"), 23, "[", "many"),
        (("nowhere", "at", "all"), 1, "p", "p"),
        ((), 1, "plain", "plain"),
    ],
)
def test_place(path: tuple[Key, ...], line: int, value: str, key: str) -> None:
    """The caret stands under the value, or under the key; what is not written is shown at what is around it."""
    assert shown(path) == (line, value)
    assert shown(path, at_key=True) == (line, key)


def leaves(node: Any, path: tuple[Key, ...] = ()) -> dict[tuple[Key, ...], Any]:
    """The plain values in a parsed text, by their paths."""
    if not isinstance(node, dict | list):
        return {path: node}
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    return {where: leaf for key, value in inner for where, leaf in leaves(value, (*path, key)).items()}


@pytest.mark.parametrize("name", shipped())
def test_shipped_files(name: str) -> None:
    """In every shipped file, the text at a value's place is that value."""
    text = shipped()[name].read_text(encoding="utf-8")
    places = Places(text, name)
    for path, leaf in leaves(tomllib.loads(text)).items():
        place = places.of(path)
        written = place.text[place.column - 1 : place.end_column]
        assert tomllib.loads(f"x = {written}")["x"] == leaf
        assert places.raw(path) == written


words = st.text("abé漢 ", min_size=1, max_size=6)
values = st.one_of(st.integers(-99, 99), st.booleans(), words)


@given(st.lists(st.tuples(words, values, st.booleans()), unique_by=lambda pair: pair[0], max_size=6))
def test_any_letters(pairs: list[tuple[str, Any, bool]]) -> None:
    """Columns count characters, whatever bytes they take, also behind wide ones on the same line."""

    def spelled(value: Any) -> str:
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    text = "table = { " + ", ".join(f'"{key}" = {spelled(value)}' for key, value, _ in pairs) + " }\n"
    places = Places(text, "f")
    for key, value, at_key in pairs:
        place = places.of(("table", key), at_key)
        assert place.text[place.column - 1 : place.end_column] == (f'"{key}"' if at_key else spelled(value))


def test_headers() -> None:
    """Headers are found where they are headers, and nowhere in texts, comments and lists."""
    found = [(header.path, header.line) for header in headers(TABLES)]
    assert found == [
        (("spaced", "quoted name"), 9),
        (("lr",), 11),
        (("state", 0), 12),
        (("state", 0, "set"), 14),
        (("state", 1), 16),
        (("state", 1, "more", 0), 18),
        (("state", 1, "more", 1), 20),
        (("list", "of"), 22),
    ]


def test_only_one_parser_takes_it() -> None:
    """A text that the library of positions does not take still gets a place, if only the beginning."""
    assert Places("x = {\n}\n", "f").of(("x",)).line == 1
