"""Libraries that are imported only where they are used: which extra of this project brings each, and how to get it."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires

# What is imported: the extra that brings it.
EXTRAS = {
    "hypothesis": "test",
    "lsprotocol": "lsp",
    "matplotlib": "plot",
    "mlflow": "mlflow",
    "optuna": "tune",
    "pygls": "lsp",
    "ray": "ray",
    "safetensors": "train",
    "scipy": "compare",
    "starlette": "page",
    "tensorboard": "tensorboard",
    "torch": "train",
    "trackio": "trackio",
    "uvicorn": "page",
    "wandb": "wandb",
    "yaml": "yaml",
}


def how_to_install(library: str) -> str:
    """Say how to install a library that is missing, with what else its extra brings.

    Args:
        library: one of EXTRAS.
    """
    extra = EXTRAS[library]
    return f"It belongs to the extra plateau-rule[{extra}]: pip install {shlex.join(_brings(extra) or [library])}"


def _brings(extra: str) -> list[str]:
    """What an extra asks for, by the metadata of this installation; by name, for no index need hold this project."""
    try:
        needs = requires("plateau-rule") or []
    except PackageNotFoundError:
        return []
    return [
        need.partition(";")[0].strip() for need in needs if re.search(rf"""extra == ["']{re.escape(extra)}["']""", need)
    ]
