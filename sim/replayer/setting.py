"""What a curriculum is bound to in a replay: the run's own record, what the log shows, what the user says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.errors import CurriculumError, PlateauError
from plateau_rule.controller.guards import WORDS
from plateau_rule.controller.language.amounts import parse_amount, steps_in
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.fingerprint import fingerprints
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.lead import steps_shown
from plateau_rule.controller.limits import for_every_knob
from plateau_rule.controller.machine import Limits, limits_shown
from plateau_rule.sim.logs import Log
from plateau_rule.sim.logs.epochs import first_step_of, steps_per_epoch_of
from plateau_rule.sim.run_files import METRICS, RECORD


class ReplayError(PlateauError):
    """A log that cannot be replayed as it was asked for."""


@dataclass(frozen=True)
class Setting:
    """How a curriculum is bound for one replay, and how the log is read.

    Attributes:
        binding: what it is bound to.
        withheld: steps whose loss was observed and kept from the guards, because the optimizer step was dropped.
        first_step: what the log calls a run's first step, 0 or 1.
        stretched: a log of one value an epoch; its points stand at the ends of epochs of steps_per_epoch steps.
        notes: where each number comes from, in sentences.
    """

    binding: Binding
    first_step: int
    stretched: bool
    withheld: frozenset[int] = frozenset()
    notes: tuple[str, ...] = field(default=())

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps in an epoch, None where there are no epochs."""
        return self.binding.steps_per_epoch

    @property
    def lag(self) -> int:
        """By how many steps the losses came late."""
        return self.binding.lag or 0


def record_of(log: Log) -> Mapping[str, Any] | None:
    """What the trainer wrote down about the run beside its metrics, or None where it is not a run of ours.

    Raises:
        ReplayError: the record is there and cannot be read.
    """
    for metrics in _metrics_files(log):
        path = metrics.parent / RECORD
        if not path.is_file():
            continue
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            bound = record["bound"]
            found = {"fingerprint": _fingerprint_of(record), "file": str(path)}
            return {**found, **{key: bound[key] for key in _BOUND}, "lead": bound.get("lead")}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            if not log.changes:  # a run.json of somebody else's
                return None
            raise ReplayError(
                f"{path}: the record of the run cannot be read ({type(error).__name__}: {error}). "
                "Move it away, and say with --epochs, --steps-per-epoch and --limit what the run was"
            ) from None
    return None


def _fingerprint_of(record: Mapping[str, Any]) -> str:
    """What the run's curriculum means: by its text if there is one, since another version may spell it otherwise."""
    written = record.get("curriculum")
    if isinstance(written, Mapping) and isinstance(written.get("text"), str):
        with suppress(CurriculumError):
            return fingerprints(loads(written["text"]))[0]
    return str(record["fingerprint"])


def _metrics_files(log: Log) -> list[Path]:
    """The files of a log that a trainer of ours could have written."""
    places = [Path(name) for name in log.report.files]
    files = [place / METRICS if place.is_dir() else place for place in places]
    return [path for path in files if path.name == METRICS]


def _withheld(log: Log) -> frozenset[int]:
    """Steps that the trainer marked as skipped; of a step that stands there twice the last row counts."""
    found: dict[int, bool] = {}
    for path in _metrics_files(log):
        with path.open("rb") as file:
            for line in file:
                if b'"skipped"' in line:
                    try:
                        row = json.loads(line)
                        found[int(row["step"])] = row["skipped"] is True
                    except (ValueError, KeyError, TypeError, RecursionError):
                        continue  # the reader has counted this line as unreadable
                elif found:
                    step = _STEP.search(line)
                    if step:
                        found.pop(int(step[1]), None)
    return frozenset(step for step, is_skipped in found.items() if is_skipped)


_STEP = re.compile(rb'"step": ?(\d{1,15})\b')
_SHOWN: dict[str, Callable[[Any], str]] = {"limits": limits_shown, "lead": steps_shown}
_BOUND = ("limits", "epochs", "steps_per_epoch", "tokens_per_step", "peak", "lag")


def setting_of(curriculum: Curriculum, log: Log, given: Binding) -> Setting:
    """Decide what a curriculum is bound to: what was given, else the run's record, else the log, else the file.

    Raises:
        ReplayError: the log has no room for what was given, or the record is damaged.
    """
    record = record_of(log)
    notes: list[str] = []
    own: Mapping[str, Any] = {}
    if record is not None:
        own = {key: record[key] for key in (*_BOUND, "lead")}
        same = record["fingerprint"] == fingerprints(curriculum)[0]
        if not same:  # another curriculum has a peak of its own
            own = {**own, "peak": None}
        product = own["tokens_per_step"]
        if isinstance(product, list) and any(isinstance(n, str) and n not in curriculum.knob for n in product):
            own = {**own, "tokens_per_step": None}  # nor need it have the knobs that a step's tokens followed there
        limited = {name: limit for name, limit in (own["limits"] or {}).items() if name in curriculum.knob}
        notes.append(
            f"bound as the run was, by {record['file']}: limits {limits_shown(limited)}, {own['epochs']} epochs of "
            f"{own['steps_per_epoch']} steps" + (f", peak rate {own['peak']:g}" if own["peak"] is not None else "")
            + (f", losses {own['lag']} steps late" if own["lag"] else "")
            + (f", a lead of {steps_shown(own['lead'])}" if own["lead"] else "")
        )  # fmt: skip
        asked = {key: value for key, value in vars(given).items() if value is not None}
        if asked:
            told = ", ".join(f"{key} {_SHOWN.get(key, str)(value)}" for key, value in asked.items())
            notes.append(f"in place of that, as asked: {told}")
    first_step = 0 if record is not None else first_step_of(log)
    begins = (log.report.used.first_step or 0) - first_step
    if begins > 10 * log.report.spacing and log.report.counted == "step":
        notes.append(
            f"the log begins at step {begins + first_step}: up to there only clocks were asked. If an earlier part of "
            "the run was logged elsewhere, name it before this one"
        )
    epochs, per_epoch, said = _length(curriculum, log, given, own, first_step)
    notes += said
    limits = _limits(curriculum, given, own, notes)
    binding = Binding(
        limits,
        epochs=epochs,
        steps_per_epoch=per_epoch,
        tokens_per_step=given.tokens_per_step or own.get("tokens_per_step"),
        peak=given.peak or own.get("peak"),
        lag=given.lag if given.lag is not None else own.get("lag"),
        lead=given.lead if given.lead is not None else own.get("lead"),
    )
    return Setting(
        binding,
        first_step,
        log.report.counted == "epoch",
        frozenset() if record is None else _withheld(log),
        tuple(notes),
    )


