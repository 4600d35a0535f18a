"""What is known of a curriculum's text."""

from __future__ import annotations

import pytest

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.language.reading import loads, shipped
from plateau_rule.controller.verifier.findings import Entry
from plateau_rule.language_server.document import (
    Fix,
    OutdatedText,
    ReadText,
    VerifiedText,
    entry_in_words,
    fixes_of,
    read_text,
    verify_text,
)

PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")


def mended(text: str, fixes: list[Fix]) -> str:
    """The text with every fix applied."""
    lines = text.split("\n")
    for fix in sorted(fixes, key=lambda one: (one.line, one.start), reverse=True):
        row = lines[fix.line]
        lines[fix.line] = row[: fix.start] + fix.text + row[fix.end :]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("right", "wrong"), [("shape ", "shap "), ('"next"', '"nxt"'), ("plateau =", "platau ="), ('"cosine"', '"cosin"')]
)
def test_near_misses_are_mended(right: str, wrong: str) -> None:
    """A misspelt key or word has a fix, and the fix gives the text that was meant."""
    assert right in PLATEAU
    broken = PLATEAU.replace(right, wrong, 1)
    error = read_text(broken, "mine").error
    assert error is not None
    assert loads(mended(broken, [*fixes_of(error)])) == loads(PLATEAU)


def test_a_word_that_is_like_none_has_no_fix() -> None:
    """Nothing is offered where nobody can know what was meant."""
    error = read_text(PLATEAU.replace('"cosine"', '"zzz"'), "mine").error
    assert error is not None
    assert [*fixes_of(error)] == []


def test_findings_and_entries() -> None:
    """A sound text has what `check` says, and the time of entry beside each state but the first."""
    verified = verify_text(read_text(PLATEAU, "mine"), Binding(), 6000)
    assert isinstance(verified, VerifiedText)
    assert [one.code for one in verified.annotations()] == ["may-stay"]
    entries = [*verified.entries()]
    lines = PLATEAU.split("\n")
    assert [lines[line].split('"')[1] for line, _ in entries] == [s.name for s in loads(PLATEAU).state[1:]]
    assert all(words.startswith("entered at step") for _, words in entries)
    assert entries[0][1] in verified.about_state(loads(PLATEAU).state[1].name)


def test_a_file_that_does_not_fit_the_run() -> None:
    """Faults of the binding are shown at their place, as faults of the text are."""
    read = verify_text(read_text(PLATEAU, "mine"), Binding({"no-such-knob": 4}), 100)
    assert isinstance(read, ReadText)
    assert len(read.annotations()) == 1


def test_nobody_waits_any_more() -> None:
    """The verification of a text that was typed over ends early."""
    slow = shipped()["two-knobs-with-retreat"].read_text(encoding="utf-8")
    with pytest.raises(OutdatedText):
        verify_text(read_text(slow, "mine"), Binding(), 20000, lambda: True)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Entry("a", None, None, False), "never entered"),
        (Entry("a", 320, 320, True), "entered at step 320"),
        (Entry("a", 320, 5000, True), "entered at step 320 to 5,000"),
        (Entry("a", 320, 5000, False), "entered at step 320 to 5,000, if at all"),
        (Entry("a", 320, None, False), "entered at step 320 or later, if at all"),
    ],
)
def test_entry_in_words(entry: Entry, words: str) -> None:
    """A state's entry is a phrase that fits beside its name."""
    assert entry_in_words(entry) == words
