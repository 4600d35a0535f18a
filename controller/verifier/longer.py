"""Whether a longer run would mend what does not fit into this one, and from when on."""

from __future__ import annotations

from plateau_rule.controller.language.curriculum import Guard, word_of
from plateau_rule.controller.language.metrics import asked
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget, Part
from plateau_rule.controller.verifier.zone_graph import Reach


def by_share(guard: Guard) -> bool:
    """Whether a guard asks for a share of the run, which is longer in a longer run."""
    return any(amount.text.endswith(" run") for amount in word_of(guard).amounts(guard.value))


def in_a_longer_run(machine: Machine, names: list[str], budget: Budget | Part) -> str:
    """What to do where a state cannot be left in time; with the step from which the last of some states can be entered.

    Args:
        machine: of which the run is too short.
        names: the states that it does not get to, in order.
        budget: what may be explored.
    """
    curriculum = machine.curriculum
    ramps = [ramp.over for state in curriculum.state for ramp in state.ramp.values()]
    if any(by_share(guard) for guard, _ in asked(curriculum)) or any(over.endswith(" run") for over in ramps):
        return "Shorten what is asked for; a share of the run is longer in a longer run"
    reach = Reach(machine, endless=True, budget=budget)
    entries = {name: [node.zone.entry_low for node in reach.nodes if reach.state(node).name == name] for name in names}
    reached = [name for name in names if entries[name]]
    if not reach.finished or not reached:
        return "Shorten what is asked for, or make the run longer"
    last = max(reached, key=lambda name: min(entries[name]))
    step, per_epoch = min(entries[last]), machine.run.steps_per_epoch
    epoch = f" (epoch {step // per_epoch})" if per_epoch else ""
    return f'Make the run longer: "{last}" can be entered from step {step}{epoch} on. Or shorten what is asked for'
