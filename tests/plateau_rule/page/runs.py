"""Run folders for tests of the page: written as an adapter writes them, with losses that answer to the curriculum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.reading import contents, loads
from plateau_rule.sim.run_folder import RunFolder

TOTAL, PER_EPOCH = 1600, 80
LIMITS = {"cutoff": 1025}


def loss_at(step: int, entered: int, hardness: int) -> float:
    """A loss that falls after each raise, to a floor that is lower the harder the state; with a little noise."""
    since = step - entered
    noise = 0.04 * math.sin(12.9898 * step) * math.cos(78.233 * step)
    return 2.6 - 0.35 * hardness + (2.0 if not hardness else 0.35) * math.exp(-since / (25 + 12 * hardness)) + noise


class Training:
    """A training that goes on step by step, and writes its folder.

    Args:
        folder: to write.
        curriculum: its name or file.
        total: steps of the run.
    """

    def __init__(self, folder: Path, curriculum: str = "plateau", total: int = TOTAL) -> None:
        loaded = loads(*contents(curriculum))
        epochs = max(1, total // PER_EPOCH)
        self.controller = Controller(loaded, limits=_limits(loaded), epochs=epochs, steps_per_epoch=PER_EPOCH)
        self.folder = folder
        self.saved: dict[int, dict[str, object]] = {}
        self._rows = RunFolder(folder, self.controller, 0, "test")
        self._entered, self._hardness = 0, 0

    def steps(self, until: int) -> Iterator[int]:
        """Train up to a step."""
        while (plan := self.controller.plan).stop is None and plan.step < until:
            if plan.step % PER_EPOCH == 0:
                self.saved[plan.step] = self.controller.state_dict()
            loss = loss_at(plan.step, self._entered, self._hardness)
            self._rows.step(plan, loss)
            decision = self.controller.observe(loss)
            if decision is not None:
                self._rows.decision(decision, self.controller.plan.requests)
                self._entered, self._hardness = decision.step, self._hardness + 1
            yield plan.step

    def train(self, until: int = TOTAL) -> Training:
        """Train up to a step, all at once."""
        for _ in self.steps(until):
            pass
        return self

    def resume(self, step: int) -> Training:
        """Go on from an earlier step, as after a kill: the rows from there on are cut off."""
        self._rows.close()
        self.controller.load_state_dict(self.saved[step])
        self._rows = RunFolder(self.folder, self.controller, step, "test")
        return self

    def close(self) -> None:
        """Give the files back."""
        self._rows.close()


def _limits(curriculum: object) -> dict[str, float] | None:
    knobs = getattr(curriculum, "knob", {})
    return {name: limit for name, limit in LIMITS.items() if name in knobs} or None
