"""The command `plateau fit`. What it needs is imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path

from plateau_rule.commands.options import READING, JsonFlag, Reading, print_json, read_logs, short


def fit(
    *logs: str,
    out: Path | None = None,
    seen: float = 0.7,
    seed: int = 0,
    as_json: JsonFlag = False,
    steps_per_epoch: int | None = None,
    reading: Reading = READING,
) -> None:
    """Fit the synthetic learner to a log, and say how well it foretells the part that it did not see.

    Args:
        logs: logs that are parts of one run; a run of our own trainer also tells its knobs.
        out: write what was found to this file, for `plateau simulate --fitted`.
        seen: the share of the log, from its start, that the search is shown.
        seed: of the search.
        as_json: print one JSON object instead of sentences.
        steps_per_epoch: optimizer steps in an epoch, for a log that counts within epochs and does not say.
        reading: how to read the log.
    """
    from plateau_rule.sim.simulator.fit import fit as fit_one
    from plateau_rule.sim.simulator.fit import sentences

    found = fit_one(read_logs(logs, reading, steps_per_epoch), short(logs[0]), seen=seen, seed=seed)
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
