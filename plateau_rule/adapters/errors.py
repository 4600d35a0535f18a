"""What can be wrong between a trainer and a curriculum, each with a sentence that says what to do."""

from __future__ import annotations

from plateau_rule.controller.errors import PlateauError


class WiringError(PlateauError):
    """A trainer and a curriculum that cannot work together as they are put together."""


class WiringWarning(UserWarning):
    """They work together, but not all of it as it was probably meant."""
