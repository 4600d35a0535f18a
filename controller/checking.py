"""What `plateau check` says of a verified curriculum: in words, as data, and as files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from plateau_rule.controller.drawing import Arrow, arrows, definitions, facts
from plateau_rule.controller.errors import RegressionError
from plateau_rule.controller.falls import refuse_falls
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.rungs import names_of
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.findings import ORDER, Counterexample, Entry, Finding, RaiseRates, Report, percent

MOST_RUNGS = 6  # of one state, that a table shows one by one

# In words


def in_words(report: Report, places: Places, files: dict[int, Path], strict: bool) -> Iterator[str]:
    """The report, line by line.

    Args:
        report: what was found.
        places: where things stand in the file.
        files: the files of counterexamples, by the number of their finding.
        strict: whether what is open counts.
    """
    yield from _machine_in_words(report.machine, places)
    for number, finding in enumerate(report.findings):
        yield ""
        yield from _finding_in_words(report, finding, places, files.get(number))
    yield ""
    yield from _table(("state", "entered at the earliest", "at the latest", "of the run left"), _timing(report))
    if report.raises:
        yield ""
        yield from _table(("raise", "by", "", "rate before", "rate after, of the peak"), _raises(report))
    if report.spent:
        yield ""
        yield from _table(("a run takes", "at least", "at most"), _spending(report))
    yield ""
    yield from _table(("property", "verdict", ""), _verdicts(report))
    yield ""
    yield _summary(report, strict)


def findings_in_words(report: Report, places: Places, files: dict[int, Path]) -> Iterator[str]:
    """What a report has against a curriculum, line by line: no notes, and nothing that is waived.

    Args:
        report: what was found.
        places: where things stand in the file.
        files: the files of counterexamples, by the number of their finding.
    """
    told = [(number, one) for number, one in enumerate(report.findings) if one.severity not in ("note", "waived")]
    for number, finding in told:
        if number != told[0][0]:
            yield ""
        yield from _finding_in_words(report, finding, places, files.get(number))


def _machine_in_words(machine: Machine, places: Places) -> Iterator[str]:
    curriculum, run = machine.curriculum.written, machine.run
    length = f"{run.epochs or '?'} epochs of {run.steps_per_epoch or '?'} steps"
    bounds = [machine.meters[meter].shown(bound) for meter, bound in machine.bounds]
    length = ", at most ".join([*[length] * (run.epochs is not None or not bounds), *bounds])
    limits = "".join(f", {k} at most {v}" for k, v in (machine.limits or {}).items() if v is not None)
    limits = limits and f"; {limits[2:]}"
    yield f"{curriculum.name}: {length}{limits}" + (f". {curriculum.description}" if curriculum.description else "")
    for name in curriculum.state:
        yield f"  {name.name}: {'; '.join(facts(curriculum, name))}"
    ways_of: dict[int, list[Arrow]] = {}
    for arrow in arrows(curriculum):
        ways_of.setdefault(arrow.number, []).append(arrow)
    for number, same in ways_of.items():
        names = [f"{curriculum.state[a.source].name} -> {curriculum.state[a.target].name}" for a in same[:4]]
        ways = ", ".join(names) + (f" and {len(same) - 4} more" if len(same) > 4 else "")
        line, arrow = places.of(("transition", number - 1)).line, same[0]
        actions = f" / {arrow.actions}" if arrow.actions else ""
        yield f"  {arrow.title} (line {line}): {ways}, {arrow.guards}{actions}"
    for line_of_guard in definitions(curriculum):
        yield f"    {line_of_guard}"


def _finding_in_words(report: Report, finding: Finding, places: Places, file: Path | None) -> Iterator[str]:
    yield from str(finding).split("\n")
    if finding.mends is not None:
        yield f"  Mended by {', or '.join(map(str, finding.mends))}" if finding.mends else "  No single number mends it"
    if finding.severity == "waived":
        yield f'  waived: "{finding.reason}"'
    if finding.counterexample is None or finding.severity == "waived":
        return
    yield "  It happens so:" if finding.counterexample.happened else "  It could happen so:"
    for line in _trace(report.machine, finding.counterexample, places):
        yield f"    {line}"
    if file is not None and finding.counterexample.happened:
        see = f". See: {_replay(report.machine, places.of(()).file, file)}" if _is_replayed(report, finding) else ""
        yield f"  Its losses: {file}{see}"
    elif file is not None:
        yield f"  The trace: {file}; no losses were found that bring it about"


def _is_replayed(report: Report, finding: Finding) -> bool:
    """Whether a replay shows a finding: it refuses a file in which a knob falls, as the Controller does."""
    try:
        refuse_falls(report.machine)
    except RegressionError:
        return False
    return finding.code != "knob-falls"


def _replay(machine: Machine, curriculum: str, losses: Path) -> str:
    """The command that shows a counterexample again, bound as it was here."""
    return shlex.join(["plateau", "replay", curriculum, str(losses), *binding_options(machine)])


def binding_options(machine: Machine) -> list[str]:
    """The options of a command that bind a curriculum as it is bound here.

    A trainer may have limits of knobs that the curriculum does not turn; a command refuses those.
    """
    run, words, knobs = machine.run, list[str](), machine.curriculum.knob
    given = {"epochs": run.epochs, "steps-per-epoch": run.steps_per_epoch, "tokens-per-step": run.tokens_per_step}
    words += [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    for name, most in (machine.limits or {}).items():
        if name in knobs:
            words += ["--limit", f"{name}={'none' if most is None else most}"]
    for name, steps in machine.lead.items():
        words += ["--lead", f"{name}={steps}"]
    if machine.peak != machine.curriculum.lr.peak:
        words += ["--peak", str(machine.peak)]
    return words


def _trace(machine: Machine, example: Counterexample, places: Places) -> Iterator[str]:
    """A counterexample, line by line."""
    width = max(len(f"{example.step}"), 5)

    def at(step: int) -> str:
        epoch = f"  epoch {step // machine.run.steps_per_epoch}" if machine.run.steps_per_epoch else ""
        return f"step {step:>{width}}{epoch}"

    first = example.visits[0].state if example.visits else machine.states[0]
    yield f"{at(0)}  begins in {first.name}: {_knobs(first.knobs)}"
    for visit in example.visits:
        if visit.transition is not None:
            new = machine.by_name[visit.transition.target]
            line = places.of(("transition", visit.transition.index)).line
            title = visit.transition.title
            yield f"{at(visit.left)}  {visit.state.name} -> {new.name} by {title} (line {line}): {_knobs(new.knobs)}"
    yield f"{at(example.step)}  {example.shows}"


def _knobs(knobs: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in knobs.items()) or "no knobs"


def folded(machine: Machine, rows: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[tuple[str, ...]]:
    """The rows of a table, each by the state that it is about; of the rungs of one state the first and the last."""
    curriculum = machine.curriculum.written
    groups = {name: state.name for state in curriculum.state for name in names_of(curriculum, state)}
    for _, same in groupby(rows, key=lambda row: groups.get(row[0], row[0])):
        group = [row for _, row in same]
        if len(group) > MOST_RUNGS:
            yield group[0]
            yield (f"... {len(group) - 2} rungs between", *[""] * (len(group[0]) - 1))
            yield group[-1]
        else:
            yield from group


def _timing(report: Report) -> Iterator[tuple[str, ...]]:
    return folded(report.machine, ((row[0], row) for row in _timing_rows(report)))


def _timing_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for entry in report.entries:
        if entry.earliest is None:
            yield entry.state, "never", "never", ""
            continue
        latest = "no bound" if entry.latest is None else _step(report.machine, entry.latest)
        latest += "" if entry.certain else ", or never"
        left = " to ".join(dict.fromkeys(map(percent, reversed(left_of(report, entry) or ()))))
        yield entry.state, _step(report.machine, entry.earliest), latest, left


def left_of(report: Report, entry: Entry) -> tuple[float, float] | None:
    """The least and the largest share of the run that is left when a state is entered; None where nobody can say."""
    total = report.machine.run.total_steps
    if report.left:
        return report.left.get(entry.state)
    if not total or entry.earliest is None:
        return None
    latest = total if entry.latest is None else entry.latest
    return (total - latest) / total, (total - entry.earliest) / total


def _step(machine: Machine, step: int) -> str:
    per_epoch = machine.run.steps_per_epoch
    return f"step {step}" + (f", epoch {step // per_epoch}" if per_epoch else "")


def _spending(report: Report) -> Iterator[tuple[str, ...]]:
    for one in report.spent:
        yield one.clock, f"{one.least:.6g}", "no bound" if one.most is None else f"{one.most:.6g}"


def _raises(report: Report) -> Iterator[tuple[str, ...]]:
    rows = list(report.raises)
    if report.machine.curriculum.written is not report.machine.curriculum:
        rows.sort(key=lambda one: one.transition.index)  # so that rungs of one state lie beside each other
    return folded(report.machine, zip((one.transition.source for one in rows), _raise_rows(rows), strict=True))


def _raise_rows(raises: Sequence[RaiseRates]) -> Iterator[tuple[str, ...]]:
    for one in raises:
        knobs = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in one.knobs.items())
        ways = f"{one.transition.source} -> {one.transition.target}"
        yield ways, one.transition.title, knobs, _span(one.before), _span(one.after)


def _span(shares: tuple[float, float]) -> str:
    low, high = map(percent, shares)
    return low if low == high else f"{low} to {high}"


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    lines = [tuple(head), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _verdicts(report: Report) -> Iterator[tuple[str, ...]]:
    for verdict in report.verdicts:
        waived = "" if verdict.waived is None else f'waived: "{verdict.waived}"'
        told = verdict.answer in ("broken", "not decided", "conditional")  # above, in full
        yield verdict.property, verdict.answer, waived or ("" if told and report.findings else verdict.why)


def _summary(report: Report, strict: bool) -> str:
    counts = {word: sum(f.severity == word for f in report.findings) for word in ORDER}
    said = [_number(counts["error"], "error"), f"{counts['undecided']} not decided" * bool(counts["undecided"])]
    said += [_number(counts["warning"], "warning"), f"{counts['waived']} waived" * bool(counts["waived"])]
    said = [*filter(None, [*said, _number(counts["note"], "note")])]
    exact = "" if report.exact else " There were too many configurations to tell all of them apart."
    word = "broken" if report.broken else "open" if strict and report.open else "nothing broken"
    return f"{word}: {', '.join(said) or 'nothing to say'}.{exact}"


def _number(count: int, word: str) -> str:
    return "" if not count else f"{count} {word}{'s' if count > 1 else ''}"


# As data and files


def as_dict(report: Report, places: Places, files: dict[int, Path], strict: bool) -> dict[str, Any]:
    """The report as JSON-able data."""
    machine = report.machine
    return {
        "curriculum": machine.curriculum.name,
        "fingerprint": machine.fingerprint,
        "run": {"epochs": machine.run.epochs, "steps_per_epoch": machine.run.steps_per_epoch,
                "total_steps": machine.run.total_steps},
        "limits": None if machine.limits is None else dict(machine.limits),
        "align": machine.align._asdict(),
        "broken": report.broken,
        "open": report.open,
        "exit_code": report.exit_code(strict),
        "exact": report.exact,
        "resumed": report.resumed,
        "findings": [_finding_as_dict(report, f, places, files.get(i)) for i, f in enumerate(report.findings)],
        "entries": [{**entry._asdict(), "left": left_of(report, entry)} for entry in report.entries],
        "spent": [one._asdict() for one in report.spent],
        "raises": [
            {
                "transition": one.transition.title,
                "from": one.transition.source,
                "to": one.transition.target,
                "knobs": {name: list(values) for name, values in one.knobs.items()},
                "before": list(one.before),
                "after": list(one.after),
            }
            for one in report.raises
        ],
        "properties": [verdict._asdict() for verdict in report.verdicts],
    }  # fmt: skip


def _finding_as_dict(report: Report, finding: Finding, places: Places, file: Path | None) -> dict[str, Any]:
    place, example = finding.place, finding.counterexample
    sought = {} if finding.mends is None else {"mends": [mend._asdict() for mend in finding.mends]}
    return sought | {
        "code": finding.code,
        "property": finding.property,
        "severity": finding.severity,
        "file": place and place.file,
        "line": place and place.line,
        "column": place and place.column,
        "end_column": place and place.end_column,
        "text": place and place.text,
        "path": list(finding.path),
        "sentence": finding.sentence,
        "suggestion": finding.suggestion,
        "reason": finding.reason,
        "counterexample": example and _example_as_dict(example, places, file),
    }


def _example_as_dict(example: Counterexample, places: Places, file: Path | None) -> dict[str, Any]:
    return {
        "step": example.step,
        "shows": example.shows,
        "transitions": [
            {
                "step": visit.left,
                "from": visit.state.name,
                "to": visit.transition.target,
                "transition": visit.transition.title,
                "line": places.of(("transition", visit.transition.index)).line,
            }
            for visit in example.visits
            if visit.transition is not None
        ],
        "happened": example.happened,
        "file": str(file) if file else None,
    }


def write_counterexamples(report: Report, places: Places, folder: Path) -> dict[int, Path]:
    """Write traces, and losses that `plateau replay` reads; the files by the number of their finding."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[int, Path] = {}
    for number, finding in enumerate(report.findings):
        example = finding.counterexample
        if example is None:
            continue
        trace = folder / f"{number + 1}-{finding.code}.txt"
        lines = [str(finding), *_trace(report.machine, example, places)]
        trace.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        files[number] = trace
        if example.happened:
            files[number] = trace.with_suffix(".jsonl")
            text = "".join(json.dumps(row) + "\n" for row in example.rows(report.machine))
            files[number].write_text(text, encoding="utf-8", newline="\n")
    return files
