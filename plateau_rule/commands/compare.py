"""The command `plateau compare`. What it needs is imported when it is called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import JsonFlag, Picture, UsageError, print_json, require_drawable
from plateau_rule.commands.trials import TRIALS, TrialOptions

if TYPE_CHECKING:
    from plateau_rule.controller.language.curriculum import Curriculum


def compare(
    *curricula: str,
    budget: str,
    seeds: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 5,
    as_json: JsonFlag = False,
    plot: Picture = None,
    options: TrialOptions = TRIALS,
) -> None:
    """Train under several curricula at one budget: does the difference go beyond the spread over the seeds?

    Each seed gives every curriculum the same weights to begin with and the same order of the data. Scores at the end
    are held against those of the first curriculum, seed by seed, by a paired t-test, corrected for their number.

    Args:
        curricula: Curriculum files, or names of shipped curricula; the first is what the others are held against.
        budget: What each training may spend: "90 s" of training, "500 cost" by the files, "2e6 tokens" or "2000 steps".
        seeds: Number of seeds.
        as_json: Print one JSON object instead of a table.
        plot: Draw scores against steps, tokens, cost and time, those that are known, into this file (.png or .svg).
        options: What trains, and where it is kept.
    """
    from plateau_rule.trials.budget import TrainingBudget
    from plateau_rule.trials.compare import compare as compare_curricula
    from plateau_rule.trials.pool import require_engine
    from plateau_rule.trials.statistics import require_tests

    if len(curricula) < 2:
        raise UsageError("plateau compare: name two curricula or more, the first of them to hold the others against")
    require_drawable(plot)
    require_tests()
    require_engine(options.engine)
    spends, trainer, loaded = TrainingBudget.read(budget), options.read_trainer(), _loaded(curricula, options)
    folder = options.folder("compare")
    with options.training(folder) as progress:
        compared = compare_curricula(
            loaded, spends, options.seeds(seeds), trainer, folder, options.workers, progress, options.engine
        )
    if as_json:
        from plateau_rule.trials.tables import comparison_as_data

        print_json(comparison_as_data(compared))
    else:
        from plateau_rule.trials.tables import print_comparison

        print_comparison(compared)
    if plot is not None:
        from plateau_rule.trials.picture import draw_comparison

        print(f"Drawn: {draw_comparison(compared, plot)}", file=sys.stderr)


def _loaded(words: tuple[str, ...], options: TrialOptions) -> dict[str, Curriculum]:
    """Curricula by their names; by the words for them where two have one name."""
    each = [options.load(word) for word in words]
    names = [curriculum.name for curriculum in each]
    names = list(words) if len(set(names)) < len(names) else names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"plateau compare: {twice} is named twice; expected each curriculum once")
    return dict(zip(names, each, strict=True))
