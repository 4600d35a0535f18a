"""Options that several commands share, read once for all: how to read a log, what a run was; and their output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from plateau_rule.controller.errors import PlateauError, visible

if TYPE_CHECKING:
    from plateau_rule.controller.binding import Binding
    from plateau_rule.controller.language.curriculum import Curriculum
    from plateau_rule.sim.logs import Log

Progress = Callable[[int, int | None], None]
Flag = Annotated[bool, Parameter(show_default=False)]
JsonFlag = Annotated[bool, Parameter(name="--json", show_default=False)]
Several = Annotated[tuple[str, ...], Parameter(show_default=False)]
Many = Annotated[tuple[str, ...], Parameter(show_default=False, consume_multiple=True)]
Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Picture = Annotated[Path | None, Parameter(name=["--plot", "-o"])]  # beside what is printed
OUT = Parameter(name=["--out", "-o"])


QUIET_S = 15.0  # seconds between lines about progress


class UsageError(PlateauError):
    """Words on the command line that do not go together."""


@Parameter(name="*")
@dataclass(frozen=True)
class ReadingOptions:
    """How to read the log."""

    column: str | None = None
    """Column, key or tag that holds the losses."""
    metric: str | None = None
    """The same without the run's name, where columns carry one."""
    step_column: str | None = None
    """Column that holds the steps."""
    run: str | None = None
    """Which run to read where the log holds several: its name, part of it, or its number."""
    repeats: Literal["last", "first"] = "last"
    """Which loss to use of a step that was logged more than once."""
    ema: float | None = None
    """Undo an exponential moving average with this coefficient (0 or more, below 1)."""
    keep_zeros: Flag = False
    """Keep exact zeros in Hugging Face logs as zeros. By default they stand for NaN."""


@Parameter(name="*")
@dataclass(frozen=True)
class BoundOptions:
    """What a curriculum is bound to."""

    limit: Annotated[tuple[str, ...], Parameter(show_default=False, metavar="KNOB=NUMBER")] = ()
    """Largest value of a knob that the trainer can turn, such as cutoff=1025, or none; repeat it for each."""
    epochs: int | None = None
    """Epochs in the run, in place of the curriculum's."""
    steps_per_epoch: int | None = None
    """Optimizer steps in an epoch, in place of the curriculum's."""
    tokens_per_step: int | None = None
    """Tokens in an optimizer step, in place of the curriculum's."""
    peak: float | None = None
    """Peak learning rate, in place of the curriculum's."""
    lead: Annotated[tuple[str, ...], Parameter(show_default=False, metavar="STEPS|KNOB=STEPS")] = ()
    """Steps by which a transition is decided before it applies, for every knob, or KNOB=STEPS for each one."""

    def binding(self) -> Binding:
        """The same as a value, limits read."""
        from plateau_rule.controller.binding import Binding
        from plateau_rule.controller.errors import BindingError
        from plateau_rule.controller.lead import lead_in
        from plateau_rule.controller.limits import limits_in

        given = {name: value for name, value in vars(self).items() if name not in ("limit", "lead")}
        try:
            return Binding(limits_in(self.limit), lead=lead_in(self.lead), **given)
        except BindingError as error:  # its places are fields; here they are options
            faults = [
                replace(fault, where="--" + str(fault.path[0]).replace("_", "-")) if fault.path else fault
                for fault in error.faults
            ]
            raise BindingError(faults) from None


@Parameter(name="*")
@dataclass(frozen=True)
class LateOptions(BoundOptions):
    """The same, where losses may come late."""

    lag: int | None = None
    """Steps by which losses reach the controller late (0 by default)."""


def require_knobs(binding: Binding, *curricula: Curriculum) -> None:
    """Refuse a knob in --limit or --lead that none of the curricula has: it is the option that is misspelt."""
    from plateau_rule.controller.errors import nearest

    known = {name for curriculum in curricula for name in curriculum.knob}
    lead = binding.lead if isinstance(binding.lead, Mapping) else {}
    for option, names in (("--limit", binding.limits or {}), ("--lead", lead)):
        for name in names:
            if name not in known:
                which = "this curriculum has" if len(curricula) == 1 else "these curricula have"
                hint = nearest(name, known) or "There are no knobs."
                raise UsageError(f'{option} {visible(name)}: {which} no knob "{visible(name)}". {hint}')


