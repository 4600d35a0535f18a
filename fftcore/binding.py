"""From a command line to a run: what is asked for, bound to this machine, and compared with what a run was begun as."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from plateau_rule.controller.binding import Binding
from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import BindingWarning
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.soundness import answers_of, require_sound
from plateau_rule.fftcore.config import DEFAULT_PRESET, METRICS, PRESETS, TARGET, Config, read_save_every
from plateau_rule.fftcore.contradictions import not_as_begun, refuse_another_backbone
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.record import BoundRun, CurriculumRecord, Record, TextRecord, command_line, versions
from plateau_rule.fftcore.saving import OnSaveError

if TYPE_CHECKING:
    from plateau_rule.fftcore.data import Text


Resume = bool | Literal["auto"]  # whether to go on with a run; "auto" where there is one
FOLLOWING = {"d_model": "feed_width", "feed": "feed_width", "chunk": "draft_every"}  # what, at 0, follows another
MOST_STEPS = 10**12 - 1  # as many as the name of a checkpoint can count


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What replaces a value of the preset."""

    peak: float | None = None
    "Peak learning rate, in place of the preset's or the curriculum's."
    d_model: int | None = None
    "Channels."
    layers: int | None = None
    "Blocks."
    seq_len: int | None = None
    "Bytes of context."
    kernel_len: int | None = None
    "Taps of the convolution along time."
    kernel_groups: int | None = None
    "Kernels in a block."
    chunk: int | None = None
    "Bytes that the chunk head drafts."
    objective: Literal["dense", "chunk-last"] | None = None
    "What is trained: the next byte at every position, or, as published, the chunk after the last one."
    memory: bool | None = None
    "Let every second block mix along time by a memory, in place of the convolution."
    feed: Literal["gelu", "swiglu"] | None = None
    "The feed-forward half of a block."
    draft_every: int | None = None
    "Positions from one at which the chunk head drafts in training to the next, a multiple of `chunk`."
    published: bool | None = None
    "The published model, made causal: AdamW, dropout 0.1, weight decay 5e-4; what else is given replaces its values."
    batch_size: int | None = None
    "Windows in one forward pass."
    accumulation: int | None = None
    "Forward passes in one optimizer step."
    optimizer: Literal["muon", "adamw"] | None = None
    "What moves the blocks' matrices."
    weight_decay: float | None = None
    "Weight decay, on matrices."
    grad_clip: float | None = None
    "Largest norm of the gradient."
    dropout: float | None = None
    "Share that is dropped of each half block's output."
    compile: bool | None = None
    "Have torch compile the model, which takes a minute: for GPUs."
    save_every: str | None = None
    "Optimizer steps from one checkpoint to the next, or minutes: 500, `500 steps`, `10 minutes`."

    def given(self) -> dict[str, Any]:
        """Return those that were given, by their name on the command line."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NOTHING = Overrides()


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What was asked for on the command line, but for the curriculum; None where nothing was said."""

    data: Path | None = None
    out: Path
    config: Path | None = None  # the file that some of it comes from
    preset: str | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = None
    seed: int | None = None
    device: str | None = None
    freeze_backbone: Path | None = None
    on_change: str = "refuse"
    log_every: int = 50
    unchecked: bool = False
    ranks: int = 1
    keep: int = 2
    on_save_error: OnSaveError = "stop"
    track: tuple[str, ...] = ()
    overrides: Overrides = NOTHING


def plan_run(
    curriculum: Curriculum, source: bytes, asked: RunOptions, say: Callable[[str], None] = print
) -> tuple[Record, Text]:
    """Work out all that a new run is, and read its text, before anything is written."""
    import torch

    from plateau_rule.fftcore.data import read_text
    from plateau_rule.fftcore.device import card_of, choose_device
    from plateau_rule.fftcore.reading import read_commit_in
    from plateau_rule.fftcore.state import config_of

    device = choose_device(asked.device)
    config = PRESETS[asked.preset or DEFAULT_PRESET]
    backbone = None
    if asked.freeze_backbone is not None:
        commit, passed_over = read_commit_in(asked.freeze_backbone)
        for line in passed_over:
            say(f"passed over: {line}")
        backbone = commit.path
        config = config.model_copy(update={"model": config_of(commit).model})
    shape, config = config.model, override_config(config, asked.overrides.given())
    if backbone is not None:
        refuse_another_backbone(asked.freeze_backbone, asked.config, asked.overrides.given(), shape, config.model)
    refuse_zero_phase(config)
    text = read_text(asked.data)
    text.require(config.model.seq_len + config.model.chunk)
    lag = 1 if device.type == "cuda" else 0  # one step late, and the device need not be waited for
    length = (asked.epochs, asked.steps_per_epoch)
    controller = bind_to_trainer(curriculum, config, *length, config.peak, lag, asked.ranks)
    return Record(
        fingerprint=controller.fingerprint,
        curriculum=CurriculumRecord(name=curriculum.name, text=source.decode()),
        bound=bound_run(controller, config),
        preset=asked.preset or DEFAULT_PRESET,
        config=config,
        seed=asked.seed or 0,
        text=TextRecord(name=_absolute(text.name), bytes=len(text), sha256=text.sha256),
        heads_only=backbone is not None,
        backbone=None if backbone is None else _absolute(str(backbone)),
        device=str(device),
        card=card_of(device),
        threads=torch.get_num_threads(),
        ranks=asked.ranks,
        versions=versions(),
        command=command_line(),
        checked=checked(controller, asked.unchecked),
    ), text


