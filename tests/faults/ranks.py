"""Trains on one, two and four ranks, and harms one of them: the run ends as it would have, or all stop and it is named.

`python -m tests.faults.ranks --times 10` prints a line for each try, which says what was wrong if anything was, and one
line of JSON, which counts. `--only "in a meeting"` kills a rank at this moment and does nothing else. What tells a dead
rank from a slow one is a wait of seconds: `--patience 5` makes each five times as long, on a machine that does other
work. `--plant NAME` puts a defect in first, which must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from itertools import cycle, islice
from pathlib import Path
from shutil import rmtree
from threading import Timer

import torch

import plateau_rule.fftcore.finish
from plateau_rule import Binding, Controller, loads
from plateau_rule.fftcore import lookout, ranks
from plateau_rule.fftcore.data import WindowBatch, Windows
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.ranks import World, together
from plateau_rule.fftcore.storage import Disk
from tests.faults.forks import temporary
from tests.faults.killing import in_update, picture
from tests.fftcore.micro import CURRICULUM, micro_text
from tests.fftcore.ranked import REQUESTS, SHAPE, differences, in_step, ranked, train

STEPS, LONG, MEETINGS = 32, 200, 70
# Seconds that tests wait where a run waits minutes: until a rank that is stopped counts as gone, and so on.
WAITS_S = {
    (lookout, "LOOK_S"): 0.1,
    (lookout, "LONG_S"): 1.0,
    (lookout, "SILENT_S"): 6.0,
    (lookout, "LEAVE_S"): 3.0,
    (ranks, "GRACE_S"): 3.0,
    (ranks, "ARRIVAL_S"): 10.0,
    (ranks, "LEAVE_S"): 5.0,
}
LONGER = REQUESTS.replace(b"epochs = 4", b"epochs = 8").replace(b"steps_per_epoch = 8", b"steps_per_epoch = 25")
Fault = Callable[[], None]


def nothing() -> None:
    """Harm nobody."""


class Ranks4:
    """Runs on four ranks, each beside the run that one process trains.

    Args:
        folder: where they are.
        dice: says when and where harm is done.
        plant: a defect that each process has.
    """

    def __init__(self, folder: Path, dice: random.Random, plant: Fault) -> None:
        self.folder, self.dice, self.plant = folder, dice, plant
        (folder / "micro.txt").write_bytes(micro_text())

    @cached_property
    def whole(self) -> Path:
        """The run that one process trained."""
        return self._trained("whole", REQUESTS)

    @cached_property
    def long(self) -> Path:
        """The same for a run of 200 steps."""
        return self._trained("long", LONGER)

    def _trained(self, name: str, curriculum: bytes) -> Path:
        if self._on(1, self.folder / name, {}, curriculum) != [0]:
            raise SystemExit(self._told())
        return self.folder / name

    def _on(
        self, size: int, out: Path, faults: Mapping[int, Fault], curriculum: bytes = REQUESTS, resume: bool = False
    ) -> list[int]:
        def work(rank: int) -> int:
            self.plant()
            faults.get(rank, nothing)()
            return train(out, curriculum=curriculum, resume=resume)

        (self.folder / "told").unlink(missing_ok=True)
        return ranked(size, work, self.folder / "told")

    def _told(self) -> str:
        return (self.folder / "told").read_text()

    def harmed(self, count: int, rank: int, fault: Fault, codes: list[int], told: str) -> str:
        """Train on some ranks with a fault in one, then go on with one process; say what was wrong, or nothing.

        Args:
            count: how many ranks.
            rank: which is harmed.
            fault: what happens there.
            codes: the exit codes of all, but where the harmed rank is killed.
            told: what is said, a regular expression.
        """
        out = self.folder / "run"
        rmtree(out, ignore_errors=True)
        found = self._on(count, out, {rank: fault})
        if (
            found == [0 if code == 2 else code for code in codes]
            and (out / "checkpoints" / f"step-{STEPS:08d}").exists()
        ):
            told = ""  # it was harmed when all was done
        elif found != codes:
            return f"exit codes {found}: {self._told()[-500:]}"
        if not re.search(told, self._told()):
            return f"not said: {told}: {self._told()[-500:]}"
        if codes != [0] * count and (codes := self._on(1, out, {}, resume=(out / "run.json").exists())) != [0]:
            return f"not resumed: {codes}: {self._told()[-500:]}"
        return "; ".join(differences(self.whole, out)[:3]) if fault not in SPOILS else ""

    def killed(self, name: str) -> str:
        """Kill one of four ranks at one of the moments, or stop it so that it only seems to be there."""
        rank, number = self.dice.randrange(4), self.dice.randrange(10_000)
        if name == "saving":
            rank = 0  # which is the one that does
        codes = [-9 if one == rank else 2 for one in range(4)]
        fault = self.harmed(4, rank, partial(MOMENTS[name], number), codes, f"rank {rank} (does not answer|of 4 did)")
        return fault and f"{number}, rank {rank}: {fault}"

    def not_finite(self) -> str:
        """Make the loss of one rank NaN in one step."""
        rank, step = self.dice.randrange(4), self.dice.randrange(STEPS - 1)
        fault = partial(spoil_loss, step)
        SPOILS.append(fault)
        return self.harmed(4, rank, fault, [0] * 4, f"step {step}: the loss of rank {rank} alone is not finite")

    def turned(self) -> str:
        """Turn one bit of the weights of one rank."""
        rank, step = self.dice.randrange(4), self.dice.randrange(STEPS - 1)
        fault = partial(in_step, step, partial(turn_bit, self.dice))
        # A bit that makes a loss infinite, or a gradient another one, is seen at once, any other at the next commit.
        return self.harmed(4, rank, fault, [2] * 4, f"rank {rank} (has other weights|has another gradient)")

    def pieces(self) -> str:
        """Cut a run of 200 steps in ten pieces, on one, two and four ranks in turn."""
        out = self.folder / "pieces"
        rmtree(out, ignore_errors=True)
        for number, step in enumerate([*sorted(self.dice.sample(range(1, LONG - 1), 9)), LONG]):
            count = (1, 2, 4)[number % 3]
            told = {self.dice.randrange(count): partial(in_step, step, end)}
            codes = self._on(count, out, told, LONGER, resume=number > 0)
            if codes != [0 if step == LONG else 143] * count:
                return f"piece {number}, to step {step} on {count} ranks: {codes}: {self._told()[-500:]}"
        return "; ".join(differences(self.long, out)[:3])


SPOILS: list[Fault] = []  # after which a run is another


def die() -> None:
    """End this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def before(place: type, method: str, number: int = 1, act: Fault = die) -> None:
    """From now on, do something where a method is called for the `number`th time."""
    called, left = getattr(place, method), [number]

    def call(*given: object, **named: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            act()
        return called(*given, **named)

    setattr(place, method, call)


def at_any_time(number: int) -> None:
    """End this process within two seconds from when it takes its first step, whatever it does by then."""
    before(Learner, "step", 1, lambda: Timer(number / 5_000, die).start())


def stop(learner: Learner) -> None:
    """Stop this process, which keeps its connections; when the others have left, it is killed."""
    me = os.getpid()
    if os.fork() == 0:
        time.sleep(3 * lookout.SILENT_S)
        os.kill(me, signal.SIGKILL)
        os._exit(0)
    os.kill(me, signal.SIGSTOP)


# Where a rank is killed; a number below 10,000 says when.
MOMENTS: Mapping[str, Callable[[int], None]] = {
    "before the others know it": lambda number: before(ranks, "_world"),  # type: ignore[arg-type]
    "joining": lambda number: before(World, "meet"),
    "handed something": lambda number: before(World, "share", 1 + number % 9),
    "before a step": lambda number: in_step(number % STEPS, lambda learner: die()),
    "in an update": lambda number: in_update(number % STEPS),
    "in a meeting": lambda number: before(World, "gather", 1 + number % MEETINGS),
    "at any time": at_any_time,
    "saving": lambda number: before(Disk, "write_file", 1 + number % 30),
    "parting": lambda number: before(World, "part"),
    "parted": lambda number: before(World, "_leave_together"),
    "stopped": lambda number: in_step(number % STEPS, stop),
}


def end(learner: Learner) -> None:
    """Tell this process to end."""
    os.kill(os.getpid(), signal.SIGTERM)


def spoil_loss(number: int) -> None:
    """From now on, one step's hidden states are NaN."""
    hooks = []

    def spoil(learner: Learner) -> None:
        hooks.append(learner.model.norm.register_forward_hook(lambda module, given, result: result * torch.nan))

    in_step(number, spoil)
    in_step(number + 1, lambda learner: hooks.pop().remove())


def turn_bit(dice: random.Random, learner: Learner) -> None:
    """Turn one bit of one weight, a low one: nothing shows but in the weight."""
    bits = dice.choice(learner.parameters).data.view(torch.int32).flatten()
    bits[dice.randrange(len(bits))] ^= 1 << dice.randrange(8)


def uneven(count: int, steps: int, folder: Path, plant: Fault) -> str:
    """Let controllers on some ranks observe losses that differ between them; say what went wrong, or nothing."""

    def observe(world: World) -> int:
        plant()
        dice = random.Random(world.rank)
        binding = Binding({"cutoff": 1025}, epochs=4, steps_per_epoch=steps // 4)
        controller = Controller(loads(CURRICULUM, "micro.toml"), binding)
        while controller.plan.stop is None:
            step = controller.plan.step
            world.agree(step, json.dumps(controller.state_dict()), [0])
            own = 5 / (1 + step / 100) + dice.random() / (1 + world.rank)
            (loss,) = world.mean_loss(step, [own], 1.0, print)
            controller.observe(loss, step=step)
        world.part()
        return 0

    codes = ranked(count, lambda rank: together(observe), folder / "told")
    return "" if codes == [0] * count else f"exit codes {codes}: {(folder / 'told').read_text()[-500:]}"


def planted(name: str) -> Fault:
    """Return a defect of the trainer, to be put into each process."""
    if name == "wrong share":  # every rank trains on the windows of the first
        batch_of = Windows.batch

        def batch(self: Windows, step: int, **how: int) -> WindowBatch:
            return batch_of(self, step, **how | {"rank": 0})

        return lambda: setattr(Windows, "batch", batch)
    if name == "own loss":  # each controller sees the loss of its own rank
        return lambda: setattr(World, "mean_loss", lambda self, step, losses, norm, say: list(losses))
    if name == "own end":  # nobody is told of a signal that another rank was sent
        agree_of = World.agree
        return lambda: setattr(
            World, "agree", lambda self, step, text, flags: [flags[0], *agree_of(self, step, text, flags)[1:]]
        )
    if name:
        raise SystemExit(f"no such defect: {name}")
    return nothing


def tries_of(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is asked for, each with its name."""
    plant = planted(given.plant)
    runs = Ranks4(folder, random.Random(given.seed), plant)
    for moment in given.only or islice(cycle(MOMENTS), given.times):
        yield f"killed, {moment}", partial(runs.killed, moment)
        if not given.only:
            yield "not_finite", runs.not_finite
            yield "turned", runs.turned
    if not given.only:
        yield from [("pieces", runs.pieces)] * given.pieces
        for count in (2, 4):
            yield f"uneven, {count} ranks", partial(uneven, count, given.steps, folder, plant)


def main() -> int:
    """Count, and return 1 if anything went otherwise than it should."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--times", type=int, default=len(MOMENTS), help="of each fault")
    asked.add_argument("--only", choices=MOMENTS, action="append", help="the moment of a kill; can be given repeatedly")
    asked.add_argument("--pieces", type=int, default=1, help="runs of 200 steps that are cut in ten")
    asked.add_argument("--steps", type=int, default=10_000, help="of uneven losses")
    asked.add_argument("--patience", type=float, default=1.0, help="how many times as long each wait is")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--plant", default="")
    given = asked.parse_args()
    torch.set_num_threads(1)
    plateau_rule.fftcore.finish.draw_run = picture  # type: ignore[attr-defined]
    for (module, name), wait_s in WAITS_S.items():
        setattr(module, name, wait_s * (1 if name == "LOOK_S" else given.patience))
    counts, wrong = Counter[str](), 0
    with temporary() as folder:
        for name, carry_out in tries_of(given, Path(folder)):
            counts[name.partition(",")[0]] += 1
            began = time.perf_counter()
            fault = carry_out()
            wrong += bool(fault)
            print(f"{name}: {fault or 'right'}, {time.perf_counter() - began:.0f} s", flush=True)
    print(json.dumps({"tries": counts, "wrong": wrong, "shape": SHAPE}))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
