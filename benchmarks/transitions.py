"""A million transitions of curricula that `plateau check` calls sound: `make transitions`, or `python -P` this file.

Curricula are drawn from a seed, and checked. The sound ones are run over streams of many kinds, and on every step of
every run two promises are watched: no knob rises into a low rate, and none falls without a mark. Those that `check`
calls broken are run over the stream by which it says so: the break must be there. Runs are those of the batch engine,
which decides to the bit as the controller does (tests/sim/batch/test_engine.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter, process_time

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

from plateau_rule.commands.options import bar
from plateau_rule.sim.shards import cores, spread
from plateau_rule.sim.testing.drawn import DrawnTally, Draws, tally

ROOT = Path(__file__).resolve().parent.parent
DRAWN, RUNS, PIECE = 5_600, 120, 50
ASKED = 1_000_000


def timed(draws: Draws) -> tuple[DrawnTally, float]:
    """A tally, and the processor time that it took, in seconds."""
    began = process_time()
    return tally(draws), process_time() - began


def main() -> int:
    """Draw, check, run and watch; print what came of it, and write it down."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--drawn", type=int, default=DRAWN, help="curricula to draw")
    options.add_argument("--runs", type=int, default=RUNS, help="streams for each sound one")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=int, default=cores())
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "transitions.json")
    given = options.parse_args()
    pieces = [
        Draws(given.seed, first, min(PIECE, given.drawn - first), given.runs) for first in range(0, given.drawn, PIECE)
    ]
    found, began, used = DrawnTally(), perf_counter(), 0.0
    with bar("drawing, checking, running", "curricula") as progress:
        for part, seconds in spread(timed, pieces, given.workers):
            found += part
            used += seconds
            if progress is not None:
                progress(found.drawn, given.drawn)
    watched = found.watched
    figures = {
        "seed": given.seed,
        "drawn": found.drawn,
        "sound": found.sound,
        "runs": found.runs,
        "transitions": watched.transitions,
        "raises": watched.raises,
        "violations": len(watched.violations),
        "broken": found.broken,
        "broken_unseen": len(found.unseen),
        "workers": given.workers,
        "processor_s": round(used, 1),
        "wall_s": round(perf_counter() - began, 1),
    }
    print("| what | how many |\n| --- | --- |")
    for name, value in figures.items():
        print(f"| {name.replace('_', ' ')} | {value:,} |")
    for sentence in (*watched.violations[:20], *(f"unseen: {one}" for one in found.unseen[:20])):
        print(sentence)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nFigures in {given.json}")
    enough = watched.transitions >= ASKED * given.drawn / DRAWN
    return 0 if enough and not watched.violations and not found.unseen else 1


if __name__ == "__main__":
    sys.exit(main())
