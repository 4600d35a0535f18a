"""Tokens and cost for small curricula: runs, lengths and waits that the knobs decide."""

from __future__ import annotations

import random
from typing import Any

PRICES = (0.5, 1.0, 1.5, 2.25)


def count_by_knobs(rng: random.Random, written: dict[str, Any]) -> bool:
    """Let a draft count tokens or cost, and ask for amounts of them; whether it has knobs to count by."""
    run, knobs = written["run"], written["knob"]
    ladders = {name: knob["ladder"] for name, knob in knobs.items() if "ladder" in knob}
    countable = [name for name, rungs in ladders.items() if all(isinstance(r, int) or r == "full" for r in rungs)]
    if not ladders:
        return False
    unit = rng.choice(("tokens", "tokens", "cost")) if countable else "cost"
    if unit == "tokens":
        run["tokens_per_step"] = [rng.choice((1, 2, 3)), *countable[: rng.randint(1, 2)]]
        one = 2 * run["tokens_per_step"][0]
    else:
        priced = knobs[next(iter(ladders))]
        priced["cost"] = list(PRICES)[: len(priced["ladder"])]
        one = 1
    ends = rng.random() < 0.6
    if ends:
        run[unit] = one * rng.randint(4, 14)
        if rng.random() < 0.6:
            run.pop("epochs", None)
        if "epochs" in run:
            run["clock"] = rng.choice(("steps", unit)) if "steps_per_epoch" in run else unit
    shares = ends and run.get("clock", unit) == unit

    def amount(rest: bool = False) -> str:
        said = [f"{one * rng.randint(1, 8)} {unit}", *["0.3 run", "0.6 run"] * shares, *["rest"] * (rest and shares)]
        return str(rng.choice(said))

    rate = written["lr"]
    if shares or "epochs" not in run:  # shares of a run that has no end in steps
        if "cycles" in rate:
            rate.pop("cycles")
            rate.pop("peaks", None)
        rate["length"] = amount(rest=True)
    elif rng.random() < 0.6 and "length" in rate:
        rate["length"] = amount(rest=True)
    if "warmup" in rate and rng.random() < 0.5:
        rate["warmup"] = amount()
    for state in written["state"]:
        own = state.get("lr", {})
        for key in ("length", "warmup"):
            if key in own and (own[key] == "rest" or rng.random() < 0.5):
                own[key] = amount(rest=key == "length" and shares)
        for ramp in state.get("ramp", {}).values():
            if rng.random() < 0.5:
                ramp["over"] = amount()
    for way in written["transition"]:
        way["guards"] = [_waiting(guard, amount, rng) for guard in way["guards"]]
    return True


def _waiting(guard: Any, amount: Any, rng: random.Random) -> Any:
    """The guard with its waits in tokens or cost, now and then."""
    word, value = next(iter(guard.items()))
    if word in ("any", "all"):
        return {word: [_waiting(part, amount, rng) for part in value]}
    if word == "not":
        return {word: _waiting(value, amount, rng)}
    waits = word in ("dwell", "min_step") and (rng.random() < 0.7 or "run" in str(value))
    return {"dwell": amount()} if waits else guard
