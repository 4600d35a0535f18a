"""The command `plateau simulate`. What it needs is imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from plateau_rule.commands.options import (
    LATE,
    JsonFlag,
    LateOptions,
    Many,
    Picture,
    Several,
    UsageError,
    bar,
    print_json,
    require_drawable,
    require_knobs,
)
from plateau_rule.sim.shards import Engine

if TYPE_CHECKING:
    from plateau_rule.sim.curves import Bounds


def simulate(
    *curricula: str,
    learners: int = 10_000,
    seed: int = 0,
    flat: str | None = None,
    evaluate_every: str | None = None,
    learner: Many = (),
    fitted: Path | None = None,
    engine: Engine = "processes",
    workers: int | None = None,
    as_json: JsonFlag = False,
    plot: Picture = None,
    bound: LateOptions = LATE,
) -> None:
    """Put curricula through thousands of synthetic trainings: the losses answer to what they decide.

    Args:
        curricula: Curriculum files, or names of shipped curricula.
        learners: Number of synthetic trainings.
        seed: Seed of everything that is drawn.
        flat: Improvement below which the true loss is flat, as "2% per 1000 steps"; by default the curriculum's own.
        evaluate_every: Time between evaluations, as "500 steps", where the file does not say; an epoch by default.
        learner: A parameter of the learners and its value or range, such as sigma=0.03 or tau=200..2000.
        fitted: A file from `plateau fit --out`. The learners are drawn around it.
        engine: What spreads the work. `ray` needs the extra of that name.
        workers: Number of processes; one per core by default.
        as_json: Print one JSON object instead of tables.
        plot: Draw when each state is entered into this file (.png or .svg).
        bound: What the run is.
    """
    from plateau_rule.controller.language.reading import load
    from plateau_rule.sim.simulator.simulate import Settings
    from plateau_rule.sim.simulator.simulate import simulate as simulate_one
    from plateau_rule.sim.simulator.summary import summary

    if not curricula:
        raise UsageError("plateau simulate: name a curriculum, by its file or by the name of a shipped one")
    require_drawable(plot)
    drawn_from = {**(_fitted(fitted) if fitted else {}), **_ranges(learner)}
    settings = Settings(learners, seed, drawn_from, flat, workers, engine, bound.binding(), evaluate_every)
    found, loaded = [], [load(name) for name in curricula]
    require_knobs(settings.binding, *loaded)
    for curriculum in loaded:
        with bar(f"simulating {curriculum.name}", "learners") as progress:
            found.append(simulate_one(curriculum, settings, progress))
    summaries = [summary(each) for each in found]
    if as_json:
        print_json(summaries[0] if len(summaries) == 1 else {"simulations": summaries})
    else:
        from plateau_rule.sim.simulator.tables import print_summary

        for each in summaries:
            print_summary(each)
    if plot is not None:
        from plateau_rule.sim.plots.simulations import draw_simulations

        print(f"Drawn: {draw_simulations(found, plot)}", file=sys.stderr)


def _ranges(words: Several) -> Mapping[str, Bounds]:
    """Read NAME=NUMBER and NAME=LOW..HIGH."""
    from plateau_rule.sim.curves import Bounds
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
        found[name] = Bounds(*bounds, log=bounds[0] > 0)
    return found


def _fitted(file: Path) -> Mapping[str, Bounds]:
    from plateau_rule.sim.simulator.fit import ranges_in

    return ranges_in(file)
