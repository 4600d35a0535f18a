"""The curriculum's state in a file beside the model's, for trainers whose own files have no place for it.

Beside `last.keras` lies `last.keras.plateau.json`. It holds the states of the two newest saves under that name, each
with a digest of the weights it belongs to, and is written before the model's file is: wherever a process is killed,
the state of the weights that are there can be found. Only their own state is taken; another one is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from plateau_rule.adapters.errors import WiringError
from plateau_rule.controller.errors import SnapshotError

SUFFIX = ".plateau.json"
FORMAT = 1
KEPT = 2  # states in a file


def digest_of(weights: Iterable[np.ndarray], steps: int) -> str:
    """What tells a model's weights after some optimizer steps from all others.

    Args:
        weights: in the model's order.
        steps: optimizer steps that were taken.
    """
    sums, size = 0, 0
    for weight in weights:
        plain = np.ascontiguousarray(weight)
        sums, size = crc32(plain.reshape(-1).view(np.uint8).data, sums), size + plain.nbytes
    return f"{steps}-{size}-{sums:08x}"


def write_beside(model: Path, digest: str, state: Mapping[str, Any]) -> Path:
    """Write a state beside a model's file, which is about to be written; whole, or not at all.

    Args:
        model: the file of the model.
        digest: of its weights.
        state: of the curriculum, as JSON-able data.

    Returns:
        The file.

    Raises:
        WiringError: it cannot be written.
    """
    path = _beside(model)
    try:
        earlier = [each for each in _read(path) if each["weights"] != digest] if path.exists() else []
    except SnapshotError:
        earlier = []  # it is written anew
    content = {"format": FORMAT, "states": [{"weights": digest, "state": dict(state)}, *earlier][:KEPT]}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise WiringError(
            f"{path}: the curriculum's state cannot be written beside the model: {error.strerror or error}. Save the "
            "model where files can be written"
        ) from None
    return path


def read_beside(model: Path, digest: str) -> dict[str, Any]:
    """Read the state beside a model's file, for the weights that were loaded from it.

    Raises:
        WiringError: there is none, or none of these weights.
        SnapshotError: the file is damaged.
    """
    path = _beside(model)
    if not path.exists():
        raise WiringError(f"{path}: missing. It is written beside the model by its save() while a curriculum trains it")
    for each in _read(path):
        if each["weights"] == digest:
            return dict(each["state"])
    raise WiringError(
        f"{path}: holds the state of other weights than the model's. Load the model from {model.name}, its optimizer "
        "too, and change no weight before training goes on"
    )


def find_state(folders: Iterable[Path], digest: str) -> dict[str, Any] | None:
    """Look in folders for the state of these weights; None where there is none."""
    for folder in folders:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            for each in _read(path):
                if each["weights"] == digest:
                    return dict(each["state"])
    return None


def _beside(model: Path) -> Path:
    return model.with_name(model.name + SUFFIX)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise SnapshotError(f"{path}: has format {content['format']!r:.20}; this version reads format {FORMAT}")
        return [{"weights": str(each["weights"]), "state": dict(each["state"])} for each in content["states"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(
            f"{path}: cannot be read: {type(error).__name__}: {error}. Delete it, and resume from another checkpoint"
        ) from None
