"""What the commands share that use what was trained: which model, where it computes, what is said about it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from plateau_rule.fftcore.trained import Trained


@Parameter(name="*")
@dataclass(frozen=True)
class TrainedOptions:
    """Which of a run's models."""

    step: Annotated[int | None, Parameter(validator=Number(gte=0))] = None
    """The checkpoint of this step; by default the newest that is whole."""

    def read(self, run: Path, device: str | None = None) -> Trained:
        """Read the model, and say on the standard error what was passed over.

        Args:
            run: the folder that was named.
            device: that was asked for; the GPU by default if there is one.
        """
        # As in `plateau train`. Read when torch is loaded, which is below.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from plateau_rule.fftcore.device import choose_device
        from plateau_rule.fftcore.reading import read_trained

        trained = read_trained(run, self.step, choose_device(device))
        for line in trained.passed_over:
            print(f"passed over: {line}", file=sys.stderr)
        return trained


NEWEST = TrainedOptions()
