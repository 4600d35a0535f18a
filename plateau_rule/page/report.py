"""The page as one file that asks nobody: the same page, with the answers that it can be asked for inside."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from math import exp, log
from pathlib import Path
from typing import Any

import orjson

from plateau_rule.page.answers import Answers
from plateau_rule.page.assets import joined, static
from plateau_rule.page.run import Run

COLUMNS = 8000
WHYS = 250
TURNED = 3  # settings
VALUES = 40  # of each


def write_report(run: Run, path: Path, others: Sequence[Run] = ()) -> None:
    """Write the page of a run into one file.

    Args:
        run: what to show.
        path: the file, which is replaced.
        others: runs whose losses are drawn beside it.
    """
    path.write_text(report_of(Answers(run, others)), encoding="utf-8", newline="\n")


def report_of(answers: Answers) -> str:
    """The page as one HTML text."""
    style = static("page.css").decode()
    script = joined()
    data = orjson.dumps(kept(answers)).decode().replace("<", "\\u003c")
    policy = f"default-src 'none'; script-src '{hashed(script)}'; style-src '{hashed(style)}'; img-src data:"
    page = static("index.html").decode()
    meta = f'<meta http-equiv="content-security-policy" content="{policy}">'
    page = page.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}')
    page = page.replace('<link rel="stylesheet" href="page.css">', f"<style>{style}</style>")
    page = page.replace('<script type="module" src="page.js"></script>\n', "")
    inside = f'<script type="application/json" id="data">{data}</script>\n<script type="module">{script}</script>\n'
    return page.replace("</body>", f"{inside}</body>")


def hashed(text: str) -> str:
    """By what a content security policy knows an inline script or style."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def kept(answers: Answers) -> dict[str, Any]:
    """What the page could ask, and the answers."""
    meta = answers.meta() | {"live": False, "follows": False, "quiet": False}
    meta["tunables"] = meta["tunables"][:TURNED]
    steps = whys_at(meta["steps"], [one["step"] for one in meta["decisions"]])
    return {
        "meta": meta,
        "curve": b64encode(answers.curve(0, max(1, len(answers.run.session)), COLUMNS)).decode(),
        "others": [
            b64encode(answers.curve(0, max(1, len(other.session)), COLUMNS // 4, place + 1)).decode()
            for place, other in enumerate(answers.others)
        ],
        "track": answers.track(0, meta["steps"], COLUMNS),
        "whys": [answers.why(step) for step in steps],
        "grids": {
            one["path"]: [answers.tried_beside(one["path"], value) for value in values_of(one)]
            for one in meta["tunables"]
        },
        "noise": answers.noise([]),
        "check": answers.check(),
    }


def whys_at(steps: int, decisions: list[int]) -> list[int]:
    """The steps at which to ask why: evenly, and on both sides of each transition."""
    apart = max(1, steps // WHYS)
    beside = {at for step in decisions[:WHYS] for at in (step - 1, step)}
    return sorted({*range(0, steps + 1, apart), steps, *(at for at in beside if 0 <= at <= steps)})


def values_of(tunable: dict[str, Any]) -> list[float]:
    """Values from the least to the most that a slider shows, the file's own among them."""
    low, high = tunable["min"], tunable["max"]
    found = {tunable["value"]}
    for place in range(VALUES):
        share = place / (VALUES - 1)
        value = low * exp(share * log(high / low)) if tunable["log"] else low + share * (high - low)
        value = min(high, max(low, float(f"{value:.2g}")))
        found.add(float(round(value)) if tunable["whole"] else value)
    return sorted(found)
