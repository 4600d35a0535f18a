"""The command `plateau runs`. What it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plateau_rule.commands.options import JsonFlag, print_json

if TYPE_CHECKING:
    from plateau_rule.fftcore.listing import ListedCommit, ListedRun


def runs(folder: Path = Path("runs"), /, *, as_json: JsonFlag = False) -> int:
    """List the runs in a folder and below it, and verify every checkpoint of `plateau train`; nothing is written.

    A checkpoint is verified if a resume could go on from it: every byte is as it was written, it belongs to the run,
    and the logs begin as it says.

    Args:
        folder: A folder with runs, or a run's own.
        as_json: Print one JSON object instead of lines.

    Returns:
        0; 1 where anything is damaged.
    """
    from plateau_rule.fftcore.listing import list_runs

    found = list_runs(folder)
    if as_json:
        print_json({"runs": [_data(run) for run in found]})
    else:
        for run in found:
            _print(run)
    return int(not all(run.is_whole for run in found))


def _data(run: ListedRun) -> dict[str, Any]:
    from dataclasses import asdict

    from plateau_rule.sim.run_folder import spelled

    commits = [
        {**asdict(commit), "path": str(commit.path), "bits_per_byte": spelled(commit.bits_per_byte)}
        for commit in run.commits
    ]
    return {**asdict(run), "folder": str(run.folder), "commits": commits}


def _print(run: ListedRun) -> None:
    from plateau_rule.controller.errors import visible
    from plateau_rule.sim.replayer.tables import say

    name = None if run.curriculum is None else f'"{run.curriculum}"'
    steps = None if run.steps is None else f"{run.steps:,} steps"
    say(visible(f"{run.folder}: {', '.join(filter(None, (name, steps, f'by {run.trainer}')))}"))
    if run.damage is not None:
        say(visible(f"  {run.damage}"))
    rows = [_row(commit) for commit in run.commits]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say(visible("  " + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()))
    for aside in run.set_aside:
        say(visible(f"  {aside}: set aside by a resume, which found it damaged"))


def _row(commit: ListedCommit) -> tuple[str, ...]:
    knobs = ", ".join(f"{name} {value}" for name, value in (commit.knobs or {}).items())
    return (
        f"step {commit.step}",
        commit.state or "",
        knobs,
        "" if commit.bits_per_byte is None else f"{commit.bits_per_byte:.4f} bits/byte",
        f"{commit.bytes / 1e6:,.1f} MB",
        "verified" if commit.damage is None else f"damaged: {commit.damage}",
    )
