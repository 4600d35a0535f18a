"""What a replay finds: the transitions, the stays between them, and how close each guard came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from plateau_rule.controller.guards import Clock, GuardInState, Joined, Reached, Watched
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.machine import Knobs
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.sim.logs import Report
from plateau_rule.sim.replayer.setting import Setting
from plateau_rule.sim.replayer.trace import Floats, Trace


@dataclass
class Asked:
    """One guard of one transition, over the looks of one stay in a state.

    looks: how often it was written down; true, unknown: how often it was that. closest: the line that says how close it
    came to be true, with its value, at step `closest_step`.
    """

    transition: str
    to: str
    guard: str
    looks: int = 0
    true: int = 0
    unknown: int = 0
    closest: str = ""
    closest_step: int = 0
    distance: float = inf

    def note(self, guard: GuardInState, clock: Clock) -> bool | None:
        """Write down what the guard says now; its verdict."""
        verdict = guard.verdict(clock)
        self.looks += 1
        self.true += verdict is True
        self.unknown += verdict is None
        distance = distance_of(guard, clock) if verdict is not None else inf
        if distance < self.distance or self.distance == inf:
            self.distance, self.closest_step = distance, clock.step
            self.closest = guard.lines(clock, "")[0].rpartition(" -> ")[0]
        return verdict


@dataclass
class Stay:
    """One stay in a state, from step `entered` up to `left`, None if it lasted to the end.

    asked: the guards of the transitions out of it. refused: how often all clocks allowed a transition, the losses were
    enough for an answer, and the answer was no.
    """

    state: str
    knobs: Knobs
    entered: int
    left: int | None = None
    asked: list[Asked] = field(default_factory=list)
    refused: int = 0


class Sample(NamedTuple):
    """The plan of one step, for drawing."""

    step: int
    lr: float
    knobs: Knobs


@dataclass(frozen=True)
class Timeline:
    """What a replay found. Steps are the controller's, from 0; `shown` gives those of the log.

    points: observed ones. skipped: what was not, by reason. decisions: the transitions, in order; before: for each, the
    last losses of the state that it left. stays: the states in order. final: the plan after the last observation.
    ended: why there was nothing after it. trace: the losses. samples: plans along the way. answers: whether the losses
    answer to these very transitions, because the log is of a run that made them; None if the log tells of none.
    lines: every guard, after the last observation. sampled: of looks at every step, one in so many is in `stays`.
    """

    curriculum: Curriculum
    fingerprint: str
    setting: Setting
    report: Report
    points: int
    skipped: Mapping[str, int]
    decisions: tuple[Decision, ...]
    before: tuple[Floats, ...]
    stays: tuple[Stay, ...]
    final: Plan
    ended: str
    trace: Trace
    samples: tuple[Sample, ...]
    answers: bool | None
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    sampled: int = 1

    def shown(self, step: int) -> int:
        """A step as the log counts it."""
        return step if self.setting.stretched else step + self.setting.first_step

    def as_dict(self) -> dict[str, Any]:
        """The replay as plain data for JSON; not-a-number and infinity as None."""
        return {
            "curriculum": self.curriculum.name,
            "fingerprint": self.fingerprint,
            "points": self.points,
            "skipped": dict(self.skipped),
            "transitions": [
                {
                    "step": self.shown(decision.step),
                    "epoch": decision.epoch,
                    "from": decision.from_state,
                    "to": decision.to_state,
                    "knobs": dict(decision.knobs),
                    "lr": decision.lr,
                    "loss": decision.loss if decision.loss is not None and abs(decision.loss) < inf else None,
                }
                for decision in self.decisions
            ],
            "final": {
                "step": self.shown(self.final.step),
                "state": self.final.state,
                "knobs": dict(self.final.knobs),
                "lr": self.final.lr,
            },
        }


def title_of(guard: GuardInState) -> str:
    """What to call a guard."""
    return guard.word if isinstance(guard, Reached | Watched | Joined) else "not"


def distance_of(guard: GuardInState, clock: Clock) -> float:
    """How far a guard is from being true, in units of its own; infinite where that is not known."""
    if isinstance(guard, Reached):
        return float(max(0, guard.need - getattr(clock, guard.hand)))
    if not isinstance(guard, Watched):
        return inf
    detector: Any = guard.detector
    name = type(detector).__name__
    if name == "Halves":
        improvement = detector.improvement()
        return inf if improvement is None else float(improvement - detector.threshold)
    if name == "NoNewBest":
        return float(detector.spec.steps - detector.contents()["since"])
    if name == "Beside":
        values = detector.contents()
        off = float(sum(values) / len(values) - detector.spec.value)
        return off if detector.below else -off
    return inf
