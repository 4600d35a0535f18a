"""The command `plateau tune`. What it needs is imported when it is called."""

from __future__ import annotations

import sys

from plateau_rule.commands.options import (
    LATE,
    READING,
    JsonFlag,
    LateOptions,
    Many,
    Picture,
    ReadingOptions,
    Several,
    UsageError,
    bar,
    bound_to,
    print_json,
    read_logs,
    require_drawable,
    require_knobs,
)


def tune(
    curriculum: str,
    /,
    *,
    log: Several = (),
    over: Many = (),
    trials: int = 60,
    seed: int = 0,
    flat: str | None = None,
    workers: int | None = None,
    as_json: JsonFlag = False,
    plot: Picture = None,
    reading: ReadingOptions = READING,
    bound: LateOptions = LATE,
) -> None:
    """Show which settings of a plateau raise too early how often, and how late, on losses like those that were logged.

    Needs the extra `tune` (Optuna).

    Args:
        curriculum: A curriculum file, or the name of a shipped curriculum.
        log: A log; repeat it for several runs.
        over: A key of the plateau and its range, such as window=50..800.
        trials: Number of settings to try.
        seed: Seed of the noise and of the search.
        flat: Improvement below which a loss is flat, as "2% per 1000 steps"; by default the curriculum's own.
        workers: Number of processes; one per core by default.
        as_json: Print one JSON object instead of a table.
        plot: Draw false raises against delay into this file (.png or .svg).
        reading: How to read the logs.
        bound: What the run is.
    """
    from plateau_rule.controller.language.reading import load
    from plateau_rule.sim.simulator.tune import over as settings_over
    from plateau_rule.sim.simulator.tune import tune as tune_one

    if not log:
        raise UsageError("plateau tune: name a log: plateau tune CURRICULUM --log LOG --over window=50..800")
    require_drawable(plot)
    loaded, settings = load(curriculum), settings_over(over)
    binding = bound.binding()
    require_knobs(binding, loaded)
    binding = bound_to(loaded, binding)
    logs = [read_logs([name], reading, bound.steps_per_epoch) for name in log]
    with bar(f"tuning {loaded.name}", "settings") as progress:
        found = tune_one(
            loaded, logs, settings, trials=trials, seed=seed, flat=flat,
            binding=binding, workers=workers, progress=progress,
        )  # fmt: skip
    if as_json:
        print_json({"curriculum": loaded.name, "settings": [each.as_dict() for each in found]})
    else:
        from plateau_rule.sim.simulator.tables import print_tuned

        print_tuned(loaded.name, found)
    if plot is not None:
        from plateau_rule.sim.plots.simulations import draw_front

        print(f"Drawn: {draw_front(loaded.name, found, plot)}", file=sys.stderr)
