"""The second half of docs/study.md, from the curves of the cells that are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np

from benchmarks._schedules import Schedule, Task, refusal
from benchmarks._study import SEEDS, TIMES, TaskProgress
from plateau_rule.trials.budget import TrainingBudget
from plateau_rule.trials.compare import SURE, Compared, held_against_first, verdict
from plateau_rule.trials.curve import Curve
from plateau_rule.trials.probe import seed_spread
from plateau_rule.trials.statistics import PairedDifference

Curves = tuple[Curve, ...]
HEAD = "| schedule | score | beside full | p | beside the best constant | p | steps | ends on rung |"


def written(tasks: Sequence[TaskProgress]) -> str:
    """All of it."""
    return "\n".join(line for task in tasks for line in [*of_task(task), ""]).rstrip() + "\n"


def of_task(task: TaskProgress) -> list[str]:
    """What is said of a task: what was chosen, a table and its sentences for each budget."""
    lines = [f"### {task.task.name}: {task.task.score}", ""]
    chosen = task.chosen()
    if chosen is None:
        left = [cell for cell in task.choosing() if task.curve(cell) is None]
        return [*lines, f"Schedules are not chosen yet: {len(left)} of {len(task.choosing())} cells are missing."]
    for kind, schedule in chosen.items():
        lines.append(f"- {kind}: {described(task.task, schedule)}")
    for times in TIMES:
        lines += ["", *at_budget(task, times)]
    return lines


def described(task: Task, schedule: Schedule) -> str:
    """A schedule that was chosen, in words of the language."""
    if not schedule.guards:
        return f"`{schedule.name}`, {task.knob} = {task.ladder[schedule.rungs[0]]}"
    return "; ".join(f"`{guard.removeprefix('{ ').removesuffix(' }')}`" for guard in dict.fromkeys(schedule.guards))


def at_budget(task: TaskProgress, times: int) -> list[str]:
    """The table of a budget, with its sentences."""
    cells = task.cells(times)
    missing = sum(task.curve(cell) is None for cell in cells)
    seconds, budget = times * task.task.seconds, task.task.budget(times)
    lines = [f"#### {task.task.name}, {times}×: {seconds:g} s, {budget.amount} steps on the last rung", ""]
    if missing:
        lines += [f"**{missing} of {len(cells)} cells are missing.** Rows without all seeds are left out.", ""]
    whole, refused = {}, {}
    for row in task.rows():
        if (why := refusal(task.task, row, times)) is not None:
            refused[row.name] = why
        elif len(curves := task.curves(row, times)) == len(SEEDS):
            whole[row] = curves
    if whole:
        lines += [*table(task, whole, budget), "", *sentences(task, whole, budget, not missing)]
    lines += [f"- `{name}` was not trained: `plateau check` calls it broken. {why}." for name, why in refused.items()]
    return lines


def table(task: TaskProgress, whole: Mapping[Schedule, Curves], budget: TrainingBudget) -> list[str]:
    """A row for each schedule, also for those that lose."""
    full, best = whole_of(whole, "rung", task), constant_of(task, whole)
    lines = [HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
    beside = [None if first is None else against(first, whole, budget) for first in (full, best)]
    for row, curves in whole.items():
        scores = np.array([curve.last for curve in curves])
        held = [text for each in beside for text in cell_of(None if each is None else each.get(row.name))]
        steps = np.mean([curve.spent["step"][-1] for curve in curves])
        ends = sorted({ends_on(task.task, curve) for curve in curves})
        rungs = f"{ends[0]}" if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
        score = f"{scores.mean():.4f} ± {scores.std(ddof=1):.4f}"
        lines.append(f"| {row.name} | {score} | {' | '.join(held)} | {steps:,.0f} | {rungs} |")
    return lines


def whole_of(whole: Mapping[Schedule, Curves], kind: str, task: TaskProgress) -> Schedule | None:
    """The last rung throughout, under the cosine: training without a curriculum."""
    name = f"{kind}-{task.task.top + 1}-cosine"
    return next((row for row in whole if row.name == name), None)


def constant_of(task: TaskProgress, whole: Mapping[Schedule, Curves]) -> Schedule | None:
    """The best constant setting, as the choosing seeds have it."""
    chosen = task.chosen()
    return next((row for row in whole if chosen is not None and row == chosen["held"]), None)


def against(first: Schedule, whole: Mapping[Schedule, Curves], budget: TrainingBudget) -> dict[str, PairedDifference]:
    """Every other row held against one, by the tests of `plateau compare`."""
    found = compared(first, [row for row in whole if row != first], whole, budget)
    return dict(zip(found.names[1:], found.differences, strict=True))


def compared(
    first: Schedule, others: Sequence[Schedule], whole: Mapping[Schedule, Curves], budget: TrainingBudget
) -> Compared:
    """Rows held against one."""
    return held_against_first({row.name: whole[row] for row in (first, *others)}, budget)


def cell_of(found: PairedDifference | None) -> tuple[str, str]:
    """A difference and its p."""
    if found is None:
        return "", ""
    return f"{found.mean:+.4f} ± {found.spread:.4f}", f"{found.p:.2g}" if isfinite(found.p) else ""


def ends_on(task: Task, curve: Curve) -> int:
    """The number of the rung that a training ended on, by the price of its last steps."""
    steps, cost = curve.spent["step"], curve.spent["cost"]
    steps, cost = np.concatenate(([0.0], steps)), np.concatenate(([0.0], cost))
    price = (cost[-1] - cost[-2]) / (steps[-1] - steps[-2])
    return 1 + int(np.argmin(np.abs(np.array(task.prices) - price)))


# Sentences, by the rules of the page's first half


def pays(found: PairedDifference) -> bool:
    """Better by more than the spread, and by more than chance."""
    return found.mean < 0 and found.is_larger_than_spread and found.p < SURE


def sentences(
    task: TaskProgress, whole: Mapping[Schedule, Curves], budget: TrainingBudget, complete: bool
) -> list[str]:
    """What follows from a table."""
    best, ladders = constant_of(task, whole), [row for row in whole if row.kind != "held"]
    if not complete or best is None or not ladders:
        return ["Nothing is concluded before all rows are there.", ""]
    found = compared(best, ladders, whole, budget)
    better = [name for name, each in zip(found.names[1:], found.differences, strict=True) if pays(each)]
    lines = [
        f"- **Ladders that beat the best constant setting: {', '.join(better)}.** {verdict(found)}."
        if better
        else f"- **No ladder beats the best constant setting.** The best of them: {verdict(found)}."
    ]
    fixed = next((row for row in ladders if row.name == "fixed-decay"), None)
    triggers = [row for row in ladders if row.kind not in ("uniform", "fixed", "probed")]
    if fixed is not None and triggers:
        lines.append(f"- Triggers beside the best fixed ladder: {verdict(compared(fixed, triggers, whole, budget))}.")
    return [*lines, *judged(task, whole)]


def judged(task: TaskProgress, whole: Mapping[Schedule, Curves]) -> list[str]:
    """What a probe would have advised, and whether that was right."""
    advice = task.advice()
    row = next((row for row in whole if advice is not None and row.name == advice.name), None)
    if row is None:
        return []
    means = {each: float(np.mean([curve.last for curve in curves])) for each, curves in whole.items()}
    best = min(means, key=lambda each: means[each])
    lead, spread = means[row] - means[best], seed_spread(whole[row])
    near = task.task.near
    amount = float(near.removesuffix(" %")) / 100 * means[best] if near.endswith("%") else float(near)
    right = row == best or (lead <= amount and lead <= spread)
    word = "right" if right else "wrong"
    return [
        f"- A probe on the choosing seeds advises `{row.name}`, which is behind the best row, `{best.name}`, by "
        f"{lead:.4f}: {word}, where right is no more than {near} and no more than its own spread, {spread:.4f}."
    ]
