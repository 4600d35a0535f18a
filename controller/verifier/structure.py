"""What a bound curriculum says by itself: where a run is to get to, and which transitions restart the rate."""

from __future__ import annotations

from plateau_rule.controller.machine import BoundState, BoundTransition, Machine


def is_final(state: BoundState) -> bool:
    """Whether a run ends in a state: no transition leaves it, or none but retreats and it says so."""
    return state.final or not state.transitions


def goals(machine: Machine) -> frozenset[int]:
    """The states that a run is to get to: the final ones that do not stop the training, else the last such state."""
    training = [place for place, state in enumerate(machine.states) if state.stop is None]
    final = [place for place in training if is_final(machine.states[place])]
    return frozenset(final or training[-1:] or range(len(machine.states)))


def restarts_rate(transition: BoundTransition) -> bool:
    """Whether a transition restarts the rate."""
    return any(action.name == "lr_restart" for action in transition.actions)
