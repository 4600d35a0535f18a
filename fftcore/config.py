"""What one run is: the model's shape and how it is trained, frozen."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=2**31 - 1)]  # a tensor of more could not be counted, let alone held
N_FFT = 2048  # the fixed reference: a bin means the same frequency whatever the input's length
BINS = N_FFT // 2 + 1
LONGEST_KERNEL = N_FFT // 2  # taps; beyond, the mask's autocorrelation wraps around
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
METRICS = ("val_loss", "val_bpb", "val_bpb_parallel")  # what an evaluation brings, and guards may ask for
TARGET = "val_bpb_target"  # the score under the knobs of the target, brought only where a guard asks for it

_AMOUNT = re.compile(r"(\d{1,10}(?:\.\d{1,6})?)(?: (steps?|minutes?))?\Z", re.ASCII)
_MOST_STEPS = 2**31 - 1


def read_save_every(given: object) -> int | str:
    """Read how often a run is saved: a number of steps, or minutes, spelled in one way.

    Args:
        given: 500, "500", "500 steps" or "10 minutes".

    Raises:
        ValueError: with a sentence that says what was expected.
    """
    match = None if isinstance(given, bool) else _AMOUNT.match(str(given))
    if match and (match[2] or "steps").startswith("step"):
        if "." not in match[1] and 1 <= int(match[1]) <= _MOST_STEPS:
            return int(match[1])
    elif match and float(match[1]) > 0:
        return f"{float(match[1]):.12g} minute{'' if float(match[1]) == 1 else 's'}"
    raise ValueError(
        f'save_every {given!s:.40}: expected a number of steps or of minutes, such as 500, "500 steps" or "10 minutes"'
    )


def steps_between(save_every: int | str) -> int | None:
    """Return the steps from one commit to the next; None where they are made by the clock."""
    return save_every if isinstance(save_every, int) else None


SaveEvery = Annotated[int | str, PlainValidator(read_save_every)]


# A run that was begun before a setting existed goes on at the setting's default. So the default of a new one is what
# was done before there was one, and no default ever changes: what is better for new runs is said in PRESETS.


class Model(BaseModel):
    """The shape of one model; a checkpoint fits exactly the model it was saved from.

    Args:
        d_model: channels.
        layers: blocks.
        seq_len: bytes of context in training.
        kernel_len: taps of the convolution along time, 1024 at most.
        kernel_groups: kernels a block; each serves d_model / kernel_groups channels.
        chunk: bytes that the chunk head drafts.
        objective: "dense" trains the next byte at every position, and the chunk head beside it; "chunk-last", the
            published objective, trains the chunk head at a window's last position, and its first byte is the model's.
        published: the published architecture, made causal; it has one kernel a block.
        zero_phase: the published architecture as it was, with real masks and gates over the spectrum. Such a model sees
            the future: it is here for the leak alarm and the benchmarks, and good for nothing else.
        short_taps: taps of a second causal filter, one for each channel, before the long one; 0 for none. It has no
            cutoff: what it lets through, the long one limits.
        input_gate: gate what is filtered as well, by what stands at its position, not only what comes out.
        mixer_width: channels in which is mixed, between two linear maps; 0 mixes the model's own, without maps.
        feed_width: hidden channels of the feed-forward half; 0 is twice d_model, two thirds of that with "swiglu", in
            thirty-twos, which is about as many parameters. Of a SwiGLU of another width, bytes may have to be written
            without drafts.
        kernel_init: "noise" begins with white noise behind the first tap, "decays" with noise that fades out within a
            few taps in the first kernel of a block and over half of them in the last.
        decay: let what the taps meet fade, in each channel, by decays that every position since has set from what
            stands there.
        memory: let every second block, from the second on, mix along time by a memory in place of the convolution: in
            each channel a mean over the past whose weights are read from the text. It has neither cutoff nor taps.
        feed: the feed-forward half: "gelu" between two linear maps, or "swiglu", whose hidden channels are a linear map
            times the SiLU of another, without biases.
        draft_every: in training the chunk head drafts at every so many positions, a multiple of `chunk`; 0 is `chunk`.
            It is what the head costs in training: at 16 as much as the next byte's, at 64 a quarter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    d_model: Size
    layers: Size
    seq_len: Size
    kernel_len: Size = 128
    kernel_groups: Size = 8
    chunk: Size = 16
    objective: Literal["dense", "chunk-last"] = "dense"
    published: bool = False
    zero_phase: bool = False
    short_taps: Annotated[int, Field(ge=0, le=LONGEST_KERNEL)] = 0
    input_gate: bool = False
    mixer_width: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    feed_width: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    kernel_init: Literal["noise", "decays"] = "noise"
    decay: bool = False
    memory: bool = False
    feed: Literal["gelu", "swiglu"] = "gelu"
    draft_every: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0

    @property
    def drafts_apart(self) -> int:
        """Positions from one at which the chunk head drafts in training to the next."""
        return self.draft_every or self.chunk

    @property
    def mixer_channels(self) -> int:
        """Channels in which is mixed along time."""
        return self.mixer_width or self.d_model

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kernel_len > LONGEST_KERNEL:
            raise ValueError(
                f"kernel_len {self.kernel_len} is more than {LONGEST_KERNEL}: the band limit is that of a reference of "
                f"{2 * LONGEST_KERNEL} bytes, in which longer kernels would wrap around"
            )
        if self.draft_every % self.chunk:
            raise ValueError(f"draft_every {self.draft_every} is not a multiple of chunk {self.chunk}")
        if self.mixer_channels % self.kernel_groups:
            name = "mixer_width" if self.mixer_width else "d_model"
            raise ValueError(
                f"{name} {self.mixer_channels} is not a multiple of kernel_groups {self.kernel_groups}: "
                "each kernel serves as many channels as the others"
            )
        if self.published and self.kernel_groups != 1:
            raise ValueError(f"kernel_groups {self.kernel_groups}: the published model has one kernel a block")
        for name in ("short_taps", "input_gate", "mixer_width", "decay", "memory") if self.published else ():
            if getattr(self, name):
                raise ValueError(f"{name}: the published model has none")
        if self.published and self.feed != "gelu":
            raise ValueError(f'feed "{self.feed}": the published model has "gelu"')
        if self.zero_phase and not self.published:
            raise ValueError("zero_phase is the published model as it was; it takes published = true")
        return self


