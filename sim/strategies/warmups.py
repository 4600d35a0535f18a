"""Warm-ups of states, where drawn curricula may have them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any


def keep_warmups_that_begin(written: dict[str, Any]) -> None:
    """Take the warm-ups out of states that no restart enters, where they would have no effect."""
    names = [state["name"] for state in written["state"]]
    entered = set(names[:1])
    for way in written["transition"]:
        leaving = way["from"]
        sources = names if leaving == "*" else [leaving] if isinstance(leaving, str) else leaving
        if "lr_restart" in way["actions"]:
            entered |= {new for old, new in pairwise(names) if old in sources} if way["to"] == "next" else {way["to"]}
    for state in written["state"]:
        if state["name"] not in entered:
            for key in ("warmup", "warmup_from"):
                state.get("lr", {}).pop(key, None)
