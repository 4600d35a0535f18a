"""What may stand at the cursor."""

from __future__ import annotations

import pytest

from plateau_rule.controller.errors import CurriculumError
from plateau_rule.controller.guards import WORDS
from plateau_rule.controller.language.curriculum import Curriculum, Rate
from plateau_rule.controller.language.reading import loads, shipped
from plateau_rule.controller.language.vocabulary import keys_of
from plateau_rule.language_server.completion import about_key, completions, names_in
from plateau_rule.language_server.cursor import cursor_at

HEAD = """name = "mine"
[lr]
peak = 1e-3
[knob.length]
ladder = [128, 256]
[guard.ready]
min_epoch = 2
[[state]]
name = "short"
set = { length = 128 }
[[state]]
name = "long"
set = { length = 256 }
"""


def offered(text: str) -> list[str]:
    """What is offered at the `|` behind HEAD, as it would be written."""
    whole = HEAD + text
    line, column = next((n, row.index("|")) for n, row in enumerate(whole.split("\n")) if "|" in row)
    clean = whole.replace("|", "")
    return [one.text for one in completions(clean, cursor_at(clean, line, column))]


def test_keys() -> None:
    """In a table, its keys are offered: all of them, and no others."""
    clean = "[lr]\n"
    keys = [one.label for one in completions(clean, cursor_at(clean, 1, 0))]
    assert keys == list(keys_of(Rate))


def test_headers_are_tables() -> None:
    """Between brackets, tables are offered and plain keys are not."""
    assert "transition" in offered("[[|")
    assert "name" not in offered("[[|")


@pytest.mark.parametrize(
    ("text", "some"),
    [
        ("[[transition]]\nfrom = |", ['"short"', '"long"', '"*"']),
        ('[[transition]]\nto = "|', ["short", "long", "next"]),
        ("[[transition]]\nat = |", ['"step"', '"epoch"', '"eval"']),
        ("[[transition]]\nregress = |", ["true", "false"]),
        ("[[transition]]\nguards = [|", ['"ready"', "{ plateau = "]),
        ("[[transition]]\nguards = [{|", [f"{word} = " for word in WORDS]),
        ("[[transition]]\nguards = [{ dwell = |", ['"1 epoch"']),
        ("[[transition]]\nguards = [{ ramp_done = |", ['"length"']),
        ("[[transition]]\nguards = [{ plateau = { method = |", ['"trend"']),
        ("[[transition]]\nactions = [|", ['"lr_restart"', "{ lr_scale = "]),
        ("[[state]]\nset = { |", ["length = "]),
        ("[check.waive]\n|", ["aligned = "]),
    ],
)
def test_values_and_names(text: str, some: list[str]) -> None:
    """Values and the file's own names are offered where they belong."""
    assert set(some) <= set(offered(text))


def test_names_of_a_text_that_does_not_parse() -> None:
    """States and tables are known even while the text has an open brace."""
    names = names_in(HEAD + "[[transition]]\nguards = [{")
    assert names.states == ("short", "long")
    assert names.tables == {"knob": ("length",), "guard": ("ready",)}


def codes_of(text: str) -> set[str]:
    """The codes of a text's faults."""
    try:
        loads(text)
    except CurriculumError as error:
        return {fault.code for fault in error.faults}
    return set()


def test_offered_keys_are_known() -> None:
    """No key that is offered for a table is refused there as unknown."""
    for line, row in enumerate(text := shipped()["plateau"].read_text(encoding="utf-8").split("\n")):
        if row.startswith("["):
            joined = "\n".join(text)
            for one in completions(joined, cursor_at(joined, line + 1, 0)):
                changed = "\n".join([*text[: line + 1], f"{one.text}0", *text[line + 1 :]])
                assert "unknown-key" not in codes_of(changed), one


def test_every_key_of_the_first_level_has_words() -> None:
    """Each key of a file says what it means."""
    assert all(about_key((key,)) for key in keys_of(Curriculum))