def bound_to(curriculum: Curriculum, binding: Binding) -> Binding:
    """A binding in which limits that a person gave for some knobs say of each other one that it has none."""
    from plateau_rule.controller.binding import Binding
    from plateau_rule.controller.limits import for_every_knob

    return Binding.of(binding, limits=for_every_knob(curriculum, binding.limits))


READING, BOUND, LATE = ReadingOptions(), BoundOptions(), LateOptions()


def short(run: str) -> str:
    """What to call a run in a title."""
    path = Path(run).resolve()
    return path.parent.name if path.name == "metrics.jsonl" else path.name


def read_logs(
    logs: Sequence[str],
    reading: ReadingOptions,
    steps_per_epoch: int | None = None,
    quiet: bool = False,
    curricula: Sequence[Curriculum] = (),
) -> Log:
    """Read logs that are parts of one run.

    steps_per_epoch: for logs that count steps within epochs; None leaves it to the log. quiet: show no progress.
    curricula: whose guards' metrics are read with the losses.
    """
    from plateau_rule.commands.sources import is_curriculum
    from plateau_rule.controller.language.metrics import guarded
    from plateau_rule.sim.logs import read

    if not logs:
        raise UsageError("name a log, or the folder of a run")
    if wrong := next(filter(is_curriculum, logs), None):
        raise UsageError(f"{visible(wrong)} is a curriculum; expected a log, or the folder of a run")
    if reading.ema is not None and not 0 <= reading.ema < 1:
        raise UsageError(f"--ema {reading.ema:g}: expected a coefficient from 0 to below 1")
    with nullcontext() if quiet else bar("reading", "bytes") as progress:
        return read(
            list(logs),
            column=reading.column,
            metric=reading.metric,
            step_column=reading.step_column,
            run=reading.run,
            repeats=reading.repeats,
            ema=reading.ema,
            keep_zeros=reading.keep_zeros,
            steps_per_epoch=steps_per_epoch,
            metrics={name for curriculum in curricula for name in guarded(curriculum)},
            progress=progress,
        )


class Lines:
    """Says by a line on the standard error how far something is, every QUIET_S seconds.

    Args:
        what: is under way.
        unit: of what is counted.
        clock: seconds, from whenever.
        first_s: seconds before the first line.
    """

    def __init__(self, what: str, unit: str, clock: Callable[[], float] = monotonic, first_s: float = QUIET_S) -> None:
        self._what, self._unit, self._clock = what, unit, clock
        self._next = clock() + first_s

    def __call__(self, done: int, total: int | None) -> None:
        """Say it if it is time."""
        if self._clock() >= self._next:
            self._next = self._clock() + QUIET_S
            of = "" if total is None else f" of {total:,}"
            print(f"{self._what}: {done:,}{of} {self._unit}", file=sys.stderr, flush=True)


@contextmanager
def bar(what: str, unit: str) -> Iterator[Progress | None]:
    """A progress bar on the standard error, if that is a terminal; else a line now and then of what takes long."""
    if not sys.stderr.isatty():
        yield Lines(what, unit)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)

        def show(done: int, total: int | None) -> None:
            shown.update(task, completed=done, total=total)

        yield show


def require_drawable(plot: Path | None) -> None:
    """Say at once, before anything is read, if the picture that is asked for cannot be drawn."""
    if plot is not None:
        from plateau_rule.sim.plots.page import drawable

        drawable(plot)


def write_text(text: str, output: Path | None) -> int:
    """Write to a file, or to the standard output where none is named; the exit code."""
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8", newline="\n")
    return 0


def print_json(value: Any) -> None:
    """Print one line of JSON, in ASCII: whatever reads it may decode it as it likes."""
    print(json.dumps(value, allow_nan=False))
