"""What `check` found, as a card: what is broken, on the machine too, what is open, and how much is proved."""

from __future__ import annotations

from typing import NamedTuple

from plateau_rule.controller.clamping import as_bound
from plateau_rule.controller.notebook.card import Markup, card, element, joined, table
from plateau_rule.controller.notebook.machine import drawn
from plateau_rule.controller.verifier.findings import Counterexample, Entry, Finding, Report

KINDS = {"error": "broken", "undecided": "open", "warning": "open", "note": "note"}
SIGNS = {
    "broken": ("✕", "broken", "broken"),
    "open": ("?", "open", "open"),
    "proved": ("✓", "holds", "ok"),
    "note": ("·", "note", "open"),
}


class CheckedLine(NamedTuple):
    """A line about a report.

    Attributes:
        kind: a key of SIGNS.
        text: in words.
        finding: what it tells of; None of the line that counts what is proved.
    """

    kind: str
    text: str
    finding: Finding | None


def lines_of(report: Report) -> list[CheckedLine]:
    """A report as short lines: what is broken, how much is proved, what is open."""
    told = [CheckedLine(KINDS[one.severity], one.sentence, one) for one in report.findings if one.severity in KINDS]
    proved = sum(verdict.answer == "proved" for verdict in report.verdicts)
    count = CheckedLine("proved", f"{proved} propert{'y' if proved == 1 else 'ies'} proved", None)
    return [*(one for one in told if one.kind == "broken"), count, *(one for one in told if one.kind != "broken")]


def card_of(report: Report) -> str:
    """A report as a card; the machine is lit along the first run in which something shows itself."""
    lines = lines_of(report)
    shown = (_shown(report, one.kind, one.finding.counterexample) for one in lines if one.finding)
    entries = [(entry.state, *_timing(entry)) for entry in report.entries]
    return card(
        element("h3", None, f"{report.machine.curriculum.name}, checked for every loss"),
        element("ul", None, *map(_line, lines)),
        next((one for one in shown if one is not None), None),
        table(("state", "entered at the earliest", "at the latest"), entries) if entries else None,
    )


def _shown(report: Report, kind: str, example: Counterexample | None) -> Markup | None:
    """The run in which a finding shows itself, on the machine."""
    if example is None or not example.visits:
        return None
    glyph, _, style = SIGNS[kind]
    said = element("p", {"class": style}, f"{glyph} at step {example.step:,}: {example.shows}")
    return joined([said, drawn(as_bound(report.machine), [(one.state.name, one.entered) for one in example.visits])])


def _timing(entry: Entry) -> tuple[str, str]:
    if entry.earliest is None:
        return "never", "never"
    latest = "no bound" if entry.latest is None else f"step {entry.latest:,}"
    return f"step {entry.earliest:,}", latest if entry.certain else f"{latest}, or never"


def _line(line: CheckedLine) -> Markup:
    glyph, words, style = SIGNS[line.kind]
    sign = element("span", {"class": style, "role": "img", "aria-label": words}, glyph)
    advice = line.finding.suggestion if line.finding and line.kind != "note" else ""
    more = element("span", {"class": "soft"}, f" {advice}") if advice else None
    return element("li", None, joined([sign, f" {line.text}.", more]))
