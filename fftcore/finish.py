"""What is written when a run is over: its score, its picture, its verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite, log
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import NonFiniteLoss, PlateauError
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.fftcore.errors import StorageError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.progress import Progress
from plateau_rule.fftcore.record import CURVE, SUMMARY, Record
from plateau_rule.fftcore.storage import Disk
from plateau_rule.sim.plots import draw_run
from plateau_rule.sim.replayer.verdict import verdict_of_run
from plateau_rule.sim.run_folder import spelled

PROMPT = b"\n\n"


def finish(
    record: Record,
    curriculum: Curriculum,
    controller: Controller,
    learner: Learner,
    folder: Path,
    show: Progress,
    disk: Disk,
    refused: Sequence[int] = (),
) -> None:
    """Score the model on more held-out text, write `summary.json` and `curve.png`, and say how the run went.

    `refused`: steps of checkpoints that the disk refused, without which the run went on.

    Raises:
        LeakError: the model sees what it is asked to predict.
        NonFiniteLoss: the model is not finite; all but a sample of its writing is there.
    """
    scores = learner.score(final=True)
    drafts = learner.draft_bits()
    verdict = _verdict(curriculum, folder)
    windows_BW = learner.final_windows_BW
    summary = {
        "steps": controller.plan.step,
        "state": controller.plan.state,
        "knobs": dict(controller.plan.knobs),
        "split": "validation",
        "bytes": windows_BW.shape[0] * (windows_BW.shape[1] - record.config.model.chunk),
        "bpb_stream": spelled(scores["val_bpb"]),
        "bpb_parallel": spelled(scores["val_bpb_parallel"]),
        "bpb_draft": [spelled(bits) for bits in drafts],
        "checked": record.checked,
        "verdict": verdict,
        "checkpoints_refused": list(refused),
    }
    disk.replace_file(folder / SUMMARY, _spell(summary))
    show.say(f"done: {controller.plan.stop}")
    show.say(f"chunk head, bits/byte by offset: {' '.join(f'{bits:.2f}' for bits in drafts)}")
    for line in verdict:
        show.say(line)
    _draw(folder, show, disk)
    if not isfinite(scores["val_bpb"]):
        raise NonFiniteLoss(
            f"step {controller.plan.step}: the run is over, and its model is not finite: {scores['val_bpb']} bits/byte "
            f"on held-out text. The checkpoints in {folder} are of steps at which the loss was finite. Begin another "
            "run, with a lower peak rate: --peak"
        )
    show.say(f"the model writes: {_printable(learner.sample(PROMPT, 200, record.seed))}")
    show.say(
        f"validation: {scores['val_bpb']:.4f} bits/byte byte by byte, {scores['val_bpb_parallel']:.4f} in parallel, "
        f"on {summary['bytes']:,} bytes ({scores['val_bpb'] * log(2):.4f} nats)"
    )
    show.say(f"all of it is in {folder}")


def _draw(folder: Path, show: Progress, disk: Disk) -> None:
    try:
        with TemporaryDirectory() as aside:  # and not in the folder, where a link would be written through
            draw_run(folder, Path(aside) / CURVE)
            disk.replace_file(folder / CURVE, (Path(aside) / CURVE).read_bytes())
    except StorageError:
        raise
    except (PlateauError, OSError) as error:
        show.say(f"no {CURVE}: {error}")


def _spell(summary: Mapping[str, Any]) -> bytes:
    return (json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _printable(sample: bytes) -> str:
    """Put what a model wrote into one line that does a terminal no harm."""
    lines = [line for line in sample.decode("utf-8", "replace").splitlines() if line.strip()]
    return "".join(letter if letter.isprintable() else "·" for letter in " / ".join(lines))


def _verdict(curriculum: Curriculum, folder: Path) -> list[str]:
    """Say whether the curriculum was too fast, healthy or too slow for this run."""
    try:
        return str(verdict_of_run(curriculum, folder)).splitlines()
    except PlateauError as error:
        return [f"no verdict: {error}"]
