"""The command `plateau probe`. What it needs is imported when it is called."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import JsonFlag, Picture, UsageError, print_json, require_drawable
from plateau_rule.commands.trials import TRIALS, TrialOptions

if TYPE_CHECKING:
    from plateau_rule.trials.probe import Probed


def probe(
    curriculum: str,
    /,
    *,
    budget: str,
    seeds: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 3,
    knob: str | None = None,
    as_json: JsonFlag = False,
    plot: Picture = None,
    options: TrialOptions = TRIALS,
) -> None:
    """Hold each rung of a ladder for a whole budget: where does the next one get ahead, if it does?

    Each rung is trained as a constant, on the same seeds and the same data, and the curves of held-out scores are laid
    over one another by what they cost. What is finished is kept in the folder: the same command goes on from there.

    Args:
        curriculum: A curriculum file, or the name of a shipped curriculum.
        budget: What each training may spend: "90 s" of training, "500 cost" or "2e6 tokens".
        seeds: Number of seeds; the spread over them decides what counts as ahead.
        knob: Probe the ladder of this knob, the others as in the last state. By default, the settings of the states.
        as_json: Print one JSON object instead of sentences.
        plot: Draw the curves into this file (.png or .svg).
        options: What trains, and where it is kept.
    """
    from plateau_rule.trials.budget import TrainingBudget
    from plateau_rule.trials.pool import require_engine
    from plateau_rule.trials.probe import probe as probe_rungs

    require_drawable(plot)
    require_engine(options.engine)
    spends, trainer = TrainingBudget.read(budget), options.read_trainer()
    ladder, folder = options.load(curriculum), options.folder(f"probe-{Path(curriculum).stem}")
    _refuse_own_folder(Path(curriculum), folder)
    with options.training(folder) as progress:
        probed = probe_rungs(
            ladder, spends, options.seeds(seeds), trainer, folder, knob, options.workers, progress, options.engine
        )
    written = _write_curricula(probed, folder)
    if as_json:
        from plateau_rule.trials.tables import probe_as_data

        print_json(probe_as_data(probed))
    else:
        from plateau_rule.trials.tables import print_probe

        print_probe(probed, written, options.trainer)
    if plot is not None:
        from plateau_rule.trials.picture import draw_probe

        print(f"Drawn: {draw_probe(probed, plot)}", file=sys.stderr)


def _refuse_own_folder(curriculum: Path, folder: Path) -> None:
    """Refuse a folder in which the ladder, or a rung, would be written over the curriculum."""
    if re.fullmatch(r"(ladder|rung-\d+)\.toml", curriculum.name) and curriculum.absolute().parent == folder.absolute():
        raise UsageError(f"{curriculum}: files of this name are written into {folder}. Name another folder by --out")


def _write_curricula(probed: Probed, folder: Path) -> list[Path]:
    """Write the ladder and its rungs beside the cells, as they would be compared; a ladder of before is removed."""
    from plateau_rule.controller.language.writing import dumps

    before = folder / "ladder.toml"
    if not probed.crossings and before.is_file() and '-probed"' in before.read_text(encoding="utf-8"):
        before.unlink()
    curricula = {"ladder": probed.ladder()} if probed.crossings else {}
    for place in dict.fromkeys((*probed.climbed, probed.best)):
        curricula[f"rung-{place + 1}"] = probed.rungs.rung(place)
    found = []
    for name, curriculum in curricula.items():
        found.append(folder / f"{name}.toml")
        found[-1].write_text(dumps(curriculum), encoding="utf-8", newline="\n")
    return found