def _limits(curriculum: Curriculum, given: Binding, own: Mapping[str, Any], notes: list[str]) -> Limits | None:
    """The trainer's largest values: those that were asked for, and what the run had for the others."""
    had = own.get("limits")
    if given.limits is not None:
        return for_every_knob(curriculum, {**(had or {}), **given.limits})
    if had is not None and (unknown := sorted(curriculum.knob.keys() - had.keys())):
        notes.append(f"that run had no knob {', '.join(unknown)}: `full` stays a word (--limit KNOB=NUMBER sets it)")
        return None
    return had


def _length(
    curriculum: Curriculum, log: Log, given: Binding, own: Mapping[str, Any], first_step: int
) -> tuple[int | None, int | None, list[str]]:
    """Epochs in the run, steps in an epoch, and where they come from."""
    notes = []
    per_epoch, epochs = given.steps_per_epoch, given.epochs
    measured = False
    if per_epoch is None:
        per_epoch = own.get("steps_per_epoch")
    if per_epoch is None and log.report.epoch_steps is not None:
        per_epoch = log.report.epoch_steps
        measured = True
        notes.append(f"epochs from the log: {per_epoch:,} steps each")
    if per_epoch is None and log.report.counted == "step" and not own:
        found = steps_per_epoch_of(log, first_step)
        if found is not None:
            per_epoch, exact = found
            measured = True
            notes.append(f"epochs from the log: {'' if exact else 'about '}{per_epoch:,} steps each")
    if per_epoch is None:
        per_epoch = curriculum.run.steps_per_epoch
        if per_epoch is not None:
            notes.append(
                f"epochs from the curriculum's [run]: {per_epoch:,} steps each (--steps-per-epoch replaces it)"
            )
    if per_epoch is None and log.report.counted == "epoch":
        per_epoch = 1
        notes.append(
            "one point an epoch, and no steps: each point counts as an epoch of 1 step (--steps-per-epoch replaces it)"
        )
    epochs = own.get("epochs") if epochs is None else epochs
    if epochs is None:
        shown = _epochs_shown(log, per_epoch, first_step)
        epochs = curriculum.run.epochs
        if shown is not None and (measured or (epochs is not None and shown > epochs)):
            notes.append(f"length of the run from the log: {shown:,} epochs (--epochs replaces it)")
            epochs = shown
        elif epochs is not None and shown is not None and shown < epochs:
            notes.append(f"the log ends in epoch {shown - 1} of a run of {epochs} (--epochs replaces the curriculum's)")
    return epochs, per_epoch, notes


def _epochs_shown(log: Log, per_epoch: int | None, first_step: int) -> int | None:
    last = log.report.used.last_step
    if last is None or per_epoch is None:
        return None
    done = (last - first_step + 1) * (per_epoch if log.report.counted == "epoch" else 1)
    return max(1, ceil(done / per_epoch))


def per_point(curriculum: Curriculum, setting: Setting, spacing: int) -> Curriculum:
    """A curriculum for a log in which one value of the loss stands for `spacing` steps.

    What a guard on the loss measures by time means steps: a threshold `per = "1000 steps"`, the stretches of `gap`. A
    detector counts values, so both are restated in values.
    """
    run = setting.binding.run

    def steps(text: str) -> int:
        return steps_in(parse_amount(text), run, run.total_steps)

    written = curriculum.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return Curriculum.model_validate(written) if _restate(written, steps, spacing) else curriculum


def _restate(written: Any, steps: Callable[[str], int], spacing: int) -> bool:
    """Restate the guards on the loss inside a part of a curriculum, in place; whether there were any."""
    if isinstance(written, list):
        return sum(_restate(part, steps, spacing) for part in written) > 0  # all of them, not up to the first
    if not isinstance(written, dict):
        return False
    changed = False
    for key, value in written.items():
        watches = key in WORDS and isinstance(value, dict) and value.get("metric", "loss") == "loss"
        restated = WORDS[key].per_point(value, spacing, steps) if watches else None
        if restated is not None:
            written[key], changed = restated, True
        else:
            changed |= _restate(value, steps, spacing)
    return changed
