"""What a log turned out to be: what was used, what was passed over, and what its values mean to a guard."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from plateau_rule.sim.logs.series import is_eval
from plateau_rule.sim.logs.spans import Span


@dataclass(frozen=True, slots=True)
class LogReport:
    """The truth about a log.

    files: what was read. format: the formats found in them. series: the column that was read; run: the run, where a
    file holds several; others: columns that could have been read instead.
    found: the points as they stand in the files, in that order. used: the points that are handed out, by step.
    dropped: what was passed over, by reason; places: where the first of each stood ("file:line").
    nonfinite: used points that are NaN or infinite. steps_back: how often a step was lower than the one before.
    counted: what `step` counts: "step", "epoch" (one point an epoch) or "row" (the log has no steps).
    epoch_steps: steps in an epoch, where the log counts them within epochs; else None.
    spacing: the usual distance of two points in that unit; regular: the share of points at that distance.
    epochs: the first and last epoch as logged, or None. evals: how many points each metric of evaluations has;
    eval_loss: the one among them that is a loss.
    meaning: what one value is; effect: what that does to a guard. ema: the coefficient of the moving average that the
    values seem to have gone through (1.0: close to 1), or None. undone: the one that was taken back.
    warnings: what else should be known, in sentences.
    """

    files: tuple[str, ...]
    format: str
    series: str
    run: str | None
    others: tuple[str, ...]
    found: Span
    used: Span
    dropped: dict[str, int]
    places: dict[str, str]
    nonfinite: int
    steps_back: int
    counted: str
    epoch_steps: int | None
    spacing: int
    regular: float
    epochs: tuple[float, float] | None
    evals: dict[str, int]
    eval_loss: str | None
    meaning: str
    effect: str
    ema: float | None
    undone: float | None
    warnings: tuple[str, ...]

    def window(self, observations: int) -> str:
        """What a window of this many observations means in this log, in a sentence."""
        unit = {"step": "steps", "epoch": "epochs", "row": "logged rows"}[self.counted]
        if self.counted == "row" or (self.counted, self.spacing) == ("step", 1):
            return f"a window of {observations:,} observations is {observations:,} {unit}"
        reach = observations * self.spacing
        one = "step" if self.counted == "step" else "epoch"
        every = f"{self.spacing:,} {unit}" if self.spacing > 1 else one
        return f"a window of {observations:,} observations is {reach:,} {unit}: one observation every {every}"

    def __str__(self) -> str:
        lines = [
            f"{', '.join(self.files)}: {self.format}",
            f"  series    {self.series}" + (f", run {self.run}" if self.run else ""),
            f"  used      {self.used}",
            f"  meaning   {self.meaning}: {self.effect}",
            f"  window    {self.window(50)}",
        ]
        for reason, count in self.dropped.items():
            place = f" (first: {self.places[reason]})" if reason in self.places else ""
            lines.append(f"  dropped   {count:,}: {reason}{place}")
        counts = {name: f"{name} ({count:,})" for name, count in self.evals.items()}
        for title, said in (("evals", True), ("metrics", False)):
            if names := [text for name, text in counts.items() if is_eval(name) is said]:
                lines.append(f"  {title:<8}  {', '.join(names)}")
        lines += [f"  note      {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """The report as plain data for JSON, NaN and infinities spelt as text."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value
