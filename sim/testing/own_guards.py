"""A test for guards of one's own: `assert_guard_is_sound(MyGuard(window=5))`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from plateau_rule.controller.guards.own import OwnDetector, OwnGuard, OwnGuardError

VALUES = 200  # of each stream
LARGEST_BYTES = 1 << 20  # of a memory: it is in every checkpoint


def assert_guard_is_sound(guard: OwnGuard, values: Iterable[float] = ()) -> None:
    """Show a guard many streams of values, and look whether it keeps what the project promises of every guard.

    Its memory is JSON, and does not grow without end; after each value, a guard that was saved and brought back, and a
    copy, go on to the bit as the first does; being asked changes nothing; the verdict is unknown until `needs()` values
    have come, then true, false or unknown, and depends on the values and their order alone.

    Args:
        guard: with the keys that a file would give it.
        values: a stream of your own, on which your guard should say something; 12 others are tried in any case:
            constant, falling, rising, noisy, jumping, tiny, huge.

    Raises:
        AssertionError: it breaks one of these; the sentence says which, and after which value.
        OwnGuardError: its code fails on a stream.
    """
    for name, stream in _streams(values):
        _try(guard, name, stream)
    _bounded(guard)


def _streams(values: Iterable[float]) -> Iterator[tuple[str, list[float]]]:
    own = [float(value) for value in values]
    if own:
        yield "your values", own
    rng, times = np.random.default_rng(0), np.arange(VALUES)
    made: dict[str, Any] = {
        "constant": np.full(VALUES, 0.5),
        "zeros": np.zeros(VALUES),
        "falling": 4.0 * 0.98**times,
        "rising": 0.1 + 0.02 * times,
        "negative": -0.01 * times,
        "steps": np.repeat(rng.normal(2, 1, VALUES // 20), 20),
        "tiny": np.full(VALUES, 1e-300),
        "huge": rng.normal(0, 1e300, VALUES),
    } | {f"noisy, seed {seed}": np.random.default_rng(seed).normal(1.0, 0.5, VALUES) for seed in range(4)}
    for name, stream in made.items():
        yield name, stream.tolist()


def _try(guard: OwnGuard, name: str, stream: list[float]) -> None:
    """One stream: the first is asked after each value, others that were saved or copied on the way are compared."""
    first, silent = _detector(guard), _detector(guard)
    verdicts: list[bool | None] = []
    others: list[tuple[str, OwnDetector]] = []
    for place, value in enumerate(stream):
        at = f"{type(guard).__name__}, stream {name}, after value {place}"
        first.push(value)
        silent.push(value)
        for _, other in others:
            other.push(value)
        before = _saved(first, at)
        verdict = first.verdict()
        verdicts.append(verdict)
        first.describe()
        if _saved(first, at) != before:
            raise AssertionError(f"{at}: holds() or describe() changed the memory; only push() may")
        if place + 1 < first.needs and verdict is not None:
            raise AssertionError(f"{at}: {verdict}, though needs() says {first.needs} values")
        for how, other in others:
            if (other.verdict(), _saved(other, at)) != (verdict, before):
                raise AssertionError(
                    f"{at}: says {verdict}, and one {how} says {other.verdict()}. All that it has seen must be in its "
                    "memory, and nothing outside it may decide"
                )
        if place < 40 or place % 20 == 0:
            others = [
                *others[-6:],
                (f"saved after value {place}", _restored(first, at)),
                (f"copied after value {place}", first.copy()),
            ]
    if (silent.verdict(), _saved(silent, name)) != (first.verdict(), _saved(first, name)):
        raise AssertionError(f"{type(guard).__name__}, stream {name}: one that was never asked decides otherwise")
    again = _detector(guard)
    for place, value in enumerate(stream):
        again.push(value)
        if again.verdict() != verdicts[place]:
            raise AssertionError(
                f"{type(guard).__name__}, stream {name}, after value {place}: shown the same values once more, it says "
                f"{again.verdict()}, and not {verdicts[place]}. Nothing outside its memory may decide"
            )


def _detector(guard: OwnGuard) -> OwnDetector:
    return OwnDetector(type(guard).__name__, guard)


def _saved(detector: OwnDetector, at: str) -> str:
    try:
        return json.dumps(detector.contents())
    except OwnGuardError as error:
        raise AssertionError(f"{at}: {error}") from None


def _restored(detector: OwnDetector, at: str) -> OwnDetector:
    other = _detector(detector.guard)
    saved = _saved(detector, at)
    try:
        other.restore(json.loads(saved))
    except ValueError as error:
        raise AssertionError(f"{at}: {error}") from None
    if _saved(other, at) != saved:
        raise AssertionError(f"{at}: its memory does not come back from JSON as it was: keys of a dict must be texts")
    return other


def _bounded(guard: OwnGuard) -> None:
    """Memory must end: a window's worth, and not the run's."""
    detector, rng = _detector(guard), np.random.default_rng(1)
    size = [0, 0]
    for part in range(2):
        for value in rng.normal(1.0, 0.5, 10 * max(VALUES, detector.needs)).tolist():
            detector.push(value)
        size[part] = len(_saved(detector, type(guard).__name__))
    if size[1] > 1.5 * size[0] or size[1] > LARGEST_BYTES:
        raise AssertionError(
            f"{type(guard).__name__}: its memory grows: {size[0]:,}, then {size[1]:,} bytes. Forget in push() what is "
            "not needed any more"
        )
