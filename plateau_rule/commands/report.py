"""The command `plateau report`. What it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from plateau_rule.commands.options import LATE, OUT, READING, LateOptions, ReadingOptions, UsageError
from plateau_rule.commands.outputs import spare_inputs
from plateau_rule.commands.page import open_words
from plateau_rule.controller.errors import visible


def report(
    *words: str,
    out: Annotated[Path, OUT] = Path("run.html"),
    reading: ReadingOptions = READING,
    bound: LateOptions = LATE,
) -> None:
    """Write the page of a run into one file, to be kept or sent: it opens without a server, and asks nobody.

    It answers as `plateau page` does, for steps and settings that were worked out before.

    Args:
        words: The folder of a run; or a curriculum and a log. A curriculum beside a folder takes the place of its own.
        out: The file to write (.html).
        reading: How to read the log.
        bound: What the run was, where neither its record nor the log tells.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{visible(str(out))}: a report is a page in HTML; name a file that ends in .html")
    spare_inputs(words=words, out=out)  # also where it is the default
    from plateau_rule.page.report import write_report
    from plateau_rule.page.run import Run

    first, *rest = open_words("report", words, reading, bound)
    write_report(Run(first), out, [Run(each) for each in rest])
    print(f"Written: {out}")
