"""What an edit means: what can happen before and after it, as data and in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from plateau_rule.controller.edit.meaning import Edit, edits
from plateau_rule.controller.edit.resuming import Resumption, resumptions
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.findings import Entry, RaiseRates, Report, Verdict, percent
from plateau_rule.controller.verifier.verify import verify

WIDEST_LINE = 80


@dataclass(frozen=True)
class Difference:
    """What an edit changes.

    Attributes:
        old, new: what `verify` says of each.
        edited: what the files say differently.
        entered: when states are entered.
        rates: the rates around raises, as shares of the peak.
        verdicts: what is known about each property.
        resumed: what becomes of a run that stands in a state of the old file.
    """

    old: Report
    new: Report
    edited: tuple[Edit, ...]
    entered: tuple[Edit, ...]
    rates: tuple[Edit, ...]
    verdicts: tuple[Edit, ...]
    resumed: tuple[Resumption, ...]

    @property
    def same(self) -> bool:
        """Whether nothing is different."""
        return not (self.edited or self.entered or self.rates or self.verdicts)


def difference(old: Machine, new: Machine, *, budget: float) -> Difference:
    """Compare two bound curricula.

    Args:
        old: as it was.
        new: as it is.
        budget: configurations that may be tried of each; see `verify`.
    """
    before, after = verify(old, budget=budget), verify(new, budget=budget)
    return Difference(
        before,
        after,
        tuple(edits(old, new)),
        tuple(_changes(_entries(before), _entries(after))),
        tuple(_changes(_rates(before), _rates(after))),
        tuple(_changes(_answers(before), _answers(after))),
        tuple(resumptions(before, new)),
    )


def _changes(old: dict[str, str], new: dict[str, str]) -> Iterator[Edit]:
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Edit(name, old.get(name), new.get(name))


def _entries(report: Report) -> dict[str, str]:
    return {entry.state: _entry(entry) for entry in report.entries}


def _entry(entry: Entry) -> str:
    if entry.earliest is None:
        return "never"
    if entry.earliest == entry.latest:
        when = f"step {entry.earliest}"
    else:
        when = f"step {entry.earliest} " + ("or later" if entry.latest is None else f"to {entry.latest}")
    return when + ("" if entry.certain else ", or never")


def _rates(report: Report) -> dict[str, str]:
    return {f"{one.transition.source} -> {one.transition.target}": _rate(one) for one in report.raises}


def _rate(one: RaiseRates) -> str:
    knobs = ", ".join(f"{name} {old} to {new}" for name, (old, new) in one.knobs.items())
    low, high = map(percent, one.after)
    return f"{knobs}, rate at {low if low == high else f'{low} to {high}'} of the peak"


def _answers(report: Report) -> dict[str, str]:
    return {verdict.property: _answer(verdict) for verdict in report.verdicts}


def _answer(verdict: Verdict) -> str:
    return verdict.answer + ("" if verdict.stands else ", waived")


# In words


def in_words(found: Difference, old: str, new: str) -> Iterator[str]:
    """The difference, line by line, at most 80 columns wide where no name is wider.

    Args:
        found: the difference.
        old: the name of the old file.
        new: the name of the new one.
    """
    yield from wrapped(f"{old} -> {new}", 0)
    if found.same:
        yield "nothing changed: both mean the same, and are bound alike"
        return
    yield from section("edited", found.edited, "not said")
    yield from section("entered", found.entered, "no such state")
    yield from section("raises", found.rates, "no raise")
    yield from _verdicts(found)
    yield from _resumed(found)


def section(title: str, changes: tuple[Edit, ...], missing: str) -> Iterator[str]:
    """What changed, a line each; nothing where nothing did.

    Args:
        title: the line above them.
        changes: what changed.
        missing: how what is not there is spelled.
    """
    if changes:
        yield title
    for change in changes:
        old, new = (missing if value is None else value for value in (change.old, change.new))
        if "there" in (old, new):
            yield from wrapped(f"{change.what} is {'new' if new == 'there' else 'gone'}")
        else:
            yield from wrapped(f"{change.what}: {old} -> {new}")


def _verdicts(found: Difference) -> Iterator[str]:
    if found.verdicts:
        yield "verdicts"
    for change in found.verdicts:
        verdict = found.new.verdict(change.what)
        why = f": {verdict.why}" if verdict.why and verdict.answer in ("broken", "not decided", "conditional") else ""
        yield from wrapped(f"{change.what}: {change.old} -> {change.new}{why}")


def _resumed(found: Difference) -> Iterator[str]:
    said: dict[str, list[str]] = {}
    for one in found.resumed:
        said.setdefault(outcome(one), []).append(one.state)
    yield "a run that stands in"
    for told, states in said.items():
        yield from wrapped(f"{', '.join(states)}: {told}")


def outcome(one: Resumption) -> str:
    """What becomes of a run, in words."""
    if one.goes_on:
        knobs = ", ".join(f"{name} {old} -> {new}" for name, old, new in one.knobs)
        accepted = ', if the edit is accepted (on_change = "accept")' if one.accept else ""
        return "goes on" + (f" with {knobs}" if knobs else "") + accepted
    adopted = f'; by its knobs, adopt would enter "{one.adopted}"' if one.adopted else ""
    return f"is refused: {one.why.rstrip('.')}{adopted}"


def wrapped(text: str, indent: int = 2) -> list[str]:
    """A line that is broken where it would be too long."""
    return textwrap.wrap(
        text, WIDEST_LINE, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


# As data


def as_dict(found: Difference, old: str, new: str) -> dict[str, Any]:
    """The difference as JSON-able data."""
    return {
        "old": _side(found.old, old),
        "new": _side(found.new, new),
        "same": found.same,
        "edited": [change._asdict() for change in found.edited],
        "entries": [
            {"state": change.what, "old": _entry_of(found.old, change.what), "new": _entry_of(found.new, change.what)}
            for change in found.entered
        ],
        "raises": [change._asdict() for change in found.rates],
        "verdicts": [
            {"property": c.what, "old": c.old, "new": c.new, "why": found.new.verdict(c.what).why}
            for c in found.verdicts
        ],
        "resumed": [
            {**one._asdict(), "knobs": {name: [was, now] for name, was, now in one.knobs}} for one in found.resumed
        ],
    }


def _side(report: Report, file: str) -> dict[str, Any]:
    machine = report.machine
    return {
        "file": file,
        "curriculum": machine.curriculum.name,
        "fingerprint": machine.fingerprint,
        "total_steps": machine.total_steps,
        "broken": report.broken,
    }


def _entry_of(report: Report, state: str) -> dict[str, Any] | None:
    return next((entry._asdict() for entry in report.entries if entry.state == state), None)
