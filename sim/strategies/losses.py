"""Streams of losses, and all else that a trainer may say, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import inf, isfinite, nan
from typing import Any, NamedTuple

from hypothesis import strategies as st

from plateau_rule.controller.language.curriculum import Curriculum

LEVELS = st.integers(0, 64).map(lambda eighths: eighths / 8)


class Piece(NamedTuple):
    """A stretch of a stream: the words for it, and the losses in it."""

    words: str
    losses: tuple[float, ...]


class LossStream(tuple[float, ...]):
    """Losses, one for each step, that print as the pieces they are made of."""

    pieces: tuple[Piece, ...]

    def __new__(cls, pieces: Sequence[Piece] = ()) -> LossStream:
        """Join the pieces."""
        stream = super().__new__(cls, (loss for piece in pieces for loss in piece.losses))
        stream.pieces = tuple(piece for piece in pieces if piece.losses)
        return stream

    def __repr__(self) -> str:
        words = []
        for level, pieces in groupby(self.pieces, key=_level):
            if level is None:
                words += [piece.words for piece in pieces]
            else:  # flats of one level are one flat
                words.append(_flat(level, sum(len(piece.losses) for piece in pieces)).words)
        return f"<{len(self)} losses: {', '.join(words) or 'none'}>"


def _level(piece: Piece) -> float | None:
    """The one loss that a piece is made of, if there is one, and it is a number."""
    level = piece.losses[0]
    return level if isfinite(level) and all(loss == level for loss in piece.losses) else None


def _for(steps: int) -> str:
    return f"for {steps} step{'s' * (steps != 1)}"


def _flat(level: float, steps: int) -> Piece:
    return Piece(f"{level:g} {_for(steps)}", (level,) * steps)


def _slope(start: float, end: float, steps: int) -> Piece:
    losses = tuple(start + (end - start) * (i + 1) / steps for i in range(steps))
    return Piece(f"{start:g} {'falls' if end < start else 'rises'} to {end:g} {_for(steps)}", losses)


def _each(losses: Iterable[float]) -> Piece:
    losses = tuple(losses)
    return Piece(" ".join(f"{loss:g}" if float(f"{loss:g}") == loss else repr(loss) for loss in losses), losses)


def _pieces(longest: int, nonfinite: bool, extreme: bool) -> st.SearchStrategy[Piece]:
    """Pieces of at most `longest` losses, the simplest kinds first."""
    steps = st.integers(1, longest)
    eighths = st.lists(LEVELS, min_size=1, max_size=longest)
    kinds = [
        st.builds(_flat, LEVELS, steps),
        st.builds(_slope, LEVELS, LEVELS, steps),
        st.builds(lambda level, bumps: _each(level + bump / 8 for bump in bumps), LEVELS, eighths),
        st.builds(lambda level: Piece(f"a spike of {8 * level:g}", (8 * level,)), LEVELS),
    ]
    if nonfinite:
        kinds.append(st.builds(_flat, st.sampled_from((nan, inf, -inf)), steps))
    if extreme:
        floats = st.floats(allow_nan=False, allow_infinity=False)
        kinds.append(st.builds(_each, st.lists(floats, min_size=1, max_size=longest)))
    return st.one_of(kinds)


@st.composite
def loss_streams(
    draw: st.DrawFn,
    *,
    min_size: int = 0,
    max_size: int | None = None,
    piece: int | None = None,
    nonfinite: bool = True,
    extreme: bool = False,
) -> LossStream:
    """Streams of losses: flats, falls and rises, noise, spikes, bursts of NaN and infinity.

    A stream that is too short goes on with its last finite loss.

    Args:
        draw: given by hypothesis.
        min_size: the least number of losses.
        max_size: the largest number of losses, by default 100 more than min_size.
        piece: the longest piece, by default 20 or a fifth of the stream.
        nonfinite: whether NaN and infinity occur.
        extreme: whether any other float occurs, such as 1e308, 5e-324 or -0.0.
    """
    most = min_size + 100 if max_size is None else max_size
    longest = max(20, most // 5) if piece is None else piece
    drawn = draw(st.lists(_pieces(longest, nonfinite, extreme), max_size=2 * most // longest + 1))
    pieces: list[Piece] = []
    left = most
    for one in drawn:
        pieces.append(one if len(one.losses) <= left else _each(one.losses[:left]))
        left -= len(pieces[-1].losses)
    if (short := min_size - (most - left)) > 0:
        finite = [loss for one in pieces for loss in one.losses if isfinite(loss)]
        pieces.append(_flat(finite[-1] if finite else 1.0, short))
    return LossStream(pieces)


@st.composite
def observations(
    draw: st.DrawFn, curriculum: Curriculum, *, min_size: int = 0, max_size: int = 100, extreme: bool = False
) -> list[dict[str, Any]]:
    """All that a trainer may say with `observe`: losses, evaluations, other metrics, skipped steps, ends of epochs.

    Epochs are closed by hand only where the curriculum's [run] has no steps_per_epoch.
    """
    losses = draw(loss_streams(min_size=min_size, max_size=max_size, extreme=extreme))
    seldom = st.integers(0, 5).map(lambda one: one == 5)
    found = []
    for loss in losses:
        said: dict[str, Any] = {"loss": loss}
        if draw(seldom):
            said["eval_end"] = True
        for name in ("val_loss", "score"):
            if draw(seldom) or (said.get("eval_end") and draw(st.booleans())):
                said[name] = draw(st.sampled_from((nan, inf)) if draw(seldom) else LEVELS)
        if draw(seldom):
            said["skipped"] = True
        if curriculum.run.steps_per_epoch is None and draw(seldom):
            said["epoch_end"] = True
        found.append(said)
    return found
