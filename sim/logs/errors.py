"""What is said when a log cannot be read."""

from __future__ import annotations

from collections.abc import Sequence

from plateau_rule.controller.errors import PlateauError


class LogError(PlateauError):
    """A log that holds no curve, or more than one that could be meant.

    Args:
        file: the file or folder as the user named it.
        found: what is there.
        expected: what was expected instead, if that helps.
        remedy: a sentence that says what to do.
        line: the line it stands in, from 1, where there is one.
        choices: what could be meant, one line each; all are kept, the first 20 are shown.
    """

    SHOWN = 20

    def __init__(
        self,
        file: str,
        found: str,
        expected: str = "",
        remedy: str = "",
        line: int | None = None,
        choices: Sequence[str] = (),
    ) -> None:
        self.file = file
        self.line = line
        self.choices = tuple(choices)
        text = f"{file}:{line}: {found}" if line else f"{file}: {found}"
        if expected:
            text += f"; expected {expected}"
        for choice in self.choices[: self.SHOWN]:
            text += f"\n  {choice}"
        if len(self.choices) > self.SHOWN:
            text += f"\n  … and {len(self.choices) - self.SHOWN} more"
        if remedy:
            text += ("\n" if self.choices else ". ") + remedy
        super().__init__(text)
