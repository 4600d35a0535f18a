"""Damages copies of a run's folder and resumes them, each in a child of a process that has torch loaded already.

`python -m tests.faults.damaging --folders 1000`: each folder must be refused in one sentence and left as it was, or
end as the undamaged run ends; nothing outside of it may be touched. A line is printed for each that is not, and one
line of JSON, which counts. `--plant NAME` puts a defect in first, which must be found.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import torch

import plateau_rule.fftcore.finish
import plateau_rule.fftcore.tensors
from plateau_rule.commands import app
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.storage import Disk
from tests.faults.damages import DAMAGES, Damage
from tests.faults.forks import forked, temporary
from tests.faults.killing import in_step, picture
from tests.fftcore.micro import CURRICULUM, run

COMPARED = ("metrics.jsonl", "decisions.jsonl", "summary.json", "checkpoints/step-00000032/weights.safetensors")
STOPPED = 29  # steps taken when the run that is damaged was told to end


def tree(folder: Path) -> Mapping[str, object]:
    """What is in a folder: each name with its bytes, or where it leads to."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
    return found


def planted(name: str) -> None:
    """Put a defect into the trainer."""
    if name == "no comparison":  # a commit's tensors are taken as they are
        plateau_rule.fftcore.tensors.refuse_another = lambda *given: None
    elif name == "links followed":  # what a link leads to is emptied
        remove = Disk.remove
        Disk.remove = lambda self, path: remove(self, path.resolve())  # type: ignore[method-assign]
    elif name:
        raise SystemExit(f"no such defect: {name}")


class Damaged:
    """A run that is over, the same run stopped before its end, and damaged copies of that.

    Args:
        folder: for all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "micro.toml").write_bytes(CURRICULUM)
        whole, self.stopped = folder / "whole", folder / "stopped"
        run(whole, overrides={"save_every": 4})
        step_of = Learner.step
        in_step(STOPPED - 1, signal.SIGTERM)
        run(self.stopped, overrides={"save_every": 4})
        Learner.step = step_of  # type: ignore[method-assign]
        self.expected = {name: (whole / name).read_bytes() for name in COMPARED}

    def tried(self, how: Damage, seed: int) -> tuple[str, str]:
        """Damage a copy, resume it, and return what became of it, and what is wrong with that, if anything."""
        place = self.folder / f"{how.__name__}-{seed}"
        out, outside, told = place / "run", place / "outside", place / "told"
        shutil.copytree(self.stopped, out)
        outside.mkdir()
        (outside / "precious").write_bytes(b"precious")
        (outside / "step-00000004").mkdir()
        (outside / "step-00000004" / "weights.safetensors").write_bytes(b"precious")
        how(out, outside, random.Random(f"{how.__name__} {seed}"))
        before = tree(outside), tree(out)
        words = ["train", str(self.folder / "micro.toml"), "--resume", "--out", str(out)]
        code = forked(lambda: app.main(words), told)
        said = told.read_text(errors="replace")
        became, fault = self._judged(code, said, out, tree(out) == before[1])
        if tree(outside) != before[0]:
            fault = "something outside was touched"
        if not fault:
            shutil.rmtree(place)
        return became, f"{fault}: {said[-400:]}" if fault else ""

    def _judged(self, code: int, said: str, out: Path, unchanged: bool) -> tuple[str, str]:
        if code == -signal.SIGALRM:
            return "hangs", "it hangs"
        if "Traceback" in said or code not in (0, 2):
            return "breaks", f"it ends with {code}"
        if code == 2:
            began = "resumed at step" in said
            return "refused", "" if began or unchanged else "it was refused, and something was changed"
        same = all((out / name).is_file() and (out / name).read_bytes() == was for name, was in self.expected.items())
        return (
            "passed over" if "passed over" in said else "harmless"
        ), "" if same else "it went another way, unnoticed"


def main() -> int:
    """Count, and return 1 if anything is wrong with any of them."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--folders", type=int, default=1000)
    asked.add_argument("--first", type=int, default=0, help="number of the first, to count in parts")
    asked.add_argument("--plant", default="")
    asked.add_argument("--only", default="", help="one way to damage them")
    given = asked.parse_args()
    torch.set_num_threads(1)
    plateau_rule.fftcore.finish.draw_run = picture  # type: ignore[attr-defined]
    Learner.sample = lambda *given: b""  # type: ignore[method-assign]
    planted(given.plant)
    became, wrong = Counter[str](), 0
    with temporary() as folder:
        with redirect_stdout(io.StringIO()):
            damaged = Damaged(Path(folder))
        ways = [how for how in DAMAGES if given.only in ("", how.__name__)]
        for number in range(given.first, given.first + given.folders):
            how, seed = ways[number % len(ways)], number // len(ways)
            end, fault = damaged.tried(how, seed)
            became[end] += 1
            if fault:
                wrong += 1
                print(f"{how.__name__} {seed}: {fault}", flush=True)
    print(json.dumps({"folders": given.folders, "became": became, "wrong": wrong}))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