def bound_run(controller: Controller, config: Config) -> BoundRun:
    """What a run's record says that its curriculum was bound to."""
    run = controller.machine.run
    return BoundRun(
        limits=dict(limits(config)),
        epochs=run.epochs or 0,
        steps_per_epoch=run.steps_per_epoch or 0,
        tokens_per_step=_tokens_per_step(controller.machine.curriculum, config),
        peak=controller.machine.peak,
        lag=controller.lag,
    )


def checked(controller: Controller, unchecked: bool) -> dict[str, str] | None:
    """Check the bound curriculum; what is known about each property, or None where nobody is to ask.

    Raises:
        UnsoundError: a property is broken.
    """
    return None if unchecked else answers_of(require_sound(controller.machine, unless="--unchecked"))


def _absolute(name: str) -> str:
    """Return a path as it can be found from anywhere; the embedded text's name stays."""
    from plateau_rule.fftcore.data import EMBEDDED

    return name if name == EMBEDDED else str(Path(name).absolute())


def continue_run(record: Record, curriculum: Curriculum, source: bytes, asked: RunOptions) -> Record:
    """Compare what is asked for with what the run is, and lengthen it if that is asked for.

    Raises:
        RunError: something else is asked for than what the run is, or the run is of a model that is not trained here.
    """
    refuse_zero_phase(record.config)
    was: dict[str, object] = {
        **record.config.model_dump(exclude={"model", "peak"}),
        **record.config.model.model_dump(),
        "draft_every": record.config.model.drafts_apart,
        "peak": record.bound.peak,
        "seed": record.seed,
        "steps-per-epoch": record.bound.steps_per_epoch,
    }
    given = {**asked.overrides.given(), "seed": asked.seed, "steps-per-epoch": asked.steps_per_epoch}
    if "save_every" in given:
        given["save_every"] = _save_every(given["save_every"])
    if given.get("draft_every") == 0:
        given["draft_every"] = record.config.model.chunk
    for name, value in given.items():
        if value is not None and value != was[name]:
            raise RunError(not_as_begun(asked.out, asked.config, name, value, was[name]))
    if asked.preset is not None and asked.preset != record.preset:
        raise RunError(
            f"{asked.out}: its checkpoints are of another model, of preset {record.preset}. Leave --preset out to "
            "resume, or begin another run with another --out"
        )
    if asked.freeze_backbone is not None and not _lies_in(record.backbone, asked.freeze_backbone):
        was_taken = record.backbone or "no frozen backbone"
        raise RunError(not_as_begun(asked.out, asked.config, "freeze-backbone", asked.freeze_backbone, was_taken))
    if asked.epochs is not None and asked.epochs < record.bound.epochs:
        told = not_as_begun(asked.out, asked.config, "epochs", asked.epochs, record.bound.epochs)
        raise RunError(f"{told} A longer run is fine")
    changed: dict[str, Any] = {}
    if asked.epochs is not None:
        changed["bound"] = record.bound.model_copy(update={"epochs": asked.epochs})
    if asked.on_change == "accept":
        changed["curriculum"] = CurriculumRecord(name=curriculum.name, text=source.decode())
    return record.model_copy(update=changed)


def _save_every(given: object) -> int | str:
    try:
        return read_save_every(given)
    except ValueError as error:
        raise RunError(str(error)) from None


def _lies_in(backbone: str | None, asked: Path) -> bool:
    """Whether a run's backbone is from the commit that is asked for, or from one in the folder that is."""
    return backbone is not None and Path(backbone).is_relative_to(asked.absolute())


def refuse_zero_phase(config: Config) -> None:
    """Raise RunError for the published model as it was, which sees the future."""
    if config.model.zero_phase:
        raise RunError(
            "zero_phase: the published model as it was sees the bytes that it is asked to predict; it is a reference "
            "for tests and benchmarks, and is not trained here. Its causal form is --published"
        )


