"""What a simulation says: figures, and sentences that a person can act on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.guards.dwell import Dwell
from plateau_rule.controller.guards.min_epoch import MinEpoch
from plateau_rule.controller.verifier.structure import goals
from plateau_rule.sim.simulator.learner import Mask
from plateau_rule.sim.simulator.simulate import Simulation

EARLY = 2.0  # a raise is too early while the true loss improves at more than this many times the rate called flat
TIMER = 0.5  # share of early raises, from which on a rule does not wait for a flat loss at all
NOTABLE = 0.05  # share of raises or runs, from which on a sentence is said
QUANTILES = (0.05, 0.5, 0.95)


def summary(found: Simulation) -> dict[str, Any]:
    """Everything worth knowing about a simulation, as JSON-able data; `verdicts` are the sentences."""
    outcome, machine = found.outcome, found.machine
    learners = len(outcome.steps)
    raises = _raises(found)
    known: dict[str, Any] = {
        "curriculum": machine.curriculum.name,
        "learners": learners,
        "seed": found.settings.seed,
        "steps": machine.run.total_steps,
        "steps_per_epoch": machine.run.steps_per_epoch,
        "flat_per_step": found.truth.rate,
        "late_steps": found.truth.late,
        "evaluations": found.evaluations,
        "states": [_state(found, place) for place in range(len(machine.states))],
        "raises": {
            "each": len(raises["kind"]) / learners,
            "early": _share(raises["kind"] == "early"),
            "in_time": _share(raises["kind"] == "in time"),
            "late": _share(raises["kind"] == "late"),
            "cascades": _share(raises["cascade"]),
            "stalls": _share(raises["stall"]),
            "after": float(np.median(raises["after"])) if len(raises["after"]) else None,
        },
        "unfinished": _share(~_finished(found)),
        "dead": _share(outcome.dead),
        "loss": _quantiles(outcome.loss),
        "against": _against(found),
    }
    return {**known, "verdicts": verdicts(found, known)}


def _share(mask: Mask) -> float:
    return float(np.mean(mask)) if len(mask) else 0.0


def _quantiles(values: NDArray[Any]) -> list[float] | None:
    values = values[np.isfinite(values)]
    return [float(value) for value in np.quantile(values, QUANTILES)] if len(values) else None


def _state(found: Simulation, place: int) -> dict[str, Any]:
    """When a state is entered, what is spent in it, and how the raises into it went."""
    outcome, state = found.outcome, found.machine.states[place]
    into, raises = outcome.decisions.to_state == place, _raises(found)
    steps = outcome.decisions.step[into]
    entered = np.unique(outcome.decisions.run[into])
    mine = raises["to"] == place
    reached = len(outcome.steps) if place == 0 else len(entered)
    return {
        "name": state.name,
        "knobs": dict(state.knobs),
        "reached": reached / len(outcome.steps),
        "entered": [0.0, 0.0, 0.0] if place == 0 and not len(steps) else _quantiles(steps),
        "entered_by_oracle": _entered_by_oracle(found, place),
        "steps_share": float(outcome.in_state[place].sum() / max(1, outcome.in_state.sum())),
        "cost_share": float(outcome.cost_in_state[place].sum() / max(1e-300, outcome.cost_in_state.sum())),
        "early": _share(raises["kind"][mine] == "early") if mine.any() else None,
        "late": _share(raises["kind"][mine] == "late") if mine.any() else None,
        "stalls": _share(raises["stall"][mine]) if mine.any() else None,
        "rate_after": _rate_share(found, place) if mine.any() else None,
    }


def _entered_by_oracle(found: Simulation, place: int) -> list[float] | None:
    if found.oracle is None or place == 0:
        return None
    decisions = found.oracle.decisions
    return _quantiles(decisions.step[decisions.to_state == place])


def _rate_share(found: Simulation, place: int) -> float:
    """The rate on the first step in a state, as a share of the peak there; the median."""
    decisions, machine = found.outcome.decisions, found.machine
    rates = decisions.lr[decisions.to_state == place]
    return float(np.median(rates) / (machine.peak * machine.states[place].rate.peak))


def _raises(found: Simulation) -> dict[str, NDArray[Any]]:
    """Every raise: early, in time or late; after how many steps in the state; whether a cascade or a stall followed."""
    outcome, truth = found.outcome, found.truth
    decisions = outcome.decisions
    hard = np.array([found.hardness(place) for place in range(len(found.machine.states))])
    rises = np.any(hard[decisions.to_state] > hard[decisions.from_state], axis=1)
    following = np.append(decisions.run[1:] == decisions.run[:-1], False)[: len(decisions)]
    left = np.where(following, np.append(decisions.step[1:], 0)[: len(decisions)], outcome.steps[decisions.run])
    came = np.where(np.append(False, following)[: len(decisions)], np.append(0, decisions.step)[: len(decisions)], 0)
    soon = left - decisions.step < truth.late
    back = (outcome.returned >= 0) & (outcome.returned <= truth.late)
    raised_again = following & np.append(rises[1:], False)[: len(decisions)]
    kind = np.where(outcome.flatness > EARLY, "early", np.where(outcome.flat_steps > truth.late, "late", "in time"))
    return {
        "kind": kind[rises],
        "to": decisions.to_state[rises],
        "after": (decisions.step - came)[rises],
        "cascade": (~back & soon & raised_again)[rises],
        "stall": (~back & ~soon)[rises],
    }


def _finished(found: Simulation) -> Mask:
    ends = goals(found.machine)  # as `check` sees them
    final = np.array([place in ends or state.stop is not None for place, state in enumerate(found.machine.states)])
    return final[found.outcome.final_state]


def _against(found: Simulation) -> dict[str, Any]:
    """Final losses of the same learners, this curriculum less the rival: medians, and how often this one is lower."""
    few = len(found.full_steps)
    mine = found.outcome.loss[:few]
    rivals = {"full_equal_steps": found.full_steps, "full_equal_cost": found.full_cost}
    if found.oracle is not None:
        rivals = {"oracle": found.oracle.loss, **rivals}
    table = {}
    for name, theirs in rivals.items():
        both = np.isfinite(mine) & np.isfinite(theirs)
        difference = (mine - theirs)[both]
        table[name] = {
            "learners": int(both.sum()),
            "difference": _quantiles(difference),
            "lower": _share(difference < 0),
        }
    return table


def verdicts(found: Simulation, known: dict[str, Any]) -> list[str]:
    """What to do about it, the gravest first."""
    raises, said = known["raises"], []
    asked = f"{100_000 * found.truth.rate:.3g} % per 1000 steps"
    rule = bool(found.listens)
    if known["dead"] >= NOTABLE:
        said.append(f"{known['dead']:.0%} of the runs end in NaN: the rate is too high for these learners.")
    if raises["early"] >= TIMER and found.listens:
        said.append(
            f"A timer: {raises['early']:.0%} of the raises come while the true loss still improves more than twice as "
            f"fast as {asked}; half of all raises within {raises['after']:,.0f} steps of entering a state, "
            'whatever the loss does. Give it a longer window, or method = "trend".'
        )
    elif raises["early"] >= NOTABLE:
        said.append(
            f"{raises['early']:.0%} of the raises come too early: the true loss still improves more than twice as fast "
            f"as {asked}." + (" First lengthen `window` (noise), then lower `threshold` (rate)." if rule else "")
        )
    if raises["late"] >= 0.25:
        said.append(
            f"{raises['late']:.0%} of the raises come late: the true loss was flat (less than {asked}) for more "
            f"than {found.truth.late:,} steps."
            + (
                f" Look more often (`at`), wait less (`{MinEpoch.name}`, `{Dwell.name}`), or ask for less."
                if rule
                else ""
            )
        )
    if raises["cascades"] >= NOTABLE / 5:
        said.append(
            f"{raises['cascades']:.1%} of the raises are followed by another before the loss came back: a cascade. "
            f"A state needs a least time (`{Dwell.name}`, or the `cooldown` of a trend)."
        )
    for state in known["states"]:
        if (state["stalls"] or 0.0) >= NOTABLE:
            said.append(
                f'Stalls: after {state["stalls"]:.0%} of the raises into "{state["name"]}" the true loss is not back '
                f"at its level of before within {found.truth.late:,} steps. The rate there begins at "
                f"{state['rate_after']:.0%} of its peak"
                + ("; restart it with the raise." if state["rate_after"] < 0.95 else ".")
            )
    if known["unfinished"] >= NOTABLE:
        said.append(f"{known['unfinished']:.0%} of the runs end before the last state. Add a timeout (`{Dwell.name}`).")
    return said or ["Nothing stands out: raises come in time, nothing stalls, and every run reaches its last state."]
