"""What `plateau check` finds, as annotations of lines: GitHub's workflow commands, and SARIF 2.1.0 for other tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from plateau_rule.controller.errors import CurriculumError, Place, spelled, visible
from plateau_rule.controller.language.codes import CODES
from plateau_rule.controller.verifier.findings import Report, Severity

Level = Literal["error", "warning", "notice"]
LEVELS: dict[Severity, Level] = {"error": "error", "undecided": "warning", "warning": "warning", "note": "notice"}
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Annotation(NamedTuple):
    """A sentence about a piece of a line; lines and columns count from 1, the end is inclusive."""

    file: str
    line: int
    column: int
    end_column: int
    text: str
    level: Level
    code: str
    message: str


def of_error(error: CurriculumError, file: str) -> Iterator[Annotation]:
    """The faults of a file that is no curriculum, or does not fit the run that it is bound to."""
    for fault in error.faults:
        where = fault.where or spelled(fault.path)
        message = f"{where}: {fault.sentence}" if where else fault.sentence
        yield Annotation(*_place(fault.place, file), "error", fault.code, message)


def of_report(report: Report, file: str) -> Iterator[Annotation]:
    """The findings of a report; what the file waives is none."""
    for finding in report.findings:
        if finding.severity in LEVELS:
            undecided = "not decided: " if finding.severity == "undecided" else ""
            message = f"{undecided}{finding.sentence}. {finding.suggestion}".rstrip()
            yield Annotation(*_place(finding.place, file), LEVELS[finding.severity], finding.code, message)


def _place(place: Place | None, file: str) -> tuple[str, int, int, int, str]:
    if place is None:
        return file, 1, 1, 1, ""
    return place.file, place.line, place.column, place.end_column, place.text


def github(annotations: Sequence[Annotation]) -> Iterator[str]:
    """GitHub's workflow commands, one a line: each puts a sentence beside its line of a pull request."""
    for one in annotations:
        where = f"file={_property(_relative(one.file))},line={one.line},col={one.column},endColumn={one.end_column}"
        yield f"::{one.level} {where},title={_property(f'plateau check: {one.code}')}::{_data(visible(one.message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _relative(file: str) -> str:
    """The path from here, as CI names the files of a checkout; another path as it is."""
    path = Path(file)
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def sarif(annotations: Sequence[Annotation], version: str) -> dict[str, Any]:
    """A SARIF log of one run, with the codes as its rules.

    Args:
        annotations: What was found, of all files.
        version: Of this project.
    """
    codes = sorted({one.code for one in annotations})
    driver = {"name": "plateau check", "version": version, "rules": [_rule(code) for code in codes]}
    results = [_result(one, codes.index(one.code)) for one in annotations]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    about = CODES.get(code)
    if about is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": about.phrase},
        "fullDescription": {"text": about.why},
        "help": {"text": about.remedy},
    }


def _result(one: Annotation, rule: int) -> dict[str, Any]:
    relative = _relative(one.file)
    if Path(relative).is_absolute():
        artifact = {"uri": Path(relative).as_uri()}
    else:
        artifact = {"uri": quote(relative), "uriBaseId": "%SRCROOT%"}
    region: dict[str, Any] = {"startLine": one.line, "startColumn": one.column, "endColumn": one.end_column + 1}
    if one.text:
        region["snippet"] = {"text": visible(one.text)}
    return {
        "ruleId": one.code,
        "ruleIndex": rule,
        "level": "note" if one.level == "notice" else one.level,
        "message": {"text": visible(one.message)},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
    }
