"""`read`: finds out what a log is by what stands in it, and reads it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.events import EventFile, is_event_file
from plateau_rule.sim.logs.folders import LogPart, choose_part
from plateau_rule.sim.logs.gather import Gather, Gathered
from plateau_rule.sim.logs.history import ListsReader, is_history
from plateau_rule.sim.logs.jsonl import JsonLines, is_json_lines
from plateau_rule.sim.logs.log import Log
from plateau_rule.sim.logs.mlflow import SQLITE_MAGIC, Database, MetricFile, is_metric_file
from plateau_rule.sim.logs.parts import check_parts
from plateau_rule.sim.logs.points import Points, Repeats, Spool, in_order
from plateau_rule.sim.logs.printed import Printed
from plateau_rule.sim.logs.report import LogReport
from plateau_rule.sim.logs.rows import Chain, Reader
from plateau_rule.sim.logs.series import Roles, Wanted, is_eval, is_loss
from plateau_rule.sim.logs.smoothing import Unsmooth
from plateau_rule.sim.logs.source import Source
from plateau_rule.sim.logs.survey import meaning, oddities, survey
from plateau_rule.sim.logs.table import TableReader, delimiter, is_heading
from plateau_rule.sim.logs.trackio import Trackio, is_trackio
from plateau_rule.sim.logs.trainer_state import TrainerState, is_json_array, is_trainer_state

Progress = Callable[[int, int | None], None]


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    column: str | None = None,
    metric: str | None = None,
    step_column: str | None = None,
    run: str | int | None = None,
    repeats: Repeats = "last",
    ema: float | None = None,
    keep_zeros: bool = False,
    steps_per_epoch: int | None = None,
    metrics: Iterable[str] = (),
    progress: Progress | None = None,
) -> Log:
    """Read logged losses, whatever tool wrote them.

    The format is found by content: JSON lines, CSV, Hugging Face's trainer_state.json, TensorBoard event files,
    MLflow's and Trackio's databases, MLflow's files, printed text; each plain or packed with gzip. Memory does not grow
    with the log.

    Args:
        paths: a log, or several that are parts of one run and are joined by step; a folder stands for the log in it,
            "-" for the standard input.
        column: the column (key, tag, metric) that holds the losses; by default the one that is called so.
        metric: the same without the name of the run, where columns carry one ("RUN - METRIC" in exports of W&B).
        step_column: the column that holds the steps.
        run: which run, where there are several: its name, or a part of it, or its number from 1 where runs follow on
            each other in one file.
        repeats: which of the losses of a step that stands there more than once is used: the "last" or the "first".
        ema: the coefficient of an exponential moving average to take back, from 0 to below 1.
        keep_zeros: take exact zeros in logs of Hugging Face's Trainer for zeros; it writes 0.0 where the loss was NaN.
        steps_per_epoch: how long an epoch is where the log counts steps within epochs; by default what the log says, or
            the longest that it shows.
        metrics: what to read beside what evaluations brought, such as "grad_norm", where the log holds it.
        progress: called now and then with the bytes read so far and the size of all files, None if it is not known.

    Returns:
        The log: points with strictly increasing steps, and a report of what was used, passed over, and means what.

    Raises:
        LogError: a file cannot be read, holds no curve, or more than one that could be meant.
        ValueError: `repeats` or `ema` is out of its range.
    """
    if repeats not in get_args(Repeats):
        raise ValueError(f'repeats is {repeats!r}; expected "last" or "first"')
    if ema is not None and not 0 <= ema < 1:
        raise ValueError(f"ema is {ema!r}; expected a coefficient from 0 to below 1")
    names = [str(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    if not names:
        raise LogError("no log", "no file was named", remedy="Name at least one log")
    wanted = Wanted(column, metric, step_column, None if run is None else str(run), steps_per_epoch, frozenset(metrics))
    gathered = Gathered()
    meter = Meter(names, progress)
    with np.errstate(all="ignore"):  # losses may be NaN, infinite, and too large to be squared
        with _without_collector():
            files = [_read_one(name, wanted, keep_zeros, gathered, meter) for name in names]
        return _finish(gathered, names, files, repeats, ema)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of rows come and go, none of them in a cycle: looking for cycles would take two fifths of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Meter:
    """Adds up how much of all files has been read, for a progress bar."""

    def __init__(self, names: Sequence[str], progress: Progress | None) -> None:
        self.sources: list[Source] = []
        files = [Path(name) for name in names]
        self.total: int | None = None
        with suppress(OSError, ValueError):
            self.total = sum(file.stat().st_size for file in files) if all(file.is_file() for file in files) else None
        self.tick = None if progress is None else partial(self._tell, progress)

    def open(self, path: Path, name: str) -> Source:
        """Open a source whose reading counts."""
        source = Source(path, name, self.tick)
        self.sources.append(source)
        return source

    def _tell(self, progress: Progress) -> None:
        progress(sum(source.position for source in self.sources), self.total)


def _read_one(name: str, wanted: Wanted, keep_zeros: bool, gathered: Gathered, meter: Meter) -> tuple[Reader, Roles]:
    """Read one file or folder into what has been gathered."""
    with ExitStack() as stack:
        begun, file = len(meter.sources), name

        def opened(path: Path) -> Source:
            source = meter.open(path, name if path == Path(name) else str(path))
            stack.callback(source.close)
            return source

        if name != "-" and os.path.isdir(name):  # noqa: PTH112  # pathlib's raises on a name that cannot be one
            part, chosen = choose_part(Path(name), name, wanted.run)
            wanted = replace(wanted, run=None) if chosen else wanted
            reader = _part_reader(part, wanted, opened)
            file = meter.sources[-1].name if len(meter.sources) == begun + 1 else name
        else:
            reader = detect(opened(Path(name)), wanted)
        stack.callback(reader.close)
        if isinstance(reader, Database):
            wanted = replace(wanted, run=None)
        roles = Gather(gathered, file, reader, wanted, keep_zeros).read()
        for source in meter.sources[begun:]:
            gathered.warnings += source.warnings
            if source.long_lines:
                gathered.dropped["line longer than 1 MiB"] += source.long_lines
    return reader, roles


def _part_reader(part: LogPart, wanted: Wanted, opened: Callable[[Path], Source]) -> Reader:
    """One reader for all files of a run."""
    if len(part.files) == 1 and not part.evals:
        return detect(opened(part.files[0]), wanted)
    # Empty files are left where a process died before its first loss.
    readers = [("", detect(opened(file), wanted)) for file in part.files if file.stat().st_size]
    readers += [(f"{run}/", detect(opened(file), wanted)) for run, file in part.evals if file.stat().st_size]
    return Chain(readers)


def detect(source: Source, wanted: Wanted) -> Reader:
    """Choose the reader of a file by its first bytes.

    Raises:
        LogError: it is no text, and no binary form of losses that is known here.
    """
    head = source.head
    if head.startswith(SQLITE_MAGIC):
        return Trackio(source, wanted) if is_trackio(head) else Database(source, wanted)
    if is_event_file(head):
        return EventFile(source)
    text = head[:4096]
    if 20 * sum(byte < 32 and byte not in b"\t\n\r\b\x1b\x0c" for byte in text) > len(text):
        raise LogError(
            source.name,
            "binary data in no form that is known here",
            "text, a TensorBoard event file or MLflow's database",
            "Name the log of a training run",
        )
    if is_trainer_state(head) or is_json_array(head):
        return TrainerState(source)
    if is_history(head):
        return ListsReader(source)
    if is_json_lines(head):
        return JsonLines(source)
    if is_metric_file(head):
        return MetricFile(source)
    if delimiter(head) is not None:
        return TableReader(source)
    if is_heading(head):
        raise LogError(source.name, "a heading and no row", remedy="Name the log of a run that has made some steps")
    return Printed(source, wanted.column or wanted.metric)


# In order, and one a step


def _finish(
    gathered: Gathered, names: list[str], files: list[tuple[Reader, Roles]], repeats: Repeats, ema: float | None
) -> Log:
    """Sort the points, resolve repeats, and say what it all means."""
    check_parts(gathered)
    points, count = gathered.points, gathered.points.count
    if count < 2:
        reasons = "; ".join(f"{number:,} × {reason}" for reason, number in gathered.dropped.most_common())
        raise LogError(
            ", ".join(names),
            f"{'one point' if count else 'no point'}, which is no curve"
            + (f" (passed over: {reasons})" if reasons else ""),
            "at least two losses with their steps",
            "Name the log of a run that has made some steps",
        )
    steps_known, increasing = _look(points)
    evals = {name: _one_a_step(spool, repeats) for name, spool in gathered.evals.items()}
    if not steps_known:
        gathered.warnings.append(
            f"every step is {gathered.span.first_step}: the points are taken in the order of the file"
        )
        gathered.counted, evals = "row", {}
        points = _changed(_number_rows(points))
    elif not increasing:
        if (beside := _differing_beside(points)) * 10 > count:
            gathered.warnings.append(
                f"{beside:,} losses stand right behind another one of the same {gathered.counted}: several processes, "
                "evaluations or parts of a step may be mixed there"
            )
        points = in_order(points, repeats)
        if repeated := count - points.count:
            gathered.dropped[f"step that is repeated (the {repeats} one was kept)"] += repeated
    if gathered.steps_back and steps_known:
        times = "once" if gathered.steps_back == 1 else f"{gathered.steps_back:,} times"
        gathered.warnings.append(f"{gathered.counted}s go back {times}: a resumed run, or several writers")
    if gathered.counted == "row" and steps_known:
        gathered.warnings.append("the log has no steps: its rows were counted")
    if gathered.zeros:
        gathered.warnings.append(
            f"exact zeros read as NaN: {gathered.zeros:,}; Hugging Face's Trainer logs 0.0 where every loss was NaN"
        )
    if ema is not None:
        points = _changed(_unsmoothed(points, ema))
    found = survey(points)
    reader, roles = files[0]
    what, effect = meaning(
        found,
        reader,
        roles,
        gathered.counted,
        ema,
        max((spool.count for name, spool in evals.items() if is_eval(name)), default=0),
    )
    if what == "epoch value" and found.spacing == 1:
        gathered.counted = "epoch"  # TensorBoard's callback in Keras hands epochs over as steps
    counts = {name: spool.count for name, spool in evals.items()}
    report = LogReport(
        files=tuple(names),
        format=", ".join(dict.fromkeys(each.format for each, _ in files)),
        series=", ".join(dict.fromkeys(each.loss for _, each in files)),
        run=roles.run,
        others=roles.others,
        found=gathered.span,
        used=found.used,
        dropped=dict(gathered.dropped),
        places=gathered.places,
        nonfinite=found.nonfinite,
        steps_back=gathered.steps_back,
        counted=gathered.counted,
        epoch_steps=gathered.epoch_steps,
        spacing=found.spacing,
        regular=found.regular,
        epochs=found.epochs,
        evals=counts,
        eval_loss=next((name for name in counts if is_loss(name)), None),
        meaning=what,
        effect=effect,
        ema=found.ema,
        undone=ema,
        warnings=tuple(gathered.warnings + oddities(found, ema)),
    )
    return Log(points, evals, gathered, report)


def _look(spool: Spool) -> tuple[bool, bool]:
    """Whether the points have different steps, and whether these increase from each to the next."""
    differ, increasing = False, True
    last: int | None = None
    for points in spool.parts():
        steps = points["step"] if last is None else np.concatenate(([last], points["step"]))
        moves = np.diff(steps)
        differ |= bool(np.any(moves != 0))
        increasing &= bool(np.all(moves > 0))
        last = int(steps[-1])
    return differ, increasing


def _differing_beside(spool: Spool) -> int:
    """How many points have the step of the point before them, and another loss."""
    count = 0
    for points in spool.parts():
        same = np.diff(points["step"]) == 0
        count += int((same & ~np.isclose(points["loss"][1:], points["loss"][:-1], rtol=1e-6, equal_nan=True)).sum())
    return count


def _one_a_step(spool: Spool, repeats: Repeats) -> Spool:
    return spool if _look(spool)[1] else in_order(spool, repeats)


def _changed(parts: Iterator[Points]) -> Spool:
    """A spool of other points."""
    changed = Spool()
    for points in parts:
        changed.add(points)
    return changed


def _number_rows(spool: Spool) -> Iterator[Points]:
    begin = 0
    for points in spool.parts():
        points = points.copy()
        points["step"] = np.arange(begin, begin + len(points))
        begin += len(points)
        yield points


def _unsmoothed(spool: Spool, ema: float) -> Iterator[Points]:
    unsmooth = Unsmooth(ema)
    for points in spool.parts():
        points = points.copy()
        points["loss"] = unsmooth(points["loss"])
        yield points
