"""The command `plateau explain`."""

from __future__ import annotations

import textwrap
from pathlib import Path

from plateau_rule.commands.options import JsonFlag, UsageError, print_json
from plateau_rule.commands.sources import is_curriculum
from plateau_rule.controller.errors import visible
from plateau_rule.controller.language.codes import CODES
from plateau_rule.controller.language.codes import explain as explained


def explain(code: str | None = None, /, *, as_json: JsonFlag = False) -> int:
    """Say what the code at the end of a fault means, why it matters, and what to do.

    Args:
        code: The code, such as off-ladder. Without one, all codes are listed.
        as_json: Print JSON.
    """
    name = (code or "").strip().strip("[]").lower()
    if code is not None and name not in CODES and (is_curriculum(code) or Path(code).exists()):
        raise UsageError(
            "plateau explain takes the code at the end of a finding, such as misaligned. "
            f"To check a file: plateau check {visible(code)}"
        )
    chosen = CODES if code is None else {name: explained(code)}
    if as_json:
        print_json([{"code": name, **found._asdict()} for name, found in chosen.items()])
    elif code is None:
        width = max(map(len, CODES))
        print("\n".join(f"{name:<{width}}  {found.phrase}" for name, found in CODES.items()))
    else:
        for name, found in chosen.items():
            lines = [f"{name}: {found.phrase}", "", *textwrap.wrap(found.why, 96), "", *textwrap.wrap(found.remedy, 96)]
            print("\n".join(lines))
    return 0
