"""The command `plateau check`. What reads logs and draws is imported only where it is asked for."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from plateau_rule.commands.app import version
from plateau_rule.commands.options import (
    BOUND,
    BoundOptions,
    Flag,
    JsonFlag,
    Lines,
    Output,
    UsageError,
    bound_to,
    require_drawable,
    require_knobs,
    write_text,
)
from plateau_rule.commands.sources import Source, content_of, curricula, one_file, refuse_options
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.checking import as_dict, findings_in_words, in_words, write_counterexamples
from plateau_rule.controller.errors import BindingWarning, CurriculumError, visible
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.language.scanning import within_limits
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS
from plateau_rule.controller.verifier.findings import Finding, Report, Severity, Verdict
from plateau_rule.controller.verifier.verify import verify

if TYPE_CHECKING:
    from plateau_rule.commands.annotations import Annotation

Form = Literal["text", "brief", "json", "github", "sarif"]
WORST = (0, 3, 1, 2)  # exit codes, from the best to the worst
QUIET_S = 0.5  # before a line of progress is shown
FIRST_LINE_S = 3.0  # before the first line that says how many files are done


def check(
    *files: Source,
    strict: Flag = False,
    form: Annotated[Form | None, Parameter(name="--format")] = None,
    as_json: JsonFlag = False,
    output: Output = None,
    counterexample: Path | None = None,
    mend: Flag = False,
    log: Path | None = None,
    plot: Path | None = None,
    budget: int = MOST_CONFIGURATIONS,
    bound: BoundOptions = BOUND,
) -> int:
    """Check curricula for every possible loss stream.

    Exits with 0 if nothing is broken, 1 if a property is, 2 if a file is no curriculum; with --strict 3 if something
    is open: a property not decided or conditional, or a warning. Of several files, the worst counts: 2, then 1, then 3.

    Args:
        files: Files, names of shipped curricula, patterns, or folders of curricula. `-` reads the standard input.
        strict: Exit with 3 where a property is not decided or conditional, or a warning stands.
        form: As text (the default), brief (what fails, findings alone), json, github (for a workflow) or sarif.
        as_json: Print JSON; the same as --format json.
        output: Write the report to this file instead of the standard output.
        counterexample: Write the counterexamples into this folder: traces, and losses that `plateau replay` reads.
        mend: Seek the smallest edit of one number that mends each error; it takes some seconds.
        log: A log of an earlier run. Says whether the windows are long enough for its noise.
        plot: Draw the knobs and the rate into this file (.png or .svg), raised as early and as late as possible.
        budget: Try at most this many configurations; what is left then is not decided.
        bound: What the curriculum is bound to; without a limit, `full` stays a word.
    """
    _usable(files, as_json, form, counterexample, plot)
    require_drawable(plot)
    form = "json" if as_json else form or "text"
    names, single = curricula(files), one_file(files)
    binding = bound.binding()
    lines = Lines("read", "files", first_s=FIRST_LINE_S)
    files_read: list[FileRead] = []
    for name in names:
        lines(len(files_read), len(names))
        files_read.append(_read(name))
    require_knobs(binding, *[one.curriculum for one in files_read if one.curriculum])
    results: list[CheckedFile] = []
    lines = Lines("checked", "files", first_s=FIRST_LINE_S)
    for one in files_read:
        lines(len(results), len(files_read))
        try:
            results.append(_checked(one, binding, budget, log, mend))
        except CurriculumError as error:
            if single and form in ("text", "brief"):
                raise
            results.append(CheckedFile(one.file, error=error))
    write_text(_printed(results, form, single, strict, counterexample), output)
    if plot is not None and (report := results[0].report) is not None:
        _draw(report.machine, plot)
    return max((result.exit_code(strict) for result in results), key=WORST.index)


@dataclass(frozen=True)
class FileRead:
    """A file, by the name that errors show, and the curriculum that it holds or why it holds none."""

    file: str
    content: bytes = b""
    curriculum: Curriculum | None = None
    error: CurriculumError | None = None


@dataclass(frozen=True)
class CheckedFile:
    """What was found of one file: a report with the places of its findings, or why it is no curriculum."""

    file: str
    report: Report | None = None
    places: Places | None = None
    error: CurriculumError | None = None

    def exit_code(self, strict: bool) -> int:
        """The exit code for this file."""
        return self.report.exit_code(strict) if self.report else 2


def _usable(
    files: Sequence[str], as_json: bool, form: Form | None, counterexample: Path | None, plot: Path | None
) -> None:
    """Refuse words that do not go together."""
    if not files:
        raise UsageError("plateau check: FILE is missing. See: plateau check --help")
    refuse_options("check", files)
    if as_json and form not in (None, "json"):
        raise UsageError(f"--json and --format {form}: expected one of the two")
    if not one_file(files) and (plot or counterexample):
        option = "--plot" if plot else "--counterexample"
        raise UsageError(f"{option} with several curricula: expected one")


def _read(name: str) -> FileRead:
    """Read one file."""
    try:
        content, shown = content_of(name)
        return FileRead(shown, content, loads(content, shown))
    except CurriculumError as error:
        return FileRead(name, error=error)


def _checked(read: FileRead, binding: Binding, budget: int, log: Path | None, mend: bool) -> CheckedFile:
    """Bind and verify one file."""
    if read.error is not None or read.curriculum is None:
        raise read.error or CurriculumError([])
    curriculum, shown = read.curriculum, read.file
    binding = bound_to(curriculum, binding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)  # the report says it
        machine = bind(curriculum, binding)
    progress = _Progress()
    report = verify(machine, budget=budget, tick=progress.tick if sys.stderr.isatty() else None)
    progress.clear()
    places = Places(within_limits(read.content, shown), shown)
    if mend:
        from plateau_rule.controller.edit.mending import with_mends

        report = with_mends(report, binding)
    found = [*report.findings, *(_noise(machine, log) if log else ())]
    placed = [replace(finding, place=places.of(finding.path, finding.at_key)) for finding in found]
    report = replace(report, findings=tuple(placed), verdicts=_with_noise(report.verdicts, placed, log))
    return CheckedFile(shown, report, places)


def _printed(results: list[CheckedFile], form: Form, single: bool, strict: bool, counterexample: Path | None) -> str:
    """All of it, in one of the formats."""
    if form in ("github", "sarif"):
        from plateau_rule.commands import annotations

        found = [one for result in results for one in _annotations(result)]
        if form == "github":
            return "".join(f"{line}\n" for line in annotations.github(found))
        return json.dumps(annotations.sarif(found, version()), indent=2) + "\n"
    if form == "json":
        written = [_as_data(result, strict, counterexample) for result in results]
        if not single:
            written = [{"file": one.file, **data} for one, data in zip(results, written, strict=True)]
        code = max((result.exit_code(strict) for result in results), key=WORST.index)
        data = written[0] if single else {"files": written, "exit_code": code}
        return json.dumps(data, allow_nan=False) + "\n"
    if form == "brief":
        results = [result for result in results if result.exit_code(strict)]
    parts = ["\n".join(map(visible, _in_words(result, form, strict, counterexample))) for result in results]
    if not parts:
        return ""
    if form == "text" and not single:
        parts = [f"== {visible(result.file)}\n{part}" for result, part in zip(results, parts, strict=True)]
    return "\n\n".join(parts) + "\n"


def _annotations(result: CheckedFile) -> Iterator[Annotation]:
    from plateau_rule.commands import annotations

    if result.report is not None:
        return annotations.of_report(result.report, result.file)
    return annotations.of_error(result.error or CurriculumError([]), result.file)


def _as_data(result: CheckedFile, strict: bool, counterexample: Path | None) -> dict[str, Any]:
    if result.report is None or result.places is None:
        return (result.error or CurriculumError([])).fields()
    files = write_counterexamples(result.report, result.places, counterexample) if counterexample else {}
    return as_dict(result.report, result.places, files, strict)


def _in_words(result: CheckedFile, form: Form, strict: bool, counterexample: Path | None) -> list[str]:
    if result.report is None or result.places is None:
        return str(result.error).split("\n")
    files = write_counterexamples(result.report, result.places, counterexample) if counterexample else {}
    if form == "brief":
        return list(findings_in_words(result.report, result.places, files))
    return list(in_words(result.report, result.places, files, strict))


class _Progress:
    """A line on the terminal that says how much of the budget was spent, once it takes a while."""

    def __init__(self) -> None:
        self._began, self._shown = monotonic(), False

    def tick(self, share: float) -> None:
        """Show how much was spent."""
        if monotonic() - self._began > QUIET_S:
            self._shown = True
            print(f"\r{share:4.0%} of the budget", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _with_noise(verdicts: tuple[Verdict, ...], findings: list[Finding], log: Path | None) -> tuple[Verdict, ...]:
    """The verdicts, that of `noise` by what a log's noise says of the windows."""
    if log is None:
        return verdicts
    warned = any(finding.property == "noise" and finding.unwaived == "warning" for finding in findings)
    why = "a window cannot tell a plateau from the noise of the log" if warned else "by the noise of the log"
    return tuple(
        verdict._replace(answer="warned" if warned else "tested", why=why) if verdict.property == "noise" else verdict
        for verdict in verdicts
    )


