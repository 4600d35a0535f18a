"""Every lane, side by side: `python -m tests.faults` is `make faults`, half an hour at most on two idle cores.

Lanes are cut into parts, as many at a time as there are cores. A line says that a part begins, another what it counted
and how long it took. Where nothing went wrong in N tries, the rate of such faults is below 3/N, with a confidence of
95 %. `python -m tests.faults saves crashes` carries out these two, `--share 0.1` a tenth of each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

# The lane's module, the option that says how many, how many in all, and into how many parts they are divided.
LANES = (
    ("damaging", "--folders", 5000, 4),
    ("saves", "--kills", 10_000, 4),
    ("refusals", "--cases", 400, 2),
    ("killing", "--kills", 100, 2),
    ("crashes", "--runs", 100, 1),
)


def words_of(module: str, option: str, count: int, part: int) -> list[str]:
    """The command of one part of a lane: the parts of one lane try other things than each other."""
    other = ["--first", str(part * count)] if module == "damaging" else ["--seed", str(part)]
    return [sys.executable, "-m", f"tests.faults.{module}", option, str(count), *other]


def carried_out(module: str, option: str, count: int, part: int) -> bool:
    """Carry out one part of a lane, say what came of it, and return whether nothing went wrong."""
    print(f"{module} {part}: {count} begin", flush=True)
    began = perf_counter()
    done = subprocess.run(words_of(module, option, count, part), capture_output=True, text=True, check=False)
    took_s = perf_counter() - began
    told = done.stdout.strip() or done.stderr.strip()[-2000:]
    *faults, last = told.split("\n")
    good = done.returncode == 0 and last.startswith("{") and json.loads(last)["wrong"] == 0
    bound = f", fewer than {3 / count:.2g} of them go wrong" if good else ""
    print("\n".join((*faults, f"{module} {part}: {last}, {took_s:.0f} s{bound}")), flush=True)
    return good


def main() -> int:
    """Carry out some lanes or all, and return 1 if anything went wrong."""
    asked = argparse.ArgumentParser(description=__doc__)
    names = [module for module, *_ in LANES]
    asked.add_argument("lanes", nargs="*", metavar="LANE", help=f"{', '.join(names)}; all, if none is named")
    asked.add_argument("--share", type=float, default=1.0)
    given = asked.parse_args()
    if unknown := set(given.lanes) - set(names):
        asked.error(f"no such lane: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    lanes = [lane for lane in LANES if lane[0] in (given.lanes or names)]
    parts = [
        (module, option, max(1, round(given.share * count / parts)), part)
        for module, option, count, parts in lanes
        for part in range(parts)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as side_by_side:
        return int(not all(list(side_by_side.map(lambda part: carried_out(*part), parts))))


if __name__ == "__main__":
    sys.exit(main())
