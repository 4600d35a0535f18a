"""What an adapter notices on the way, so that wrong use gets a sentence, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from warnings import warn

from plateau_rule.adapters.errors import WiringWarning
from plateau_rule.controller.language.metrics import LOSS, comes_at
from plateau_rule.controller.machine import Knobs, Machine


class Watch:
    """What was noticed in one run.

    Args:
        framework: that the warnings name.
        applied: knobs that are known to be applied.
    """

    def __init__(self, framework: str, applied: Iterable[str]) -> None:
        self.framework, self.applied = framework, set(applied)
        self._said: set[str] = set()
        self._changed_at: set[int] = set()
        self._looked = False

    def say(self, key: str, sentence: str) -> None:
        """Warn, once for each key."""
        if key not in self._said:
            self._said.add(key)
            warn(f"{self.framework}: {sentence}", WiringWarning, stacklevel=3)

    def rate_changed(self, step: int, place: int, here: float, ours: float) -> None:
        """Something else has set a group's rate; if it goes on, say so. Once may be the loading of a checkpoint."""
        self._changed_at.add(step)
        if len(self._changed_at) == 2:
            self.say(
                "owner",
                f"group {place} has the rate {here:.6g}, and the curriculum had set {ours:.6g}: something else sets it "
                "too, such as a scheduler. The curriculum's rate is in force on every step; take the other one out",
            )

    def look_for_unapplied(self, machine: Machine) -> None:
        """After the first step, say which knobs that the curriculum moves nobody has looked at."""
        if self._looked:
            return
        self._looked = True
        first = machine.states[0].knobs
        moving = {name for state in machine.states for name in state.ramps}
        moving |= {name for state in machine.states for name in first if state.knobs[name] != first[name]}
        if left := sorted(moving - self.applied):
            self.say(
                "knobs",
                f"nobody applies {', '.join(left)}: the curriculum changes it, and no batch or model will follow. Give "
                "a function for it by `shape`, read it from `knobs` on every step, or name it in `applied` if your "
                "code turns it in another way",
            )

    def of_evaluations(self, machine: Machine, metrics: Mapping[str, float]) -> dict[str, float]:
        """Those of an evaluation's metrics that may come with one; if a guard watches another, that is said once."""
        here: dict[str, float] = {}
        for name, value in metrics.items():
            if name == LOSS:
                self.say(name, "an evaluation brought loss, which is left out: the training loss has that name. Give "
                               "that of an evaluation another, such as val_loss")  # fmt: skip
            elif name in machine.guarded and name not in machine.evaluated:
                at = comes_at(machine.curriculum, name)
                self.say(name, f'an evaluation brought {name}, which is left out: [metric.{name}] says at = "{at}". '
                               'Write at = "eval" if it comes with evaluations')  # fmt: skip
            else:
                here[name] = value
        return here


class KnobsRead(Mapping[str, Any]):
    """A plan's knobs, which note down which of them were looked at.

    Args:
        knobs: the plan's.
        read: the names are added here.
    """

    def __init__(self, knobs: Knobs, read: set[str]) -> None:
        self._knobs, self._read = knobs, read

    def __getitem__(self, name: str) -> Any:
        value = self._knobs[name]
        self._read.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._knobs)

    def __len__(self) -> int:
        return len(self._knobs)
