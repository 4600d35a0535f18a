"""Options that `probe` and `compare` share: what trains, and where it is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import bar
from plateau_rule.sim.shards import Engine

if TYPE_CHECKING:
    from plateau_rule.controller.language.curriculum import Curriculum
    from plateau_rule.trials.pool import Progress
    from plateau_rule.trials.trainer import Trainer


@Parameter(name="*")
@dataclass(frozen=True)
class TrialOptions:
    """What trains, and where it is kept."""

    trainer: str = "fftcore"
    """`fftcore` with its options, a function `mine.py:train`, or a command line: see docs/where-it-pays.md."""
    first_seed: Annotated[int, Parameter(validator=Number(gte=0, lte=2**31))] = 0
    """The first of the seeds."""
    steps_per_epoch: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    """Optimizer steps in an epoch, in place of the curriculum's; a trainer scores when an epoch closes."""
    workers: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    """Trainings at a time, each in a process of its own; one per core by default."""
    engine: Engine = "processes"
    """What runs the trainings. `ray` needs the extra of that name, and a folder that all machines have."""
    out: Annotated[Path | None, Parameter(name="--out")] = None  # -o is the picture
    """The folder of the experiment; by default one below `trials/`."""

    def read_trainer(self) -> Trainer:
        """What trains."""
        from plateau_rule.trials.trainer import Trainer

        return Trainer.read(self.trainer)

    def load(self, name: str) -> Curriculum:
        """A curriculum, with what these options say of its run."""
        from plateau_rule.controller.language.reading import load
        from plateau_rule.trials.budget import changed

        curriculum = load(name)
        if self.steps_per_epoch is None:
            return curriculum
        run = changed(curriculum.run, steps_per_epoch=self.steps_per_epoch)
        return changed(curriculum, run=run)

    def seeds(self, count: int) -> range:
        """That many seeds."""
        return range(self.first_seed, self.first_seed + count)

    def folder(self, name: str) -> Path:
        """The folder of the experiment, if none is named, below `trials/`."""
        return self.out if self.out is not None else Path("trials") / name

    @contextmanager
    def training(self, folder: Path) -> Iterator[Progress | None]:
        """The bar of the trainings; who interrupts them is told what is kept."""
        try:
            with bar("training", "trainings") as progress:
                yield progress
        except KeyboardInterrupt:
            told = f"Interrupted. What is finished is kept in {folder}: the same command goes on from there"
            print(told, file=sys.stderr)
            raise


TRIALS = TrialOptions()
