"""What a second process brings: `python -P benchmarks/ranks.py [--preset tiny --turns 9 --steps 5]`.

One process on two threads, and two ranks of one thread each, take turns at the same steps: the same windows, shared
out. Seconds are by the wall, as two processes work side by side, so let nothing else run. A ratio is the median of the
ratios within each turn.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import multiprocessing
from multiprocessing.connection import Connection
from time import perf_counter

import torch

from benchmarks._speed import RESULTS, WARM_UP, spread
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.fftcore.data import read_text
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.ranks import World, together

CORES = 2


def take_part(rank: int, ranks: int, port: int, preset: str, orders: Connection) -> None:
    """Take as many steps as each order says, and answer with the seconds that they took; an order of 0 is the last."""
    os.environ |= {"RANK": f"{rank}", "WORLD_SIZE": f"{ranks}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    torch.set_num_threads(CORES // ranks)

    def work(world: World) -> int:
        config = PRESETS[preset]
        learner = Learner(config, read_text(None), 0, torch.device("cpu"), heads_only=False, world=world)
        learner.turn(limits(config))
        while steps := orders.recv():
            began_s = perf_counter()
            for step in range(steps):
                learner.step(step, 1e-3)
            orders.send(perf_counter() - began_s)
        world.part()
        return 0

    together(work)


def begun(ranks: int, preset: str) -> list[Connection]:
    """Start some ranks, and return where each takes its orders."""
    spawn, ends = multiprocessing.get_context("spawn"), []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for rank in range(ranks):
        here, there = spawn.Pipe()
        spawn.Process(target=take_part, args=(rank, ranks, port, preset, there)).start()
        there.close()  # so that a process that has ended is seen
        ends.append(here)
    return ends


def seconds_of(ends: Sequence[Connection], steps: int) -> float:
    """Let some ranks take steps together, and return the seconds of the slowest."""
    for end in ends:
        end.send(steps)
    return float(max(end.recv() for end in ends))


def main() -> None:
    """Time both, print how they compare, write the figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--preset", choices=tuple(PRESETS), default="tiny")
    asked.add_argument("--turns", type=int, default=9)
    asked.add_argument("--steps", type=int, default=5, help="optimizer steps in a turn")
    asked.add_argument("--json", type=Path, default=RESULTS / "ranks.json")
    given = asked.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in a run; what is started here inherits it
    groups = {"one process, two threads": begun(1, given.preset), "two ranks": begun(CORES, given.preset)}
    turns = [
        {name: seconds_of(ends, given.steps) for name, ends in groups.items()} for _ in range(WARM_UP + given.turns)
    ][WARM_UP:]
    for ends in groups.values():
        for end in ends:
            end.send(0)
    alone, shared = ([turn[name] / given.steps for turn in turns] for name in groups)
    rows = dict(zip(groups, (spread(alone)._asdict(), spread(shared)._asdict()), strict=True))
    fast = spread([one / two for one, two in zip(alone, shared, strict=True)])
    for name, row in rows.items():
        print(f"{name}: {1e3 * row['median']:.1f} ms a step ({1e3 * row['low']:.1f} to {1e3 * row['high']:.1f})")
    print(f"two ranks are {fast.median:.2f} times as fast ({fast.low:.2f} to {fast.high:.2f})")
    told = {"preset": given.preset, "steps_in_a_turn": given.steps, "seconds": rows, "times_as_fast": fast._asdict()}
    given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
