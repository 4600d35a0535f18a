"""The command `plateau page`. What it needs is imported when it is called."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from plateau_rule.commands.options import LATE, READING, Flag, LateOptions, ReadingOptions, UsageError, read_logs
from plateau_rule.controller.errors import closest, visible

if TYPE_CHECKING:
    from plateau_rule.page.answers import Answers
    from plateau_rule.page.opening import Opened
    from plateau_rule.page.record import Recorded

HOW = "plateau page RUN, or plateau page CURRICULUM LOG"


def page(
    *words: str,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    no_browser: Flag = False,
    edit: Path | None = None,
    reading: ReadingOptions = READING,
    bound: LateOptions = LATE,
) -> int:
    """Serve a page of a run on this machine: what it did, why, and what another number would have done.

    `plateau page RUN` shows the folder of a run, `plateau page CURRICULUM LOG` any log under a curriculum; both are
    followed while they grow. The page is seen by whoever has the link that is printed, on this machine alone; from
    another one, through `ssh -L`.

    Args:
        words: The folder of a run; or a curriculum and a log. A curriculum beside a folder takes the place of its own.
            The losses of further runs or logs are drawn beside those of the first.
        port: The port to listen on; 0 takes any that is free.
        no_browser: Print the link, and open no browser.
        edit: Show the run under this curriculum file, and let the page save into it; else it writes nothing.
        reading: How to read the log.
        bound: What the run was, where neither its record nor the log tells.
    """
    from plateau_rule.page.desk import Desk
    from plateau_rule.page.folder import run_folder
    from plateau_rule.page.link import listen, require_server, show_link

    require_server()
    given = words if edit is None or str(edit) in words else (str(edit), *words)
    if not given or bound != LATE or not all(map(run_folder, given)):
        first_look(given, bound)

    def outlines() -> dict[str, Any] | None:
        from plateau_rule.page.outline import outline_of

        return outline_of(first_look(given, bound))

    def opens() -> Answers:
        from plateau_rule.page.answers import Answers
        from plateau_rule.page.run import Run

        first, *rest = open_words("page", given, reading, bound, follow=True)
        if edit is not None:
            first = replace(first, edit=edit)
        return Answers(Run(first, whole=False), [Run(each) for each in rest])

    listening = listen(port)
    token = show_link(listening, not no_browser)  # a browser starts while the server is loaded
    gc.disable()  # until the run is open: nothing of what is loaded till then is garbage
    from plateau_rule.page.serving import serve

    return serve(Desk(opens, outlines), token, listening)


def first_look(words: Sequence[str], bound: LateOptions) -> Recorded:
    """What is known of a run before its log is read.

    Args:
        words: what the user gave.
        bound: what the run was.

    Raises:
        PlateauError: they name too little, or too much, or a curriculum or a record that cannot be read.
    """
    from plateau_rule.page.folder import run_folder
    from plateau_rule.page.record import read_curriculum, read_record

    curriculum, runs = sort_words("page", words)
    given = bound.binding()
    for run in runs:
        if curriculum is None and run_folder(run) is None:
            raise UsageError(_no_folder(run, HOW))
        if run != "-" and not Path(run).exists():
            from plateau_rule.sim.logs import LogError

            raise LogError(run, "there is no such file", remedy="Check the path")
    folder = run_folder(runs[0]) if runs else None
    if folder is not None:
        return read_record(folder, curriculum, given)
    assert curriculum is not None
    return read_curriculum(runs[0] if runs else curriculum, curriculum, given)


def sort_words(command: str, words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The curriculum that words name, and the runs and logs.

    Raises:
        UsageError: they name too little, or too much.
    """
    from plateau_rule.commands.sources import is_curriculum

    how = HOW.replace("plateau page", f"plateau {command}")
    curricula = [word for word in words if is_curriculum(word)]
    if not words:
        raise UsageError(f"plateau {command}: name what to show: {how}")
    if len(curricula) > 1:
        raise UsageError(f"plateau {command}: {' and '.join(curricula)}; expected one curriculum: {how}")
    return curricula[0] if curricula else None, [word for word in words if word not in curricula]


def open_words(
    command: str, words: Sequence[str], reading: ReadingOptions, bound: LateOptions, follow: bool = False
) -> list[Opened]:
    """Open what the words of a command name: the run that is asked, and others to be drawn beside it.

    Args:
        command: its name.
        words: what the user gave.
        reading: how to read a log.
        bound: what the run was.
        follow: whether the log that is asked is read again when it grows.

    Raises:
        UsageError: they name too little, or too much.
    """
    from plateau_rule.controller.language.reading import load
    from plateau_rule.page.folder import run_folder
    from plateau_rule.page.growing import follow_log
    from plateau_rule.page.opening import open_folder, open_log, open_nothing

    curriculum, runs = sort_words(command, words)
    given = bound.binding()
    if not runs:
        assert curriculum is not None
        return [open_nothing(curriculum, given)]
    found: list[Opened] = []
    watched = [load(curriculum)] if curriculum is not None else []
    for run in runs:
        folder = run_folder(run)
        read = partial(read_logs, [run], reading, given.steps_per_epoch, curricula=watched)
        if folder is not None:
            found.append(open_folder(folder, curriculum, given))
        elif curriculum is None:
            raise UsageError(_no_folder(run, HOW.replace("plateau page", f"plateau {command}")))
        elif follow and not found:
            again = partial(read, quiet=True)
            found.append(follow_log(run, curriculum, given, read, again, lambda why: print(why, file=sys.stderr)))
        else:
            found.append(open_log(read(), run, curriculum, given))
    return found


def _no_folder(run: str, how: str) -> str:
    if Path(run).exists():
        return f"{run}: no folder of a run, which would say its curriculum. Name one: {how}"
    from plateau_rule.controller.language.reading import shipped

    meant = closest(run, shipped())
    return f"{visible(run)}: there is no such folder or file, and no shipped curriculum of that name. " + (
        f'Did you mean "{meant}"?' if meant else f"Name one: {how}"
    )
