"""The command `plateau replay`. What it needs is imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from plateau_rule.commands.options import (
    LATE,
    READING,
    Flag,
    JsonFlag,
    LateOptions,
    Picture,
    ReadingOptions,
    Several,
    UsageError,
    bar,
    print_json,
    read_logs,
    require_drawable,
    require_knobs,
    short,
)
from plateau_rule.commands.sources import is_curriculum
from plateau_rule.controller.errors import visible


def replay(
    *words: str,
    log: Several = (),
    as_json: JsonFlag = False,
    plot: Picture = None,
    why: int | None = None,
    first_only: Flag = False,
    reading: ReadingOptions = READING,
    bound: LateOptions = LATE,
) -> None:
    """Show logged losses to a curriculum: when would it have raised, and why not earlier?

    `plateau replay CURRICULUM LOG...` replays one curriculum, over logs that are parts of one run.
    `plateau replay A.toml B.toml --log LOG` puts several side by side.

    Args:
        words: A curriculum and its logs. With --log, one or more curricula.
        log: A log; repeat it for parts of one run. All other words are then curricula.
        as_json: Print one JSON object instead of tables.
        plot: Draw a picture into this file (.png or .svg).
        why: Print how every guard stood when this step was planned.
        first_only: Stop after the first transition. A log cannot tell what comes after it.
        reading: How to read the log.
        bound: What the run was, where neither its record nor the log tells.
    """
    from plateau_rule.controller.language.reading import load
    from plateau_rule.sim.replayer.replay import replay as replay_log
    from plateau_rule.sim.replayer.tables import data_of, print_timelines, print_why

    curricula, logs = _sorted_out(words, log)
    require_drawable(plot)
    loaded = [load(name) for name in curricula]
    given = bound.binding()
    require_knobs(given, *loaded)
    history = read_logs(logs, reading, given.steps_per_epoch, curricula=loaded)
    timelines = []
    for curriculum in loaded:
        with bar(f"replaying {curriculum.name}", "points") as progress:
            timelines.append(
                replay_log(curriculum, history, given, first_only=first_only, until=why, progress=progress)
            )
    if as_json:
        found = data_of(history, timelines)
        print_json(found[0] if len(found) == 1 else {"timelines": found})
    elif why is not None:
        for timeline in timelines:
            print_why(timeline, why)
    else:
        print_timelines(history, timelines)
    if plot is not None:
        from plateau_rule.sim.plots import draw
        from plateau_rule.sim.plots.picture import picture_of

        title = f"{', '.join(each.curriculum.name for each in timelines)} over {', '.join(map(short, logs))}"
        path = draw([picture_of(timeline) for timeline in timelines], plot, title)
        print(f"Drawn: {path}", file=sys.stderr)


def _sorted_out(words: Sequence[str], logs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which words are curricula, and which are logs."""
    if logs:
        if not words:
            raise UsageError("plateau replay: name a curriculum, by its file or by the name of a shipped one")
        return list(words), list(logs)
    if len(words) < 2:
        raise UsageError("plateau replay: name a curriculum and a log: plateau replay CURRICULUM LOG...")
    curricula = [word for word in words if is_curriculum(word)] or [words[0]]
    if len(curricula) > 1:
        raise UsageError(
            f"plateau replay: {' and '.join(map(visible, curricula))} are curricula; with more than one, name the log "
            "by --log LOG"
        )
    return curricula, [word for word in words if word not in curricula]
