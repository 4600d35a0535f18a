"""The command `plateau check`. What reads logs and draws is imported only where it is asked for."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plateau_rule.commands.options import Flag, JsonFlag, print_json
from plateau_rule.controller.binding import bind
from plateau_rule.controller.checking import as_dict, in_words, write_counterexamples
from plateau_rule.controller.errors import BindingWarning, CurriculumError, Fault, visible
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
    limits: Annotated[
        tuple[str, ...], Parameter(name=["--limits", "--limit"], show_default=False, consume_multiple=True)
    ] = (),
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    tokens_per_step: int | None = None,
    strict: Flag = False,
    as_json: JsonFlag = False,
    counterexample: Path | None = None,
    log: Path | None = None,
    plot: Path | None = None,
) -> int:
    """Check a curriculum for every possible loss stream.

    Exits with 0 if every property holds, 1 if one is broken, 2 if the file is no curriculum.

    Args:
        file: a path, or the bare name of a shipped curriculum.
        limits: the largest value of a knob that the trainer can turn, as cutoff=1025; `full` stays a word without.
        epochs: epochs in the run, in place of the file's.
        steps_per_epoch: optimizer steps in an epoch, in place of the file's.
        tokens_per_step: tokens in an optimizer step, in place of the file's.
        strict: warnings count as broken.
        as_json: print JSON.
        counterexample: a folder to write the counterexamples to, as traces and as losses that `plateau replay` reads.
        log: losses of an earlier run, to tell whether windows are long enough for their noise.
        plot: draw the knobs and the rate of the earliest and the latest climb into this file, .png or .svg.
    """
    if plot is not None:
        from plateau_rule.sim.plots import drawable

        drawable(plot)
    content, name = contents(file)
    curriculum = loads(content, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)  # the report says it
        machine = bind(
            curriculum,
            dict(map(_limit, limits)) or None,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            tokens_per_step=tokens_per_step,
        )
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


def _limit(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        value = float(number)
        if name and isfinite(value):
            return name, int(value) if value.is_integer() else value
    except ValueError:
        pass
    raise CurriculumError([Fault("bad-limit", (), f'--limits "{text}"', "KNOB=NUMBER, such as --limits cutoff=1025")])


def _noise(machine: Machine, log: Path) -> Iterator[Finding]:
    """What the noise of a log says of the windows."""
    from plateau_rule.sim.noise import lint

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
        print(f"Where full is, and so the ramp of {name}, is drawn with --limits {name}=NUMBER", file=sys.stderr)
