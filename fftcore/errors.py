"""What can go wrong in a run, each with a sentence that says what to do."""

from __future__ import annotations

from plateau_rule.controller.errors import PlateauError


class TextError(PlateauError):
    """A text that cannot be trained on."""


class StorageError(PlateauError):
    """The disk refused; what was whole before is still whole."""


class CheckpointError(PlateauError):
    """No checkpoint that can be used, or one that does not fit this run."""


class RunError(PlateauError):
    """A run that cannot be begun, or not be continued, as it was asked for."""


class LeakError(PlateauError):
    """The model scores better on a whole window than as a stream: it sees what it is asked to predict."""


class RanksError(PlateauError):
    """The processes that train one run together differ, or one of them is gone."""
