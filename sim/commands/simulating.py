"""The commands `simulate`, `tune`, `fit` and `test`. What they need is imported when they are called."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from plateau_rule.sim.commands.words import (
    BINDING,
    READING,
    Binding,
    Flag,
    Reading,
    Several,
    UsageError,
    bar,
    read_logs,
    short,
)
from plateau_rule.sim.shards import Engine

if TYPE_CHECKING:
    from plateau_rule.sim.curves import Range
    from plateau_rule.sim.simulator.loop import Binding as Bound


def simulate(
    *curricula: str,
    learners: int = 10_000,
    seed: int = 0,
    flat: str | None = None,
    learner: Annotated[tuple[str, ...], Parameter(negative="", show_default=False, consume_multiple=True)] = (),
    fitted: Path | None = None,
    engine: Engine = "processes",
    workers: int | None = None,
    json: Flag = False,
    plot: Path | None = None,
    binding: Binding = BINDING,
) -> None:
    """Put curricula through thousands of synthetic trainings: the losses answer to what they decide.

    Args:
        curricula: files, or names of shipped curricula.
        learners: how many trainings.
        seed: of everything that is drawn.
        flat: when the true loss is flat, as "2% per 1000 steps"; by default what the curriculum's plateau asks for.
        learner: what a parameter of the learners is, or is drawn from, as sigma=0.03 or tau=200..2000.
        fitted: a file that `plateau fit` wrote: the learners are drawn around what it found.
        engine: what spreads the work: `processes`, or `ray` (an extra).
        workers: processes at a time; all cores by default.
        json: print one JSON object instead of tables.
        plot: draw when states are entered into this file, .png or .svg.
        binding: what the run is.
    """
    from plateau_rule.controller import load
    from plateau_rule.sim.simulator.simulate import Settings
    from plateau_rule.sim.simulator.simulate import simulate as simulate_one
    from plateau_rule.sim.simulator.summary import summary

    if not curricula:
        raise UsageError("plateau simulate: name a curriculum, by its file or by the name of a shipped one")
    if plot is not None:
        from plateau_rule.sim.plots.page import drawable

        drawable(plot)
    drawn_from = {**(_fitted(fitted) if fitted else {}), **_ranges(learner)}
    settings = Settings(learners, seed, drawn_from, flat, workers, engine, _bound(binding))
    found = []
    for curriculum in [load(name) for name in curricula]:
        with bar(f"simulating {curriculum.name}", "learners") as progress:
            found.append(simulate_one(curriculum, settings, progress))
    summaries = [summary(each) for each in found]
    if json:
        print(json_format.dumps(summaries[0] if len(summaries) == 1 else {"simulations": summaries}, allow_nan=False))
    else:
        from plateau_rule.sim.simulator.tables import print_summary

        for each in summaries:
            print_summary(each)
    if plot is not None:
        from plateau_rule.sim.plots.simulations import draw_simulations

        print(f"Drawn: {draw_simulations(found, plot)}", file=sys.stderr)


def tune(
    curriculum: str,
    *,
    log: Several = (),
    over: Annotated[tuple[str, ...], Parameter(negative="", show_default=False, consume_multiple=True)] = (),
    trials: int = 60,
    seed: int = 0,
    flat: str | None = None,
    workers: int | None = None,
    json: Flag = False,
    plot: Path | None = None,
    reading: Reading = READING,
    binding: Binding = BINDING,
) -> None:
    """Show which settings of a plateau raise too early how often, and how late, on losses like those that were logged.

    Needs the extra `tune` (Optuna).

    Args:
        curriculum: a file, or the name of a shipped curriculum.
        log: a log; several are several runs.
        over: a key of the plateau and its range, as window=50..800.
        trials: how many settings to try.
        seed: of the noise, and of what is tried.
        flat: when a loss is flat, as "2% per 1000 steps"; by default what the curriculum asks for now.
        workers: processes at a time; all cores by default.
        json: print one JSON object instead of a table.
        plot: draw false raises against delay into this file, .png or .svg.
        reading: how to read the logs.
        binding: what the run is.
    """
    from plateau_rule.controller import load
    from plateau_rule.sim.simulator.tune import over as settings_over
    from plateau_rule.sim.simulator.tune import tune as tune_one

    if not log:
        raise UsageError("plateau tune: name a log: plateau tune CURRICULUM --log LOG --over window=50..800")
    if plot is not None:
        from plateau_rule.sim.plots.page import drawable

        drawable(plot)
    loaded, settings = load(curriculum), settings_over(over)
    logs = [read_logs([name], reading) for name in log]
    with bar(f"tuning {loaded.name}", "settings") as progress:
        found = tune_one(
            loaded, logs, settings, trials=trials, seed=seed, flat=flat,
            binding=_bound(binding), workers=workers, progress=progress,
        )  # fmt: skip
    if json:
        print(json_format.dumps({"curriculum": loaded.name, "settings": [each.as_dict() for each in found]}))
    else:
        from plateau_rule.sim.simulator.tables import print_tuned

        print_tuned(loaded.name, found)
    if plot is not None:
        from plateau_rule.sim.plots.simulations import draw_front

        print(f"Drawn: {draw_front(loaded.name, found, plot)}", file=sys.stderr)


def fit(
    *logs: str,
    out: Path | None = None,
    seen: float = 0.7,
    seed: int = 0,
    json: Flag = False,
    reading: Reading = READING,
) -> None:
    """Fit the synthetic learner to a log, and say how well it foretells the part that it did not see.

    Args:
        logs: logs that are parts of one run; a run of our own trainer also tells its knobs.
        out: write what was found to this file, for `plateau simulate --fitted`.
        seen: the share of the log, from its start, that the search is shown.
        seed: of the search.
        json: print one JSON object instead of sentences.
        reading: how to read the log.
    """
    from plateau_rule.sim.simulator.fit import fit as fit_one
    from plateau_rule.sim.simulator.fit import sentences

    found = fit_one(read_logs(logs, reading), short(logs[0]), seen=seen, seed=seed)
    if out is not None:
        found.write(out)
    if json:
        print(json_format.dumps(found.as_dict(), allow_nan=False))
    else:
        from plateau_rule.sim.simulator.tables import print_fit

        print("\n".join(sentences(found)))
        print_fit(found)
    if out is not None:
        print(f"Written: {out}", file=sys.stderr)


def test(*files: Path) -> int:
    """Carry out scenario files: does a curriculum do what was expected of it?

    Exits with 0 if everything expected happened, 1 if not, 2 if a file cannot be carried out.

    Args:
        files: scenario files.
    """
    from plateau_rule.sim.testing.scenario import read, report, run

    if not files:
        raise UsageError("plateau test: name a scenario file")
    failed = 0
    for suite in map(read, files):
        results = [run(suite, scenario) for scenario in suite.file.scenario]
        print("\n".join(report(suite, results)))
        failed += sum(bool(result.failures) for result in results)
    return 1 if failed else 0


def _bound(binding: Binding) -> Bound:
    from plateau_rule.sim.simulator.loop import Binding as Bound

    given = binding.given()
    return Bound(given.limits, given.epochs, given.steps_per_epoch, given.tokens_per_step, given.peak, given.lag or 0)


def _ranges(words: Several) -> Mapping[str, Range]:
    """Read NAME=NUMBER and NAME=LOW..HIGH."""
    from plateau_rule.sim.curves import Range
    from plateau_rule.sim.simulator.learner import PARAMETERS

    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        low, dots, high = text.partition("..")
        try:
            bounds = float(low), float(high if dots else low)
        except ValueError:
            bounds = 1.0, 0.0
        if not equals or name not in PARAMETERS or not 0 <= bounds[0] <= bounds[1] < float("inf"):
            raise UsageError(
                f"--learner {word}: expected NAME=NUMBER or NAME=LOW..HIGH, for instance --learner tau=200..2000. "
                f"Names: {', '.join(PARAMETERS)}"
            )
        found[name] = Range(*bounds, log=bounds[0] > 0)
    return found


def _fitted(file: Path) -> Mapping[str, Range]:
    from plateau_rule.sim.simulator.fit import ranges_in

    return ranges_in(file)
