"""The command `plateau fit`. What it needs is imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from plateau_rule.commands.options import OUT, READING, JsonFlag, ReadingOptions, bar, print_json, read_logs, short


def fit(
    *logs: str,
    out: Annotated[Path | None, OUT] = None,
    seen: float = 0.7,
    seed: int = 0,
    as_json: JsonFlag = False,
    steps_per_epoch: int | None = None,
    reading: ReadingOptions = READING,
) -> None:
    """Fit the synthetic learner to a log, and say how well it foretells the part that it did not see.

    Args:
        logs: Logs. Several are parts of one run; the folder of a `plateau train` run tells its knobs as well.
        out: Write the fitted learner to this file, for `plateau simulate --fitted`.
        seen: The share of the log to fit to. The rest tests the forecast.
        seed: Seed of the search.
        as_json: Print one JSON object instead of sentences.
        steps_per_epoch: Optimizer steps in an epoch, for a log that counts steps within epochs.
        reading: How to read the log.
    """
    from plateau_rule.sim.simulator.fit import fit as fit_one
    from plateau_rule.sim.simulator.fit import sentences

    log = read_logs(logs, reading, steps_per_epoch)
    with bar("fitting", "rounds") as progress:
        found = fit_one(log, short(logs[0]), seen=seen, seed=seed, progress=progress)
    if out is not None:
        found.write(out)
    if as_json:
        print_json(found.as_dict())
    else:
        from plateau_rule.sim.simulator.tables import print_fit

        print("\n".join(sentences(found)))
        print_fit(found)
    if out is not None:
        print(f"Written: {out}", file=sys.stderr)