def read_same_text(record: Record, asked: RunOptions) -> Text:
    """Read the text that the run was begun with, from where it was or from where it is now.

    Raises:
        RunError: it is another text.
    """
    from plateau_rule.fftcore.data import EMBEDDED, read_text

    path = asked.data or (None if record.text.name == EMBEDDED else Path(record.text.name))
    text = read_text(path)
    if text.sha256 != record.text.sha256:
        raise RunError(
            f"{text.name}: is another text than the run in {asked.out} was begun with ({record.text.bytes} bytes, "
            f"SHA-256 {record.text.sha256[:12]}…). Name that one by --data, or begin another run with another --out"
        )
    return text


def override_config(config: Config, given: dict[str, Any]) -> Config:
    """Return a config with some values replaced.

    Raises:
        RunError: a value is out of range, or does not fit the others.
    """
    own = (config.as_published() if given.get("published") else config).model_dump()
    for name in given.keys() & FOLLOWING.keys():
        if given[name] != own["model"][name]:  # what follows it in the preset was meant for the preset's value
            own["model"][FOLLOWING[name]] = 0
    for name, value in given.items():
        if name in own["model"]:
            own["model"][name] = value
        else:
            own[name] = value
    try:
        return Config.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":  # values that do not fit each other, in a sentence of the config's own
            raise RunError(str(first["ctx"]["error"])) from None
        flag = "--" + str(first["loc"][-1]).replace("_", "-")
        asked = re.sub("^Input should be (?=less|greater)", "expected a number ", str(first["msg"]))
        asked = asked.replace("Input should be", "expected")
        raise RunError(f"{flag} {first['input']}; {asked}") from None


def _tokens_per_step(curriculum: Curriculum, config: Config) -> int | tuple[int | str, ...]:
    """The bytes of a step: with the knobs that decide them, where the curriculum turns those."""
    most = {"batch_size": config.batch_size, "seq_len": config.model.seq_len}
    knobs = [name for name in most if name in curriculum.knob]
    number = config.accumulation * prod(value for name, value in most.items() if name not in knobs)
    return (number, *knobs) if knobs else number


def bind_to_trainer(
    curriculum: Curriculum,
    config: Config,
    epochs: int | None,
    steps_per_epoch: int | None,
    peak: float | None,
    lag: int,
    ranks: int = 1,
) -> Controller:
    """Bind a curriculum to this trainer.

    Raises:
        BindingError: it does not fit.
        RunError: the run has no length, or a knob has a value that this trainer cannot take, on so many ranks.
    """
    epochs = epochs if epochs is not None else curriculum.run.epochs
    steps_per_epoch = steps_per_epoch if steps_per_epoch is not None else curriculum.run.steps_per_epoch
    for flag, value in (("--epochs", epochs), ("--steps-per-epoch", steps_per_epoch)):
        if value is None:
            raise RunError(f"how long is the run? The curriculum's [run] does not say; give {flag}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)  # said as a line of the run's own
        binding = Binding(
            limits(config),
            metrics=(*METRICS, TARGET),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            tokens_per_step=_tokens_per_step(curriculum, config),
            peak=peak,
            lag=lag,
        )
        controller = Controller(curriculum, binding)
    run = controller.machine.run
    if (run.epochs or 0) * (run.steps_per_epoch or 0) > MOST_STEPS:
        raise RunError(
            f"{run.epochs} epochs of {run.steps_per_epoch} steps are more than the {MOST_STEPS:,} steps that a run can "
            "have here. Give a smaller number by --epochs or --steps-per-epoch"
        )
    for state in controller.machine.states:
        for name, rung in state.knobs.items():
            if isinstance(rung, str) or rung < 1 or rung != int(rung):
                raise RunError(f'state "{state.name}": {name} = {rung}; this trainer takes whole numbers of at least 1')
    refuse_uneven_batches(controller, ranks)
    return controller


def refuse_uneven_batches(controller: Controller, ranks: int) -> None:
    """Raise RunError where the windows of a batch cannot be shared out equally among the ranks, in any state."""
    machine = controller.machine
    limit = (machine.limits or {})["batch_size"]
    for state in machine.states:
        values, spacing = [state.knobs.get("batch_size", limit)], float(ranks)
        if ramp := state.ramps.get("batch_size"):
            values += [ramp.start, ramp.end, *(ramp.rungs or ())]
            spacing = spacing if ramp.rungs is not None else ramp.multiple_of or 1
        uneven = [f"a batch of {float(value):g} windows" for value in values if float(value) % ranks]
        uneven += [f"a batch whose size moves in steps of {spacing:g}"] if spacing % ranks else []
        if uneven:
            raise RunError(
                f'state "{state.name}": {uneven[0]} cannot be shared out equally among {ranks} ranks. '
                f"Let every batch_size be a multiple of {ranks}, or start another number of ranks"
            )
