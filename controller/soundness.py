"""What a trainer asks before its first step: is anything broken in the curriculum that it is about to follow?"""

from __future__ import annotations

import shlex

from plateau_rule.controller.checking import binding_options
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.findings import Finding, Report
from plateau_rule.controller.verifier.verify import verify


class UnsoundError(PlateauError):
    """A bound curriculum that is refused before the first step, because a property is broken.

    Attributes:
        report: all that was found.
    """

    def __init__(self, report: Report, remedy: str) -> None:
        name = report.machine.curriculum.name
        findings = "\n".join(map(str, broken_findings(report)))
        super().__init__(f'"{name}" is not trained, because it is broken:\n{findings}\n{remedy}')
        self.report, self._remedy = report, remedy

    def __reduce__(self) -> tuple[type[UnsoundError], tuple[Report, str]]:
        return type(self), (self.report, self._remedy)


def require_sound(machine: Machine, *, unless: str = "checked=False") -> Report:
    """Check a bound curriculum as `plateau check` does, and refuse it where a property is broken.

    What is not decided, or depends on the losses, is no reason to refuse.

    Args:
        machine: what `bind` gives; of a Controller, its `machine`.
        unless: what the message says to give if it is to be trained all the same.

    Returns:
        What was found; `answers_of` turns it into data for the run's record.

    Raises:
        UnsoundError: a property is broken that the file does not waive.
    """
    report = verify(machine)
    if report.broken:
        place = machine.curriculum.place(())
        shown = f"plateau check {shlex.join([place.file if place else 'FILE', *binding_options(machine)])}"
        raise UnsoundError(
            report,
            f"More: {shown}\nMend it, or waive the property in its [check] with a reason. "
            f"To train under it as it is: {unless}",
        )
    return report


def broken_findings(report: Report) -> list[Finding]:
    """What breaks a property, with its place in the file; of a state that is never entered, the warning about it."""
    curriculum = report.machine.curriculum
    broken = {verdict.property for verdict in report.verdicts if verdict.answer == "broken" and verdict.stands}
    findings = [finding for finding in report.findings if finding.severity == "error"]
    findings = findings or [finding for finding in report.findings if finding.property in broken]
    return [finding.placed(curriculum.place(finding.path, finding.at_key)) for finding in findings]


def answers_of(report: Report) -> dict[str, str]:
    """What is known about each property, as data that a run's record can hold."""
    return {verdict.property: verdict.answer for verdict in report.verdicts}


def open_in_words(answers: dict[str, str]) -> str:
    """Say in a line what a check left open, of what `answers_of` gave."""
    left = [f"{name} {answer}" for name, answer in answers.items() if answer in ("not decided", "conditional")]
    return "checked: nothing is broken" + (f"; {', '.join(left)}" if left else "")
