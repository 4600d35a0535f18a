"""What is known of a curriculum's text: what is wrong with it, and when its states are entered."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from plateau_rule.commands.annotations import Annotation, of_error, of_report
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.drawing import facts
from plateau_rule.controller.errors import BindingWarning, CurriculumError, Fault, closest
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.language.writing import spell_value
from plateau_rule.controller.verifier.findings import Entry, Finding, Mend, Report
from plateau_rule.controller.verifier.verify import verify


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text, and its curriculum or what keeps it from being one."""

    text: str
    file: str
    curriculum: Curriculum | None = None
    error: CurriculumError | None = None

    def annotations(self) -> list[Annotation]:
        """What is wrong, each with its place."""
        return [] if self.error is None else [*of_error(self.error, self.file)]


@dataclass(frozen=True, slots=True)
class VerifiedText:
    """A sound text with all that `plateau check` says of it."""

    text: str
    file: str
    report: Report

    def annotations(self) -> list[Annotation]:
        """The findings, each with its place."""
        return [*of_report(self.report, self.file)]

    def entries(self) -> Iterator[tuple[int, str]]:
        """When each state but the first can be entered: its line, from 0, and the time in words."""
        curriculum = self.report.machine.curriculum
        places = Places(self.text, self.file)
        number = {state.name: place for place, state in enumerate(curriculum.state)}
        for entry in self.report.entries:
            if place := number.get(entry.state, 0):
                yield places.of(("state", place, "name")).line - 1, entry_in_words(entry)

    def about_state(self, name: str) -> list[str]:
        """What a state sets and when it can be entered, or nothing where there is no such state."""
        curriculum = self.report.machine.curriculum
        state = next((one for one in curriculum.state if one.name == name), None)
        entry = next((one for one in self.report.entries if one.state == name), None)
        return [] if state is None else [*facts(curriculum, state), *([entry_in_words(entry)] if entry else [])]

    def mends(self, finding: Finding, binding: Binding) -> list[Fix]:
        """The smallest edits of one number that mend a finding, the smallest first; each is tried, which takes seconds.

        Args:
            finding: one of the report's errors.
            binding: what the curriculum is bound to.
        """
        from plateau_rule.controller.edit.mending import mends

        places = Places(self.text, self.file)
        fixes = (_mend(mend, places) for mend in mends(self.report, finding, binding))
        return [fix for fix in fixes if fix is not None]


@dataclass(frozen=True, slots=True)
class Fix:
    """A piece of a line that may be replaced; the line and columns count from 0, the end is exclusive."""

    title: str
    line: int
    start: int
    end: int
    text: str


def read_text(text: str, file: str) -> ReadText:
    """Read a text as a curriculum.

    Args:
        text: what the editor holds.
        file: its name, for the places of faults.
    """
    try:
        return ReadText(text, file, curriculum=loads(text, file))
    except CurriculumError as error:
        return ReadText(text, file, error=error)


class OutdatedText(Exception):
    """Nobody waits for the verification of this text any more."""


def verify_text(
    read: ReadText, binding: Binding, budget: int, is_outdated: Callable[[], bool] = lambda: False
) -> ReadText | VerifiedText:
    """Verify a curriculum as `plateau check` does; a text that is none, or does not fit the binding, stays read.

    Args:
        read: the text.
        binding: what the curriculum is bound to.
        budget: how many configurations are tried.
        is_outdated: asked now and then.

    Raises:
        OutdatedText: it was outdated.
    """

    def tick(share: float) -> None:
        if is_outdated():
            raise OutdatedText

    if read.curriculum is None:
        return read
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BindingWarning)  # the report says it
            report = verify(bind(read.curriculum, binding), budget=budget, tick=tick)
    except CurriculumError as error:
        return replace(read, curriculum=None, error=error)
    places = Places(read.text, read.file)
    placed = tuple(replace(one, place=places.of(one.path, one.at_key)) for one in report.findings)
    return VerifiedText(read.text, read.file, replace(report, findings=placed))


def entry_in_words(entry: Entry) -> str:
    """When a state can be entered, as a short phrase."""
    if entry.earliest is None:
        return "never entered"
    perhaps = "" if entry.certain else ", if at all"
    if entry.latest is None:
        return f"entered at step {entry.earliest:,} or later{perhaps}"
    until = "" if entry.latest == entry.earliest else f" to {entry.latest:,}"
    return f"entered at step {entry.earliest:,}{until}{perhaps}"


def fixes_of(error: CurriculumError) -> Iterator[Fix]:
    """Words that were probably meant, in the places of those that were written."""
    for fault in error.faults:
        if (fix := _fix(fault)) is not None:
            yield fix


def _fix(fault: Fault) -> Fix | None:
    word, place = closest(fault.word, fault.words) if fault.word else None, fault.place
    if place is None or word is None:
        return None
    start, end = place.column - 1, place.end_column
    written = place.text[start:end]
    if written[:1] in ('"', "'"):
        start, end, written = start + 1, end - 1, written[1:-1]
    if written != fault.word:  # the place holds more than the word: nobody knows what else would change
        return None
    return Fix(f'Write "{word}"', place.line - 1, start, end, word)


def _mend(mend: Mend, places: Places) -> Fix | None:
    """An edit of one number in the text; None where the number stands nowhere in it by itself."""
    title, new = f"Write {mend}", spell_value(mend.new, mend.path)
    if mend.old is None:  # a key that the file does not say goes behind the first of its table
        beside = places.of((*mend.path[:-1], "peak"))
        before, end = beside.text[: beside.column - 1], beside.end_column
        if own := re.fullmatch(r"(\s*(?:[\w-]+\.)*)peak\s*=\s*", before):
            text = f"\n{own[1]}{mend.path[-1]} = {new}"
            return Fix(title, beside.line - 1, len(beside.text), len(beside.text), text)
        return Fix(title, beside.line - 1, end, end, f", {mend.path[-1]} = {new}")
    place = places.of(mend.path)
    start, end = place.column - 1, place.end_column
    if place.text[start:end] != places.raw(mend.path):
        return None
    return Fix(title, place.line - 1, start, end, new)