class Config(BaseModel):
    """One run but for its curriculum, its text and its seed.

    Args:
        model: the model's shape.
        batch_size: windows of text in one forward pass.
        accumulation: forward passes in one optimizer step.
        peak: the learning rate's peak; None takes the curriculum's.
        optimizer: "muon" moves the blocks' matrices by Muon and all else by AdamW, "adamw" all by AdamW.
        weight_decay: on matrices; kernels, gains, biases, norms and embeddings have none.
        grad_clip: the gradient's norm is scaled down to this.
        dropout: share of a block's outputs that is dropped.
        chunk_weight: weight of the chunk head's loss beside the next byte's.
        compile: have torch compile the model: faster on a GPU, after a minute; not faster on a CPU.
        save_every: optimizer steps from one checkpoint to the next, or minutes as in "10 minutes".
        eval_windows: windows of held-out text that are scored when an epoch closes.
        final_windows: windows of held-out text that are scored when the run is over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Model
    batch_size: Size
    accumulation: Size = 1
    peak: Positive | None = None
    optimizer: Literal["muon", "adamw"] = "muon"
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    grad_clip: Positive = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    chunk_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.2
    compile: bool = False
    save_every: SaveEvery = 250
    eval_windows: Size = 32
    final_windows: Size = 128

    def as_published(self) -> Config:
        """Return the published architecture, made causal, and its training, at this size."""
        size = self.model.model_dump(include={"d_model", "layers", "seq_len", "kernel_len", "chunk"})
        shape = Model(**size, published=True, kernel_groups=1, objective="chunk-last")
        training = {"optimizer": "adamw", "weight_decay": 5e-4, "dropout": 0.1}
        return self.model_copy(update={"model": shape, **training})


DEFAULT_PRESET = "tiny"
PRESETS = {
    # A few minutes on two CPU cores: one block that convolves, and one that remembers. Small texts are read many
    # times, and weights that decay learn more from that (docs/model-log.md).
    "tiny": Config(
        model=Model(
            d_model=160,
            layers=2,
            seq_len=256,
            kernel_groups=2,
            memory=True,
            feed="swiglu",
            feed_width=192,
            draft_every=64,
        ),
        batch_size=8,
        peak=6e-3,
        weight_decay=0.3,
    ),
    # The published run, made causal, for a GPU: its 32 windows in one forward pass, not in eight of 4.
    "base": Config(model=Model(d_model=512, layers=6, seq_len=1024), batch_size=32, save_every=1000),
}
