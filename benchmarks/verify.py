"""What `plateau check` costs, for the largest curricula and for the shipped ones: `python benchmarks/verify.py`.

The largest are families of 64 states and 256 transitions, each hard in another way; a file may have more, and this is
what is promised. All figures are processor time: of `verify` alone for the families, of the whole process, start-up
included, for the shipped files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, this file would be taken for the package of the same name

from plateau_rule import Curriculum
from plateau_rule.controller.binding import bind
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.verifier.verify import verify

ROOT = Path(__file__).resolve().parent.parent
STATES, TRANSITIONS = 64, 256
LIBRARIES = "(cyclopts, pydantic and toml-rs alone)"  # what no start can be without, on a machine as busy as this one
WORST_S, SHIPPED_S = 2.0, 0.4  # what is promised

FLAT = {"plateau": {"window": 50, "threshold": 0.005}}
HOT = {"diverging": {"window": 40, "factor": 1.25}}


def to(source: int, target: int, *guards: Any, **keys: Any) -> dict[str, Any]:
    """A transition between two numbered states, that restarts the rate."""
    return {"from": f"s{source}", "to": f"s{target}", "guards": list(guards), "actions": ["lr_restart"], **keys}


def back(source: int, target: int, *guards: Any, **keys: Any) -> dict[str, Any]:
    """A bounded retreat."""
    return to(source, target, *guards, regress=True, **{"at_most": 2, **keys})


def around(i: int) -> tuple[int, int, int, int]:
    """The states one, two and three further on, and one back, as far as there are."""
    last = STATES - 1
    return min(i + 1, last), min(i + 2, last), min(i + 3, last), max(i - 1, 0)


def timeouts(i: int, rng: random.Random) -> list[dict[str, Any]]:
    """A plateau, sustained; a leap; a timeout; a retreat."""
    one, two, _, before = around(i)
    return [to(i, one, FLAT, sustain=2), to(i, two, FLAT, {"min_step": 700 * i}, at="epoch"),
            to(i, one, {"dwell": f"{300 + 37 * (i % 11)} steps"}), back(i, before, HOT)]  # fmt: skip


def counters(i: int, rng: random.Random) -> list[dict[str, Any]]:
    """Two hundred counters."""
    one, two, three, before = around(i)
    return [back(i, before, HOT, at_most=3), to(i, two, {"nonfinite": 3}, at_most=2), to(i, three, HOT, at_most=1),
            to(i, one, FLAT)]  # fmt: skip


def clocks(i: int, rng: random.Random) -> list[dict[str, Any]]:
    """Every clock with numbers of its own, so that their orders differ from entry to entry."""
    one, two, three, _ = around(i)
    low, high = 400 * i + rng.randrange(300), 400 * i + 300 + rng.randrange(900)
    return [to(i, one, FLAT, {"min_step": low}, {"dwell": f"{60 + rng.randrange(90)} steps"}),
            to(i, two, {"any": [{"min_step": high}, {"all": [FLAT, {"min_epoch": 1 + high // 1000}]}]}, at="epoch"),
            to(i, three, {"not": {"min_step": high}}, {"below": {"value": 2.0}}, sustain=1 + i % 5),
            to(i, one, {"dwell": f"{400 + rng.randrange(900)} steps"})]  # fmt: skip


def detectors(i: int, rng: random.Random) -> list[dict[str, Any]]:
    """Detectors that guards share, on several metrics, at evaluations."""
    one, two, three, before = around(i)
    low, high = {"below": {"metric": "a", "value": 2.0}}, {"above": {"metric": "b", "value": 3.0, "window": 20}}
    calm = {"patience": {"metric": "c", "steps": 30}}
    return [to(i, one, {"any": [low, high, {"all": [FLAT, calm]}]}, at="eval", sustain=3),
            to(i, two, {"not": {"any": [low, HOT]}}, {"all": [calm, FLAT]}, at="eval"),
            to(i, three, low, high, calm, at="epoch", sustain=2),
            back(i, before, {"any": [HOT, {"nonfinite": 5}, {"all": [high, {"not": low}]}]})]  # fmt: skip


def ramps(i: int, rng: random.Random) -> list[dict[str, Any]]:
    """The rate's cycles go on under raises; knobs are on their way when a state is left."""
    one, two, three, before = around(i)
    steps: dict[str, Any] = {"actions": []}
    return [to(i, one, {"ramp_done": "size"}, FLAT, **steps), to(i, two, {"ramp_done": "size"}, HOT, **steps),
            to(i, three, {"dwell": f"{500 + 13 * i} steps"}, sustain=4), back(i, before, HOT, at_most=1)]  # fmt: skip


