"""The command `plateau page`. What it needs is imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import LATE, READING, Flag, LateOptions, ReadingOptions, UsageError, read_logs


def page(
    run_or_log: str,
    curriculum: str | None = None,
    /,
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    report: Path | None = None,
    browse: Annotated[Flag, Parameter(name="--open")] = False,
    reading: ReadingOptions = READING,
    bound: LateOptions = LATE,
) -> int:
    """Serve a page of a run on this machine: what it did, why, and what another number would have done.

    The folder of a run that goes on is followed. The page is seen by whoever has the link that is printed, on this
    machine alone; from another one, through `ssh -L`.

    Args:
        run_or_log: The folder of a run, or any log.
        curriculum: A curriculum file, or the name of a shipped one. By default, the run's own.
        port: The port to listen on; 0 takes any that is free.
        report: Write the page into this one file instead, to be sent or kept; nothing is served.
        browse: Open the page in a browser.
        reading: How to read the log.
        bound: What the run was, where neither its record nor the log tells.
    """
    import starlette  # noqa: F401  # said at once if the extra is missing
    import uvicorn  # noqa: F401

    from plateau_rule.page.opening import open_folder, open_log, run_folder
    from plateau_rule.page.run import Run

    given, folder = bound.binding(), run_folder(run_or_log)
    if folder is not None:
        opened = open_folder(folder, curriculum, given)
    elif curriculum is None:
        raise UsageError(
            f"{run_or_log}: no folder of a run, which would name its curriculum. Name one: plateau page LOG CURRICULUM"
        )
    else:
        log = read_logs([run_or_log], reading, given.steps_per_epoch)
        opened = open_log(log, run_or_log, curriculum, given)
    run = Run(opened)
    if report is not None:
        from plateau_rule.page.report import write_report

        write_report(run, report)
        print(f"Written: {report}", file=sys.stderr)
        return 0
    from plateau_rule.page.serving import serve

    return serve(run, port, browse)
