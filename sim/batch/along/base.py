"""What a detector along time is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.kleene import Verdicts

Counts = NDArray[np.int64]


class Along(ABC):
    """One detector over the finite values of one stay.

    Attributes:
        of: the class of the controller's detector.
        values: all values that are there by now, from the first one of the stay on.
    """

    of: ClassVar[type[Any]]

    def __init__(self) -> None:
        self.values: Floats = np.empty(0)

    def see(self, values: Floats) -> None:
        """Take all values of the stay; those that were there before are the same."""
        self.values = values

    @abstractmethod
    def verdicts(self, counts: Counts) -> Verdicts:
        """What the detector says after so many values, for each of these counts.

        Args:
            counts: [look], not falling; no more than there are values.
        """

    @abstractmethod
    def fill(self, scalar: Any, count: int) -> None:
        """Bring a detector of the controller to where it stands after so many values."""
