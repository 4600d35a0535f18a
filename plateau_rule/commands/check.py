"""The command `plateau check`. What reads logs and draws is imported only where it is asked for."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from time import monotonic

from plateau_rule.commands.options import BOUND, BoundOptions, Flag, JsonFlag, print_json, require_drawable
from plateau_rule.controller.binding import bind
from plateau_rule.controller.checking import as_dict, in_words, write_counterexamples
from plateau_rule.controller.errors import BindingWarning, visible
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import MOST_CONFIGURATIONS
from plateau_rule.controller.verifier.findings import Finding, Severity, Verdict
from plateau_rule.controller.verifier.verify import verify

QUIET_S = 0.5  # before a line of progress is shown


def check(
    file: str,
    /,
    *,
    strict: Flag = False,
    as_json: JsonFlag = False,
    counterexample: Path | None = None,
    log: Path | None = None,
    plot: Path | None = None,
    budget: int = MOST_CONFIGURATIONS,
    bound: BoundOptions = BOUND,
) -> int:
    """Check a curriculum for every possible loss stream.

    Exits with 0 if nothing is broken, 1 if a property is, 2 if the file is no curriculum; with --strict 3 if something
    is open: a property not decided or conditional, or a warning.

    Args:
        file: A path, or the bare name of a shipped curriculum.
        strict: Exit with 3 where a property is not decided or conditional, or a warning stands.
        as_json: Print JSON.
        counterexample: Write the counterexamples into this folder: traces, and losses that `plateau replay` reads.
        log: A log of an earlier run. Says whether the windows are long enough for its noise.
        plot: Draw the knobs and the rate into this file (.png or .svg), raised as early and as late as possible.
        budget: Try at most this many configurations; what is left then is not decided.
        bound: What the curriculum is bound to; without a limit, `full` stays a word.
    """
    require_drawable(plot)
    content, name = contents(file)
    curriculum = loads(content, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)  # the report says it
        machine = bind(curriculum, bound.binding())
    progress = _Progress()
    report = verify(machine, budget=budget, tick=progress.tick if sys.stderr.isatty() else None)
    progress.clear()
    places = Places(content.decode(), name)
    found = [*report.findings, *(_noise(machine, log) if log else ())]
    placed = [replace(finding, place=places.of(finding.path, finding.at_key)) for finding in found]
    report = replace(report, findings=tuple(placed), verdicts=_with_noise(report.verdicts, placed, log))
    files = write_counterexamples(report, places, counterexample) if counterexample else {}
    if as_json:
        print_json(as_dict(report, places, files, strict))
    else:
        print("\n".join(visible(line) for line in in_words(report, places, files, strict)))
    if plot is not None:
        _draw(machine, plot)
    return report.exit_code(strict)


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
