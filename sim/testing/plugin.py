"""A pytest plugin: `pytest --curricula DIR` tests every curriculum of a folder, with no code at all.

It is loaded by every pytest of an environment that has this project, so it imports nothing of its own until the option
is given; `collection.py` then does the work.
"""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = 25
LENGTHS = {
    "epochs": "epochs in the run",
    "steps-per-epoch": "optimizer steps in an epoch",
    "tokens-per-step": "tokens in an optimizer step",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--curricula`, and those that go with it."""
    group = parser.getgroup("plateau", "training curricula")
    group.addoption("--curricula", metavar="DIR", type=Path, help="test every curriculum in this folder")
    group.addoption(
        "--curricula-examples",
        metavar="N",
        type=int,
        default=EXAMPLES,
        help=f"loss streams for each property of each curriculum ({EXAMPLES})",
    )
    group.addoption(
        "--curricula-limit",
        metavar="KNOB=NUMBER",
        action="append",
        default=[],
        help="largest value of a knob; once for each knob",
    )
    for name, what in LENGTHS.items():
        group.addoption(
            f"--curricula-{name}", metavar="N", type=int, help=f"{what}, in place of what the curricula say"
        )
    group.addoption(
        "--curricula-peak", metavar="RATE", type=float, help="peak learning rate, in place of the curricula's"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Look in the folder, and nowhere else unless something else was asked for."""
    folder: Path | None = config.getoption("--curricula")
    if folder is None:
        return
    if not folder.is_dir():
        one = f"it is a file. Give its folder, and -k {folder.name} for this file" if folder.exists() else ""
        raise pytest.UsageError(f"--curricula {folder}: {one or 'there is no such folder'}")
    from plateau_rule.controller.errors import PlateauError
    from plateau_rule.sim.testing import collection

    try:
        collection.binding_of(config)
    except PlateauError as error:  # told once, and not of each test
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(collection, "plateau-curricula")
    asked = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = [*(config.args if asked else []), str(folder)]
