"""RunState: everything that changes in a run, as one value."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from plateau_rule.controller.guards import Clock
from plateau_rule.controller.machine import Action, BoundState, Stay
from plateau_rule.controller.rate import RateClock
from plateau_rule.controller.readings import Way

LOOKS_REMEMBERED = 64
MISSING, OVER = "missing", "over"  # what a user is told once
SILENT = frozenset((MISSING, OVER))


class Waiting(NamedTuple):
    """A transition that was decided and does not apply yet.

    Attributes:
        place: its place among those out of the state.
        step: the first step that it applies to.
        since: the step whose observation decided it; None where it was certain before the run.
        loss: the loss of that step.
        lines: every guard that was looked at then; None where clocks decided it before its time.
        readings: the same as numbers; none where `lines` is None, or in a snapshot of an earlier version.
    """

    place: int
    step: int
    since: int | None
    loss: float | None = None
    lines: tuple[str, ...] | None = None
    readings: tuple[Way, ...] = ()


class Seen(NamedTuple):
    """What was seen at one look; the lines are made when they are asked for, as nearly none ever is.

    Attributes:
        step: the first step that it applied, or could have applied, to.
        before: a line about the state or about what waits.
        ways: the transitions out of the state.
        after: a line about an evaluation that was not looked at.
    """

    step: int
    before: str | None
    ways: tuple[Way, ...]
    after: str | None

    def lines(self) -> list[str]:
        """All of it in lines."""
        said = [] if self.before is None else [self.before]
        said += [line for way in self.ways for line in way.lines()]
        return said if self.after is None else [*said, self.after]


class Due(NamedTuple):
    """The first look of a stay at which a transition is taken whatever the losses are."""

    time: int
    place: int


class RunState(Clock):
    """Everything that changes in a run.

    It decides nothing: `step.take_step` changes it in place, and `copy` is the only way to have two. The hands of the
    clock are its own: `step`, `epoch`, `time`, `closings` and `nonfinite`.

    Args:
        state: the state that the run is in.
        stay: its guards and their detectors, since it was entered.
        rate: the learning rate's clock.
        entered_length: how long the run was bound to be when the state was entered, as a Machine's `length`; amounts of
            time in it are measured on that.
    """

    __slots__ = (
        "due",
        "entered_length",
        "evaluated",
        "floors",
        "given",
        "looks",
        "lr_before",
        "rate",
        "remark",
        "requests",
        "said",
        "since",
        "skipped_values",
        "state",
        "stay",
        "sustained",
        "taken",
        "waiting",
    )

    def __init__(self, state: BoundState, stay: Stay, rate: RateClock, entered_length: int | None) -> None:
        super().__init__()
        self.state, self.stay, self.rate, self.entered_length = state, stay, rate, entered_length
        self.sustained: list[int] = [0] * len(state.transitions)  # looks in a row that held, for each transition
        self.taken: dict[str, int] = {}  # how often each transition was taken, by its key
        self.floors: dict[str, float] = {}  # how hard each knob has been; no resume goes below
        self.requests: tuple[Action, ...] = ()  # for the trainer, before the next step
        self.skipped_values = 0  # NaN and infinite values in the whole run
        self.evaluated = -1  # the step before which the last evaluation came
        self.given: set[str] = set()  # names of metrics that came
        self.lr_before: float | None = None  # the rate of the step before, where the rate's clock has gone on since
        self.remark: tuple[int, str] | None = None  # on an evaluation that was not looked at, for `explain`
        self.said = SILENT  # what the user was told already, or need not be, as nobody trains
        self.looks: deque[Seen] = deque(maxlen=LOOKS_REMEMBERED)  # what `explain` still knows
        # Where a lead is bound:
        self.waiting: Waiting | None = None
        self.due: Due | None = None
        self.since: int | None = None  # the step whose observation made this stay certain; None: it always was

    def copy(self, stay: Stay | None = None) -> RunState:
        """A run that stands where this one stands, and goes on without it.

        Args:
            stay: in place of a copy of its own; this run's, where the other one will not observe anything in it.
        """
        twin = RunState(self.state, stay or self.stay.copy(), self.rate, self.entered_length)
        twin.step, twin.epoch, twin.time = self.step, self.epoch, self.time
        twin.closings, twin.nonfinite = self.closings, self.nonfinite
        twin.sustained, twin.taken, twin.floors = self.sustained.copy(), self.taken.copy(), self.floors.copy()
        twin.requests, twin.skipped_values, twin.looks = self.requests, self.skipped_values, self.looks.copy()
        twin.waiting, twin.due, twin.since = self.waiting, self.due, self.since
        twin.evaluated, twin.given, twin.lr_before = self.evaluated, self.given.copy(), self.lr_before
        twin.remark, twin.said = self.remark, self.said
        return twin

    def __copy__(self) -> RunState:
        """Two runs share nothing that changes, however they were copied."""
        return self.copy()

    def __deepcopy__(self, memo: Any) -> RunState:
        """What never changes, the curriculum's states, is shared."""
        return self.copy()
