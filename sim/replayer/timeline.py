"""What a replay finds: the transitions, the stays between them, and how close each guard came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from plateau_rule.controller.guards import Clock, GuardInState, Watched, leaves
from plateau_rule.controller.guards.reading import Reading
from plateau_rule.controller.guards.word import Advice
from plateau_rule.controller.language.curriculum import Curriculum, Guard, word_of
from plateau_rule.controller.machine import BoundTransition, Knobs
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.sim.logs import LogReport
from plateau_rule.sim.replayer.setting import Setting
from plateau_rule.sim.replayer.trace import Floats, Trace


@dataclass
class Asked:
    """One guard of one transition, over the looks of one stay in a state.

    Attributes:
        advice: what to turn to make it hold earlier or later; None where no single thing does.
        watches: whether a metric has a say in it.
        looks: how often its value was written down.
        true: how often it was true.
        unknown: how often it was unknown.
        closest: the line that says how close it came to being true, with its value.
        closest_step: the step of that line.
    """

    transition: str
    to: str
    guard: str
    advice: Advice | None
    watches: bool
    looks: int = 0
    true: int = 0
    unknown: int = 0
    closest: str = ""
    closest_step: int = 0
    distance: float = inf

    @classmethod
    def of(cls, transition: BoundTransition, guard: GuardInState, written: Guard) -> Asked:
        """Nothing written down yet of a guard of a transition."""
        advice = word_of(written).advice(written.value)
        watches = any(isinstance(leaf, Watched) for leaf in leaves(guard))
        return cls(transition.title, transition.target, guard.title, advice, watches)

    def note(self, guard: GuardInState, clock: Clock) -> bool | None:
        """Write down what the guard says now; its verdict."""
        verdict = guard.verdict(clock)
        self.looks += 1
        self.true += verdict is True
        self.unknown += verdict is None
        distance = guard.distance(clock) if verdict is not None else inf
        if distance < self.distance or self.distance == inf:
            self.distance, self.closest_step = distance, clock.step
            self.closest = _in_words(guard.reading(clock))
        return verdict


def _in_words(reading: Reading) -> str:
    """A reading in one line. Of guards that are joined, no look is closest: their parts stand as at the last one."""
    return f"{reading.title}: {reading.text or f'last look: {_of_parts(reading)}'}"


def _of_parts(reading: Reading) -> str:
    return "; ".join(f"{part.title}: {part.text}" if part.text else _of_parts(part) for part in reading.parts)


@dataclass
class LoggedStay:
    """One stay in a state.

    Attributes:
        entered: its first step.
        left: the first step of the next state; None if it lasted to the end.
        asked: the guards of the transitions out of it.
        refused: how often all clocks allowed a transition, the losses were enough for an answer, and the answer was no.
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

    Attributes:
        points: the number of observed points.
        skipped: what was not observed, by reason.
        decisions: the transitions, in order.
        before: for each transition, the last losses of the state that it left.
        stays: the states, in order.
        final: the plan after the last observation.
        ended: why there was nothing after it.
        trace: the losses.
        samples: plans along the way.
        answers: whether the losses answer to these transitions, because the log is of a run that made them; None if the
            log does not tell.
        lines: every guard, after the last observation.
        sampled: where every step is a look, one look in this many is in `stays`.
    """

    curriculum: Curriculum
    fingerprint: str
    setting: Setting
    report: LogReport
    points: int
    skipped: Mapping[str, int]
    decisions: tuple[Decision, ...]
    before: tuple[Floats, ...]
    stays: tuple[LoggedStay, ...]
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

    def _repr_html_(self) -> str:
        """The curve and what was decided on it, as a notebook shows them."""
        from plateau_rule.sim.replayer.card import card_of

        return card_of(self)

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
            "stays": [
                {
                    "state": stay.state,
                    "entered": self.shown(stay.entered),
                    "left": None if stay.left is None else self.shown(stay.left),
                    "guards": [
                        {
                            "guard": asked.guard,
                            "looks": asked.looks,
                            "true": asked.true,
                            "unknown": asked.unknown,
                            "closest": asked.closest.removeprefix(f"{asked.guard}: "),
                            "closest_step": self.shown(asked.closest_step),
                        }
                        for asked in stay.asked
                    ],
                }
                for stay in self.stays
            ],
        }
