"""What a page cannot show."""

from __future__ import annotations

from plateau_rule.controller.errors import PlateauError


class PageError(PlateauError):
    """What cannot be shown on a page."""
