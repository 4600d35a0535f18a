"""Amounts of time that a run cannot resolve."""

from __future__ import annotations

from plateau_rule.controller.bound_rates import rate_amounts
from plateau_rule.controller.errors import Fault
from plateau_rule.controller.guards.word import AmountAsked
from plateau_rule.controller.language.amounts import RunLength, parse_amount, steps_in
from plateau_rule.controller.language.curriculum import Curriculum, word_of
from plateau_rule.controller.language.metrics import asked, comes_at, every, metric_of


def amount_faults(curriculum: Curriculum, run: RunLength) -> list[Fault]:
    """Every amount of time that is unresolved, with what it needs."""
    faults = []
    counts_cost = curriculum.run.cost_per_step is not None or any(k.cost is not None for k in curriculum.knob.values())
    for asked_amount in _amounts(curriculum):
        amount = parse_amount(asked_amount.text)
        by_hand = amount.unit == "epochs" and run.steps_per_epoch is None and amount.count.denominator == 1
        if asked_amount.may_count_closings and by_hand:
            continue
        try:
            if amount.unit == "cost" and not counts_cost:
                raise ValueError("an amount of cost needs cost_per_step, or a knob with cost = [ … ]")
            if not (asked_amount.in_state and run.follows_knobs(amount)):
                steps_in(amount, run, run.total_steps)
        except ValueError as error:
            expected = "steps_per_epoch, epochs or tokens_per_step, in [run] or when binding"
            if run.follows_knobs(amount):
                expected = "" if counts_cost or amount.unit != "cost" else "a price of a step"
            faults.append(Fault("unresolved-amount", asked_amount.path, str(error), expected))
    return faults


def _amounts(curriculum: Curriculum) -> list[AmountAsked]:
    found = list(rate_amounts(curriculum))
    for i, state in enumerate(curriculum.state):
        found += [
            AmountAsked(ramp.over, ("state", i, "ramp", name, "over"), in_state=True)
            for name, ramp in state.ramp.items()
        ]
    for guard, path in asked(curriculum):
        word = word_of(guard)
        metric = word.metric(guard.value)
        for amount in word.amounts(guard.value):
            found.append(amount._replace(path=(*path, *amount.path)))
            if metric is not None and metric_of(curriculum, metric).every is not None:
                found.append(AmountAsked(str(every(curriculum, metric)), ("metric", metric, "every")))
            elif metric is not None and comes_at(curriculum, metric) == "epoch":
                found.append(AmountAsked("1 epoch", ("metric", metric, "at")))
    return list(dict.fromkeys(found))
