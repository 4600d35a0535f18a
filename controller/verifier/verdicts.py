"""One verdict for each of the nine properties, from what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plateau_rule.controller.language.consistency import PROPERTIES
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.alignment import Alignment
from plateau_rule.controller.verifier.budget import Budget
from plateau_rule.controller.verifier.explored import Explored
from plateau_rule.controller.verifier.findings import Answer, Finding, Verdict, percent
from plateau_rule.controller.verifier.raises import raising

UNPROVABLE: dict[str, tuple[Answer, str]] = {
    "noise": ("not asked", "give --log FILE"), "timing": ("table", ""), "resume": ("tested", ""),
}  # fmt: skip
EXPLORED = ("reach", "escape", "order")  # nothing is known of them where not all was looked at
SPENT = "the budget ran out before all that can happen was looked at: allow more with --budget"


def verdicts(
    machine: Machine,
    explored: Explored,
    findings: Sequence[Finding],
    resumed: int,
    implied: Mapping[str, tuple[Answer, str]],
) -> tuple[Verdict, ...]:
    """The verdicts, in the order of PROPERTIES; implied: answers by what was found of another property."""
    return tuple(_verdict(machine, explored, name, findings, resumed, implied) for name in PROPERTIES)


def _verdict(
    machine: Machine,
    explored: Explored,
    name: str,
    findings: Sequence[Finding],
    resumed: int,
    implied: Mapping[str, tuple[Answer, str]],
) -> Verdict:
    mine = [finding for finding in findings if finding.property == name]
    answer, why = _answer(explored, name, mine)
    if answer not in ("broken", "not decided") and name in implied:
        answer, why = implied[name]
    if answer == "proved":
        why = "; ".join(_because(machine, explored, name, mine))
    if answer == "tested":
        why = f"killed and resumed {resumed} times on a generated stream: the same plans"
    return Verdict(name, answer, why, _waiver(machine, name, mine))


def _waiver(machine: Machine, name: str, mine: Sequence[Finding]) -> str | None:
    """The file's reason for not asking: for the property, or for every transition that something was found of."""
    waiver = machine.curriculum.check.waive.get(name)
    if waiver is None or isinstance(waiver, str):
        return waiver
    told = [finding for finding in mine if finding.severity != "note"]
    if not told or any(finding.severity != "waived" for finding in told):
        return None
    return "; ".join(dict.fromkeys(finding.reason or "" for finding in told))


def _answer(explored: Explored, name: str, mine: Sequence[Finding]) -> tuple[Answer, str]:
    """The answer, and what it rests on where something was found."""
    by_weight: dict[str, list[str]] = {}
    standing = [finding for finding in mine if finding.severity not in ("waived", "note")]
    for finding in standing or mine:
        by_weight.setdefault(finding.unwaived, []).append(finding.sentence)
    if "error" in by_weight:
        return "broken", by_weight["error"][0]
    if name in UNPROVABLE:
        return UNPROVABLE[name]
    if "undecided" in by_weight:
        return "not decided", by_weight["undecided"][0]
    if any(finding.code == "may-stay" for finding in mine):
        return "conditional", "a loss that never stops improving keeps the run from its goal"
    if name in EXPLORED and not explored.decides:
        return "not decided", SPENT
    return "proved", ""


def _because(machine: Machine, explored: Explored, name: str, mine: Sequence[Finding]) -> Iterator[str]:
    """Why a property holds, where it does because its case never arises; and where it is asked for only in part."""
    if name in ("monotone", "aligned") and not machine.curriculum.knob:
        yield "there is no knob"
    elif name == "aligned" and not any(True for _ in raising(Alignment(machine, Budget()), explored)):
        yield "nothing ever rises"
    elif name == "aligned" and machine.align.of_run:
        yield f"at {percent(machine.align.hold)} or more for {machine.align.spelled}"
    elif name == "monotone" and not any(True for _ in explored.whole.edges()):
        yield "no transition is ever taken"
    elif name == "escape" and 0 in explored.whole.goal:
        yield "the run begins in its goal"
    elif name == "order" and not machine.curriculum.transition:
        yield "there is no transition"
    for finding in mine:
        if finding.code == "late-raise":
            yield f"but for raises in the last {machine.align.late_steps} steps: their rate falls over the rest"
