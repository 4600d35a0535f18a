"""RunState: everything that changes in a run, as one value."""

from __future__ import annotations

from collections import deque
from typing import Any

from plateau_rule.controller.guards import Clock
from plateau_rule.controller.machine import Action, BoundState, Stay
from plateau_rule.controller.rate import RateClock

LOOKS_REMEMBERED = 64


class RunState(Clock):
    """Everything that changes in a run.

    It decides nothing: `step.take_step` changes it in place, and `copy` is the only way to have two. The hands of the
    clock are its own: `step`, `epoch`, `time`, `closings` and `nonfinite`.

    Args:
        state: the state that the run is in.
        stay: its guards and their detectors, since it was entered.
        rate: the learning rate's clock.
        entered_total_steps: how long the run was bound to be when the state was entered; amounts of time in it are
            measured on that.
    """

    __slots__ = (
        "entered_total_steps",
        "floors",
        "looks",
        "rate",
        "requests",
        "skipped_values",
        "state",
        "stay",
        "sustained",
        "taken",
    )

    def __init__(self, state: BoundState, stay: Stay, rate: RateClock, entered_total_steps: int | None) -> None:
        super().__init__()
        self.state, self.stay, self.rate, self.entered_total_steps = state, stay, rate, entered_total_steps
        self.sustained: list[int] = [0] * len(state.transitions)  # looks in a row that held, for each transition
        self.taken: dict[str, int] = {}  # how often each transition was taken, by its key
        self.floors: dict[str, float] = {}  # how hard each knob has been; no resume goes below
        self.requests: tuple[Action, ...] = ()  # for the trainer, before the next step
        self.skipped_values = 0  # NaN and infinite values in the whole run
        self.looks: deque[tuple[int, tuple[str, ...]]] = deque(maxlen=LOOKS_REMEMBERED)  # what `explain` still knows

    def copy(self) -> RunState:
        """A run that stands where this one stands, and goes on without it."""
        twin = RunState(self.state, self.stay.copy(), self.rate, self.entered_total_steps)
        twin.step, twin.epoch, twin.time = self.step, self.epoch, self.time
        twin.closings, twin.nonfinite = self.closings, self.nonfinite
        twin.sustained, twin.taken, twin.floors = self.sustained.copy(), self.taken.copy(), self.floors.copy()
        twin.requests, twin.skipped_values, twin.looks = self.requests, self.skipped_values, self.looks.copy()
        return twin

    def __copy__(self) -> RunState:
        """Two runs share nothing that changes, however they were copied."""
        return self.copy()

    def __deepcopy__(self, memo: Any) -> RunState:
        """What never changes, the curriculum's states, is shared."""
        return self.copy()