def _noise(machine: Machine, log: Path) -> Iterator[Finding]:
    """What the noise of a log says of the windows."""
    from plateau_rule.sim.lint import lint

    waived = "noise" in machine.curriculum.check.waive
    for found in lint(machine.curriculum, str(log)):
        severity: Severity = "note" if not found.warning else "waived" if waived else "warning"
        was: Severity | None = "warning" if found.warning and waived else None
        sentence, remedy = str(found.sentence).rstrip("."), found.remedy.rstrip(".")
        yield Finding("noise", "noise", severity, found.path, sentence, remedy, was=was)


def _draw(machine: Machine, path: Path) -> None:
    from plateau_rule.controller.verifier.climbs import climbs
    from plateau_rule.sim.plots import draw
    from plateau_rule.sim.plots.picture import picture_of_climb

    found = climbs(machine)
    pictures = [picture_of_climb(machine, climb) for climb in found]
    title = f"{machine.curriculum.name}: what is planned, {' and '.join(climb.name for climb in found)}"
    print(f"Drawn: {draw(pictures, path, title)}", file=sys.stderr)
    for name in sorted({name for state in machine.states for name, ramp in state.ramps.items() if ramp.end == inf}):
        print(f"Where full is, and so the ramp of {name}, is drawn with --limit {name}=NUMBER", file=sys.stderr)