def anywhere(i: int, rng: random.Random) -> list[dict[str, Any]]:
    """Any state may follow any other."""
    targets = [rng.randrange(STATES) for _ in range(4)]
    return [(to if target > i else back)(i, target, rng.choice((FLAT, HOT, {"dwell": "90 steps"})), at_most=1 + j,
                                         sustain=1 + rng.randrange(3)) for j, target in enumerate(targets)]  # fmt: skip


Make = Callable[[int, random.Random], list[dict[str, Any]]]
FAMILIES: dict[str, Make] = {
    "timeouts": timeouts,
    "counters": counters,
    "clocks": clocks,
    "detectors": detectors,
    "ramps": ramps,
    "anywhere": anywhere,
}


def largest(family: str, seed: int = 0) -> Curriculum:
    """A curriculum of a family."""
    rng = random.Random(seed)
    states: list[dict[str, Any]] = [{"name": f"s{i}", "set": {"size": 1 + i}} for i in range(STATES)]
    lr: dict[str, Any] = {"peak": 1e-3, "floor": 0.1, "length": "9 epochs"}
    if family == "ramps":
        states = [state | {"ramp": {"size": {"to": 2 + i, "over": "120 steps"}}} for i, state in enumerate(states)]
        lr = {"peak": 1e-3, "floor": 0.1, "cycles": [f"{1 + i % 4} epochs" for i in range(15)] + ["rest"]}
    last = STATES - 1  # only retreats leave it, so that a run may end there
    transitions = [transition for i in range(last) for transition in FAMILIES[family](i, rng)]
    transitions += [back(last, last - 1 - j, HOT, at_most=1 + j) for j in range(4)]
    assert (len(states), len(transitions)) == (STATES, TRANSITIONS)
    return Curriculum.model_validate({
        "format": 1, "name": family, "run": {"epochs": 60, "steps_per_epoch": 1000}, "lr": lr,
        "knob": {"size": {"range": {"min": 1, "max": 100}}}, "state": states, "transition": transitions,
    })  # fmt: skip


def family_row(family: str, turns: int) -> dict[str, Any]:
    """How long the verification of one of a family takes, in the least and in the middle of so many turns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        machine = bind(largest(family))
    report, seconds = verify(machine), []
    for _ in range(turns):
        began = process_time()
        verify(machine)
        seconds.append(process_time() - began)
    severities = [finding.severity for finding in report.findings]
    return {"family": family, "states": len(machine.states), "transitions": TRANSITIONS, "exact": report.exact,
            "errors": severities.count("error"), "warnings": severities.count("warning"),
            "not_decided": sum(verdict.answer == "not decided" for verdict in report.verdicts),
            "seconds": min(seconds), "median": median(seconds)}  # fmt: skip


def process_row(name: str, turns: int) -> dict[str, Any]:
    """How long `plateau check NAME` takes as a process of its own; of LIBRARIES, how long it takes to import them."""
    words = (
        ["-c", "import cyclopts, pydantic.main, toml_rs"]
        if name == LIBRARIES
        else ["-m", "plateau_rule", "check", name]
    )
    command = [sys.executable, "-P", *words]
    # Whoever installs the project has its bytecode; the first turn writes it, and is not counted.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    code, seconds = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode, []
    for _ in range(turns):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"name": name, "code": code, "seconds": min(seconds), "median": median(seconds)}


def main() -> None:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "verify.json")
    given = parser.parse_args()
    families = [family_row(family, given.turns) for family in FAMILIES]
    largest_of = f"{STATES} states, {TRANSITIONS} transitions"
    print(f"| {largest_of} | told apart | errors, warnings, not decided | seconds, least | median |")
    print("| --- | --- | --- | --- | --- |")
    for row in families:
        exact = "all" if row["exact"] else "merged"
        print(f"| {row['family']} | {exact} | {row['errors']}, {row['warnings']}, {row['not_decided']} "
              f"| {row['seconds']:.2f} | {row['median']:.2f} |")  # fmt: skip
    processes = [process_row(name, given.turns) for name in (*sorted(shipped()), LIBRARIES)]
    print("\n| plateau check, a process | seconds, least | median |")
    print("| --- | --- | --- |")
    for row in processes:
        print(f"| {row['name']} | {row['seconds']:.2f} | {row['median']:.2f} |")
    within = {
        f"every family within {WORST_S:g} s": all(row["seconds"] <= WORST_S for row in families),
        f"every shipped file within {SHIPPED_S:g} s": all(row["seconds"] <= SHIPPED_S for row in processes),
    }
    print("\n" + "\n".join(f"{what}: {'yes' if holds else 'NO'}" for what, holds in within.items()))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"families": families, "processes": processes, "within": within}, indent=1) + "\n")
    print(f"\nFigures in {given.json}")


if __name__ == "__main__":
    main()
