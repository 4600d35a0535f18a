"""A user's folder, and the main use of every command in it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from plateau_rule import Binding, Controller, load
from plateau_rule.sim.run_folder import RunFolder
from tests.conftest import ROOT

# What each command is for, in a folder that `write` has filled.
USES = {
    "check": "check mine.toml",
    "diff": "diff plateau mine.toml --log losses.jsonl",
    "explain": "explain misaligned",
    "fmt": "fmt --check mine.toml",
    "import": "import arguments.sh -o imported.toml",
    "draw": "draw mine.toml -o mine.svg",
    "schema": "schema -o schema.json",
    "replay": "replay mine.toml losses.jsonl",
    "noise": "noise --curriculum mine.toml losses.jsonl",
    "page": "page mine.toml losses.jsonl --no-browser",
    "report": "report mine.toml losses.jsonl -o run.html",
    "plot": "plot losses.jsonl --out curve.svg",
    "simulate": "simulate mine.toml --learners 20 --epochs 3 --workers 1",
    "tune": "tune mine.toml --log losses.jsonl --over window=50..100 --trials 2 --workers 1",
    "fit": "fit losses.jsonl",
    "test": "test mine.test.toml",
    "lsp": "lsp",
    "probe": "probe rungs.toml --trainer toy.py:train --budget 40cost --seeds 1 --workers 1",
    "compare": "compare rungs.toml full --trainer toy.py:train --budget 40steps --steps-per-epoch 10",
    "runs": "runs .",
    "train": "train mine.toml --out run --epochs 1 --steps-per-epoch 2 --device cpu --unchecked",
    "branch": "branch run mine.toml --out longer --epochs 2 --unchecked",
    "generate": "generate run --bytes 20 --device cpu",
    "evaluate": "evaluate run --data mine.toml --device cpu",
    "export": "export run --out model",
}
# A ladder of two rungs, and a function that trains under it.
RUNGS = {
    "rungs.toml": """
name = "rungs"
run  = { steps_per_epoch = 10 }
lr   = { peak = 1e-3, length = "40 steps" }
knob = { size = { ladder = [1, 2], cost = [0.5, 1] } }
state = [{ name = "small", set = { size = 1 } }, { name = "large", set = { size = 2 } }]
transition = [{ from = "small", to = "large", actions = ["lr_restart"], guards = [{ dwell = "20 steps" }] }]
""",
    "toy.py": """
def train(curriculum, budget, seed):
    size = curriculum.state[0].set.get("size", 1)
    return [{"step": step, "score": size / step} for step in range(1, 80 // size + 1)]
""",
}
RUN = ("branch",)  # these take a run that `train` has left, and no extra
TRAINED = ("generate", "evaluate", "export")  # these take what it has trained
# The extras that commands need; all others need none.
EXTRAS = {
    "plot": "plot",
    "tune": "tune",
    "compare": "compare",
    "lsp": "lsp",
    "page": "page",
    **dict.fromkeys(("train", *TRAINED), "train"),
}


# How far something is, said every now and then on a slow machine.
PROGRESS = re.compile(r"[^:\n]+: [\d,]+( of [\d,]+)? \w+\n")


def complaints(errors: str) -> str:
    """What a command said on its standard error, but for how far it was."""
    return PROGRESS.sub("", errors)


def write(folder: Path) -> None:
    """Fill a folder with a curriculum, a scenario, a log, a run and the arguments of other trainers."""
    RunFolder(folder / "earlier", Controller(load("plateau"), Binding({"cutoff": 1025})), 0, "a-trainer").close()
    (folder / "mine.toml").write_text((ROOT / "curricula" / "plateau.toml").read_text())
    (folder / "mine.test.toml").write_text(
        'curriculum = "mine.toml"\n'
        '[[scenario]]\nname = "waits"\nlosses = ["flat 3 for 1 epoch"]\nexpect = [{ raises = 0 }]\n'
    )
    (folder / "arguments.sh").write_text("train --lr 1e-4 --train-iters 1000 --lr-warmup-iters 10\n")
    for name, text in RUNGS.items():
        (folder / name).write_text(text)
    with (folder / "losses.jsonl").open("w") as log:
        for step in range(3000):
            loss = 2 + 3 * math.exp(-step / 300) + 0.05 * math.sin(step * 2.4)
            log.write(json.dumps({"step": step, "loss": loss}) + "\n")
