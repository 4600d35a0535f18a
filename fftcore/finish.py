"""What is written when a run is over: its score, its picture, its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log
from pathlib import Path
from tempfile import TemporaryDirectory

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import NonFiniteLoss, PlateauError
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.plan import Plan
from plateau_rule.fftcore.device import peak_memory
from plateau_rule.fftcore.errors import StorageError
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.progress import Progress
from plateau_rule.fftcore.record import CURVE, LARGEST_RECORD_BYTES, SUMMARY, Record
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.fftcore.storage import Disk, read_file
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
    """Score the model on more held-out text, write `curve.png` and `summary.json`, and say how the run went.

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
    show.say(f"done: {controller.plan.stop}")
    show.say(f"chunk head, bits/byte by offset: {' '.join(f'{bits:.2f}' for bits in drafts)}")
    for line in verdict:
        show.say(line)
    _draw(folder, show, disk)
    disk.replace_file(folder / SUMMARY, seal(summary))  # last: where it is, nothing is left to do
    if not isfinite(scores["val_bpb"]):
        raise NonFiniteLoss(
            f"step {controller.plan.step}: the run is over, and its model is not finite: {scores['val_bpb']} bits/byte "
            f"on held-out text. The checkpoints in {folder} are of steps at which the loss was finite. Begin another "
            "run, with a lower peak rate: --peak"
        )
    show.say(f"peak memory: {peak_memory(learner.device)}")
    show.say(f"the model writes: {_printable(learner.sample(PROMPT, 200, record.seed))}")
    show.say(
        f"validation: {scores['val_bpb']:.4f} bits/byte as a stream, {scores['val_bpb_parallel']:.4f} in parallel, "
        f"on {summary['bytes']:,} bytes ({scores['val_bpb'] * log(2):.4f} nats)"
    )
    show.say(f"all of it is in {folder}")


def was_finished(folder: Path, plan: Plan) -> bool:
    """Return whether a run was scored that is over by a plan: its summary is whole, of that step and a finite score."""
    try:
        summary = unseal(read_file(folder / SUMMARY, LARGEST_RECORD_BYTES))
    except (OSError, ValueError):
        return False
    return plan.stop is not None and summary.get("steps") == plan.step and isinstance(summary.get("bpb_stream"), float)


def _draw(folder: Path, show: Progress, disk: Disk) -> None:
    """Draw the run's picture, or say why not."""
    try:
        with TemporaryDirectory() as aside:  # and not in the folder, where a link would be written through
            draw_run(folder, Path(aside) / CURVE)
            disk.replace_file(folder / CURVE, (Path(aside) / CURVE).read_bytes())
    except StorageError:
        raise
    except (PlateauError, OSError) as error:
        show.say(f"no {CURVE}: {error}")


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
