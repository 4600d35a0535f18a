"""What a step takes under each setting of the knobs: measured once for an experiment, and kept in its folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plateau_rule.controller.language.canonical import digest
from plateau_rule.controller.language.curriculum import Curriculum, Run
from plateau_rule.controller.language.writing import dumps
from plateau_rule.trials.budget import TrainingBudget, TrialError, changed
from plateau_rule.trials.cell import LOG, Cell
from plateau_rule.trials.curve import Curve
from plateau_rule.trials.pool import Progress, logged, train_cells
from plateau_rule.trials.rungs import Setting, constant
from plateau_rule.trials.trainer import Trainer

EPOCHS, STEPS = 4, 5  # of a run that is timed; its fastest epoch counts, for a busy machine only makes steps slower


@dataclass(frozen=True)
class Prices:
    """What steps take.

    Attributes:
        settings: of the knobs, as they are written.
        step_s: seconds of a step under each of them.
        bound: the settings as the trainer has them, `full` as a number, where it says so.
        limits: the trainer's largest values, where it says them.
        tokens_per_step: of the trainer, where it says them.
    """

    settings: tuple[Setting, ...]
    step_s: tuple[float, ...]
    bound: tuple[Setting, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    tokens_per_step: Any = None

    @property
    def unit_s(self) -> float:
        """Seconds of a unit of cost: a step under the dearest setting."""
        return max(self.step_s)

    def of(self, setting: Setting) -> float:
        """The price of a step under a setting, that of the dearest one being 1; at least a millionth."""
        seconds = self.step_s[self.settings.index(dict(setting))]
        return max(1e-6, round(seconds / self.unit_s, 4))


def measure_prices(
    curriculum: Curriculum,
    settings: Sequence[Setting],
    trainer: Trainer,
    folder: Path,
    progress: Progress | None = None,
) -> Prices:
    """Time a few steps under each setting, one after the other; what was measured before is read.

    Raises:
        TrialError: the trainer failed, or does not say how long its steps took.
    """
    if trainer.kind == "fftcore":
        return _of_the_byte_model(curriculum, settings, trainer, folder)
    run = Run(epochs=EPOCHS, steps_per_epoch=STEPS)
    cells = []
    for place, setting in enumerate(settings, 1):
        still = constant(curriculum, setting, f"{curriculum.name}-price-{place}")
        kept = {
            key: value for key, value in vars(curriculum.run).items() if key in ("tokens_per_step", "cost_per_step")
        }
        still = changed(still, run=changed(run, **kept))
        cells.append(Cell(still, trainer, 0, TrainingBudget.read(f"{EPOCHS * STEPS} steps")))
    curves = train_cells(cells, folder, 1, progress)
    return Prices(tuple(dict(each) for each in settings), tuple(map(_step_s, curves)))


def _step_s(curve: Curve) -> float:
    """Seconds of a step, by the fastest of the stretches between two points."""
    if "time_s" not in curve.spent:
        raise TrialError(
            'the points of this trainer have no "time_s", the seconds of training until then, so that a step has no '
            "price. Give them, or write prices into the file, [knob.NAME] cost = [ … ], or give a budget in tokens"
        )
    steps, time_s = (np.concatenate(([0.0], curve.spent[axis])) for axis in ("step", "time_s"))
    fastest = float((np.diff(time_s) / np.diff(steps)).min())
    if fastest <= 0:
        raise TrialError('steps took no time by the "time_s" of this trainer: its clock is too coarse, or stands still')
    return fastest


def _of_the_byte_model(curriculum: Curriculum, settings: Sequence[Setting], trainer: Trainer, folder: Path) -> Prices:
    asked = {"words": trainer.words, "settings": [dict(each) for each in settings]}
    known = digest({**asked, "files": trainer.files, "curriculum": dumps(curriculum)})
    place = folder / "prices" / known[:10]
    answer = place / "prices.json"
    if not answer.exists():
        place.mkdir(parents=True, exist_ok=True)
        still = constant(curriculum, settings[-1], curriculum.name)
        still = changed(still, run=Run(epochs=1, steps_per_epoch=1))
        (place / "curriculum.toml").write_text(dumps(still), encoding="utf-8", newline="\n")
        (place / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        words = [sys.executable, "-m", f"{__package__}.byte_model", str(place)]
        if logged(words, place / LOG):
            lines = (place / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = next((line for line in lines if "ended with" not in line), "no word of why")
            raise TrialError(f"a step could not be timed: {said}\nAll that was printed: {place / LOG}")
    found = json.loads(answer.read_bytes())
    return Prices(
        tuple(dict(each) for each in settings),
        tuple(found["step_s"]),
        tuple(found["settings"]),
        found["limits"],
        found["tokens_per_step"],
    )
