"""Late transforms, for knobs that change the form of a batch: each is given the batch about to be trained on.

They run in the main process, after the loader and its workers, so the knob in the batch is always that of the plan.
A function of your own does as well: it takes the batch and the knob's value, and returns the batch.

    CurriculumCallback("sequence-length", limits={"seq_len": 512}, shape={"seq_len": cut_length})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from torch import Tensor
from torch.nn.functional import interpolate

from plateau_rule.adapters.errors import WiringError

Batch = TypeVar("Batch")


def cut_length(batch: Batch, length: float | str) -> Batch:
    """Keep the first `length` tokens of every sequence; the rest of the row is not trained on.

    Args:
        batch: token ids (rows, tokens), or a dict, tuple or list of tensors. Every tensor whose second dimension is as
            long as that of `input_ids`, or else of the first such tensor, is cut.
        length: in tokens; a word, such as "full", and a length beyond that of the batch leave it as it is.
    """
    tokens = _tokens(batch)
    if isinstance(length, str) or length >= tokens:
        return batch
    return each_tensor(batch, lambda tensor: tensor[:, : int(length)] if _is_sequence(tensor, tokens) else tensor)


def split_length(batch: Batch, length: float | str) -> Batch:
    """Fold every sequence into shorter ones of `length` tokens each: the same tokens, more rows.

    Args:
        batch: token ids (rows, tokens), or a dict, tuple or list of tensors, as for `cut_length`. A rest that is
            shorter than `length` is dropped.
        length: in tokens; a word, such as "full", and a length beyond that of the batch leave it as it is.

    Raises:
        WiringError: the batch holds `position_ids`, which would count on across the pieces.
    """
    tokens = _tokens(batch)
    if isinstance(length, str) or length >= tokens:
        return batch
    if isinstance(batch, Mapping) and "position_ids" in batch:
        raise WiringError(
            "split_length: the batch holds position_ids, which count on from one piece to the next. Leave them out of "
            "the batch, so that the model counts from 0 in each, or use cut_length"
        )
    pieces, size = tokens // int(length), int(length)

    def fold(tensor: Tensor) -> Tensor:
        if not _is_sequence(tensor, tokens):
            return tensor
        return tensor[:, : pieces * size].reshape(len(tensor) * pieces, size, *tensor.shape[2:])

    return each_tensor(batch, fold)


def resize_images(batch: Batch, size: float | str) -> Batch:
    """Scale every image to `size` by `size` pixels.

    Args:
        batch: images (rows, channels, height, width) in floating point, or a dict, tuple or list that holds them.
            Whatever has another number of dimensions is left as it is.
        size: in pixels; a word, such as "full", leaves the batch as it is.
    """
    if isinstance(size, str):
        return batch
    side = int(size)

    def scale(tensor: Tensor) -> Tensor:
        if tensor.dim() != 4 or tensor.shape[-2:] == (side, side):
            return tensor
        return interpolate(tensor, size=(side, side), mode="bilinear", antialias=True)

    return each_tensor(batch, scale)


def _tokens(batch: object) -> int:
    """The length of the sequences in a batch, in tokens."""
    if isinstance(batch, Mapping) and isinstance(batch.get("input_ids"), Tensor):
        return int(batch["input_ids"].shape[1])
    parts = [batch] if isinstance(batch, Tensor) else _parts(batch)
    for part in parts:
        if isinstance(part, Tensor) and part.dim() >= 2:
            return int(part.shape[1])
    raise WiringError(
        f"the batch is a {type(batch).__name__} without a tensor of sequences; expected token ids (rows, tokens), or a "
        "dict, tuple or list that holds them. For another form of batch, give a function of your own"
    )


def _is_sequence(tensor: Tensor, tokens: int) -> bool:
    return tensor.dim() >= 2 and tensor.shape[1] == tokens


def _parts(batch: object) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    return list(batch) if isinstance(batch, list | tuple) else []


def each_tensor(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with `change` applied to every tensor in it, in the form in which it came."""
    whole: Any = batch
    if isinstance(whole, Tensor):
        return cast(Batch, change(whole))
    if isinstance(whole, Mapping):
        changed = {key: each_tensor(value, change) for key, value in whole.items()}
        if type(whole) is dict:
            return cast(Batch, changed)
        whole.update(changed)  # type: ignore[attr-defined]  # a BatchEncoding, or a dict of the user's own class
        return batch
    if isinstance(whole, tuple) and hasattr(whole, "_fields"):
        return cast(Batch, type(whole)(*(each_tensor(part, change) for part in whole)))
    if isinstance(whole, list | tuple):
        return cast(Batch, type(whole)(each_tensor(part, change) for part in whole))
    return batch
