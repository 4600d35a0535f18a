"""The command `plateau check`. What reads logs and draws is imported only where it is asked for."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

from plateau_rule.commands.options import BOUND, BoundOptions, Flag, JsonFlag, print_json, require_drawable
from plateau_rule.controller.binding import bind
from plateau_rule.controller.checking import as_dict, in_words, write_counterexamples
from plateau_rule.controller.errors import BindingWarning, visible
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.findings import Finding, Severity
from plateau_rule.controller.verifier.verify import MOST_LOOKS, verify

LONGER = 10  # times as many looks are tried where the streams are asked for


def check(
    file: str,
    /,
    *,
    strict: Flag = False,
    as_json: JsonFlag = False,
    counterexample: Path | None = None,
    log: Path | None = None,
    plot: Path | None = None,
    bound: BoundOptions = BOUND,
) -> int:
    """Check a curriculum for every possible loss stream.

    Exits with 0 if every property holds, 1 if one is broken, 2 if the file is no curriculum.

    Args:
        file: A path, or the bare name of a shipped curriculum.
        strict: Fail on warnings too.
        as_json: Print JSON.
        counterexample: Write the counterexamples into this folder: traces, and losses that `plateau replay` reads.
        log: A log of an earlier run. Says whether the windows are long enough for its noise.
        plot: Draw the knobs and the rate into this file (.png or .svg), raised as early and as late as possible.
        bound: What the curriculum is bound to; without a limit, `full` stays a word.
    """
    require_drawable(plot)
    content, name = contents(file)
    curriculum = loads(content, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)  # the report says it
        machine = bind(curriculum, bound.binding())
    wanted = counterexample is not None
    report = verify(machine, streams=wanted, looks=MOST_LOOKS * (LONGER if wanted else 1))
    places = Places(content.decode(), name)
    found = [*report.findings, *(_noise(machine, log) if log else ())]
    placed = [replace(finding, place=places.of(finding.path, finding.at_key)) for finding in found]
    report = replace(report, findings=tuple(placed))
    files = write_counterexamples(report, places, counterexample) if counterexample else {}
    if as_json:
        print_json(as_dict(report, places, files, strict))
    else:
        print("\n".join(visible(line) for line in in_words(report, places, files, strict)))
    if plot is not None:
        _draw(machine, plot)
    return 1 if report.failed(strict) else 0


def _noise(machine: Machine, log: Path) -> Iterator[Finding]:
    """What the noise of a log says of the windows."""
    from plateau_rule.sim.lint import lint

    waived = "noise" in machine.curriculum.check.waive
    for found in lint(machine.curriculum, str(log)):
        severity: Severity = "note" if not found.warning else "waived" if waived else "warning"
        yield Finding("noise", "noise", severity, found.path, str(found.sentence).rstrip("."), found.remedy.rstrip("."))


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
