"""Curricula whose runs are short enough to follow every loss stream: 6 to 14 steps, drawn from a seed."""

from __future__ import annotations

import random
import warnings
from itertools import pairwise
from typing import Any

from plateau_rule.controller.binding import bind
from plateau_rule.controller.errors import BindingError, CurriculumError
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.machine import Machine
from tests.properties.small_clocks import count_by_knobs

TRIES = 200  # drafts of one curriculum, before a seed is given up
MOST_KNOB = 4  # rungs
_VALUES: dict[str, list[Any]] = {
    "down": [4, 3, 2, 1],
    "none": [1, 2, 3, 4],
    "names": ["web", "code", "math", "all"],
    "tables": [{"web": 1.0, "code": 0}, {"web": 0.5, "code": 0.5}, {"web": 0.25, "code": 0.75}, {"web": 0, "code": 1}],
}


def small_machine(
    seed: int, lead: int | dict[str, int] | None = None, clocks: bool = False, rungs: bool = False
) -> Machine:
    """A bound curriculum; the same for a seed everywhere.

    Args:
        seed: decides it.
        lead: what it is bound with.
        clocks: one whose knobs decide tokens or cost.
        rungs: one with a state that stands for one on each rung of a knob.
    """
    rng = random.Random(seed)
    for _ in range(TRIES):
        written = _draft(rng)
        if clocks and not count_by_knobs(rng, written):
            continue
        if rungs and not _stand_for_rungs(rng, written):
            continue
        limits: dict[str, float | None] | None = None
        if rng.random() < 0.4 or "tokens_per_step" in written["run"]:  # of full, a clock must know what it is
            limits = {name: rng.choice((2, 3, 9)) for name in written["knob"]}
            limits |= dict.fromkeys(name for name, knob in written["knob"].items() if _is_spelled(knob))
        lag = rng.choice((0, 0, 0, 0, 1, 2))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return bind(Curriculum.model_validate(written), limits, lag=lag, lead=lead)
        except (CurriculumError, BindingError):
            continue
    raise AssertionError(f"no curriculum in {TRIES} drafts of seed {seed}")


def _stand_for_rungs(rng: random.Random, written: dict[str, Any]) -> bool:
    """Let a state stand for one on each rung of a knob; whether there is a ladder for it."""
    knobs = [name for name, knob in written["knob"].items() if "ladder" in knob]
    if not knobs:
        return False
    knob, state = rng.choice(knobs), rng.choice(written["state"])
    state["each"] = knob
    del state["set"][knob]
    state.get("ramp", {}).pop(knob, None)
    state["lr"] = {key: value for key, value in state.get("lr", {}).items() if not key.startswith("warmup")}
    if rng.random() < 0.8:  # else the rate may follow what has no one value in the first state
        written["lr"].pop("follow", None)
    return True


def _draft(rng: random.Random) -> dict[str, Any]:
    steps = rng.randint(6, 14)
    per_epoch = rng.choice((1, 2, 3, 4, 5))
    run: dict[str, Any] = {"epochs": max(1, steps // per_epoch), "steps_per_epoch": per_epoch}
    if rng.random() < 0.12:  # the trainer closes the epochs
        run = {"epochs": rng.randint(1, 3)}
    count = rng.choice((1, 2, 2, 3, 3, 4))
    knobs = ["cutoff", "size"][: rng.choice((0, 1, 1, 1, 2))]
    states = [_state(rng, i, count, knobs) for i in range(count)]
    shown = [f"s{i}" for i in range(count)]
    metrics = ["loss"] if rng.random() < 0.6 else ["loss", "val_loss"]
    orders = {name: rng.choice(("up", "up", "up", "down", "none", "names", "tables")) for name in knobs}
    for state in states:
        for name in (name for name in knobs if orders[name] != "up"):
            values = dict(zip([1, 2, 3, "full"], _VALUES[orders[name]], strict=True))
            state["set"][name] = values[state["set"][name]]
            if name in state.get("ramp", {}) and orders[name] in ("down", "none"):
                state["ramp"][name]["to"] = values[state["ramp"][name]["to"]]
            elif name in state.get("ramp", {}):
                del state["ramp"][name]
    written: dict[str, Any] = {
        "format": 1,
        "name": "small",
        "run": run,
        "lr": _rate(rng, "steps_per_epoch" in run),
        "knob": {name: _knob(orders[name]) for name in knobs},
        "metric": {"val_loss": _metric(rng)} if len(metrics) > 1 and rng.random() < 0.6 else {},
        "state": states,
        "transition": [_transition(rng, shown, states, metrics, run) for _ in range(rng.randint(1, 5))],
        "check": {"align": _align(rng)},
    }
    for name in knobs:
        given = {state["set"][name] for state in states if orders[name] in ("up", "down", "none")}
        if len(given) > 1 and not any(name in state.get("ramp", {}) for state in states) and rng.random() < 0.3:
            written["lr"]["follow"] = {name: rng.choice((0.5, 1.0, -1.0))}
    if rng.random() < 0.5:
        written["nonfinite"] = {"limit": rng.randint(1, 4)}
    return _with_warmups_entered(written)


def _with_warmups_entered(written: dict[str, Any]) -> dict[str, Any]:
    """The same without the warm-ups of states that no restart enters: a key without effect is refused."""
    names = [state["name"] for state in written["state"]]
    entered = set(names[:1])
    for way in written["transition"]:
        sources = names if way["from"] == "*" else [way["from"]] if isinstance(way["from"], str) else way["from"]
        if "lr_restart" in way["actions"]:
            entered |= {name for old, name in pairwise(names) if old in sources} if way["to"] == "next" else {way["to"]}
    for state in written["state"]:
        if state["name"] not in entered:
            state["lr"] = {k: v for k, v in state.get("lr", {}).items() if not k.startswith("warmup")}
    return written


def _metric(rng: random.Random) -> dict[str, Any]:
    metric: dict[str, Any] = {"at": rng.choice(("eval", "eval", "step", "epoch"))} if rng.random() < 0.5 else {}
    if rng.random() < 0.6:
        metric["goal"] = "max"
    if rng.random() < 0.6:
        metric["every"] = f"{rng.randint(1, 2)} steps"
    return metric


def _since(rng: random.Random) -> dict[str, str]:
    return {"since": "run"} if rng.random() < 0.3 else {}


def _knob(order: str) -> dict[str, Any]:
    ladder = {"up": [1, 2, 3, "full"], "none": [2, 1, 4, 3]}.get(order) or _VALUES[order]
    if order == "tables":
        return {"order": "none"}
    return {"ladder": ladder} | ({} if order in ("up", "names") else {"order": order})


def _is_spelled(knob: dict[str, Any]) -> bool:
    """Whether a knob's values are no numbers."""
    return knob.get("ladder") == _VALUES["names"] or "ladder" not in knob


def _state(rng: random.Random, place: int, count: int, knobs: list[str]) -> dict[str, Any]:
    state: dict[str, Any] = {"name": f"s{place}", "set": {}}
    for name in knobs:
        level = min(MOST_KNOB - 1, place) if rng.random() < 0.7 else rng.randrange(MOST_KNOB)
        state["set"][name] = [1, 2, 3, "full"][level]
        if level < MOST_KNOB - 1 and rng.random() < 0.15:
            to = [1, 2, 3, "full"][rng.randint(level + 1, MOST_KNOB - 1)]
            state.setdefault("ramp", {})[name] = {"to": to, "over": f"{rng.randint(2, 5)} steps"}
    lr: dict[str, Any] = {}
    if rng.random() < 0.2:
        lr["length"] = rng.choice(("2 steps", "5 steps", "rest"))
    if rng.random() < 0.15:
        lr["peak"] = rng.choice((0.5, 2.0))
    if rng.random() < 0.1:
        lr["floor"] = rng.choice((0.5, 1.0))
    if rng.random() < 0.15:
        lr["warmup"] = f"{rng.randint(1, 3)} steps"
        if rng.random() < 0.5:
            lr["warmup_from"] = rng.choice((0.0, 0.3))
    if lr:
        state["lr"] = lr
    if place and rng.random() < 0.1:
        state["stop"] = "enough"
    if rng.random() < 0.08:
        state["final"] = True
    return state


def _rate(rng: random.Random, bound: bool) -> dict[str, Any]:
    shape = rng.choice(("constant", "linear", "cosine", "wsd")) if bound else rng.choice(("constant", "linear"))
    rate: dict[str, Any] = {"peak": 1.0, "shape": shape, "floor": rng.choice((0.0, 0.1, 0.6))}
    if shape == "wsd":
        rate["decay"] = rng.choice((0.3, 0.6))
    if rng.random() < 0.3:
        rate["cycles"] = [f"{rng.randint(1, 5)} steps" for _ in range(rng.randint(1, 3))]
        if bound:
            rate["cycles"][-1] = rng.choice(("rest", rate["cycles"][-1]))
        if rng.random() < 0.4:
            rate["cycles"] = {"first": f"{rng.randint(1, 4)} steps", "factor": rng.choice((1, 1, 2))}
        if rng.random() < 0.4:
            rate["peaks"] = {"factor": rng.choice((0.5, 0.9))}
    else:
        rate["length"] = rng.choice(("3 steps", "6 steps", "12 steps", *["rest", "0.5 run"] * bound))
    if rng.random() < 0.25:
        rate["warmup"] = f"{rng.randint(1, 3)} steps"
        rate["rewarm"] = rng.random() < 0.5
        if rng.random() < 0.4:
            rate["warmup_from"] = rng.choice((0.0, 0.3, 0.9))
    if rng.random() < 0.1:
        rate["lowest"] = rng.choice((0.2, 0.7))
    return rate


def _align(rng: random.Random) -> dict[str, Any]:
    steps = rng.choice((0, 1, 2, 4, None))
    align: dict[str, Any] = {} if steps is None else {"steps": steps}
    if rng.random() < 0.3:
        align["within"] = f"{rng.randint(1, 4)} steps"
    if rng.random() < 0.3:
        align |= {"min": rng.choice((0.5, 0.9)), "hold": rng.choice((0.3, 0.5, 0.9))}
    return align


def _transition(
    rng: random.Random, names: list[str], states: list[dict[str, Any]], metrics: list[str], run: dict[str, Any]
) -> dict[str, Any]:
    way: dict[str, Any] = {"from": rng.choice(("*", rng.choice(names), rng.sample(names, rng.randint(1, len(names)))))}
    way["to"] = rng.choice(("next", "next", rng.choice(names)))
    way["guards"] = [_guard(rng, metrics, states, run) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    way["at"] = rng.choice(("step", "step", "epoch", "eval"))
    if rng.random() < 0.2:
        way["sustain"] = rng.randint(2, 3)
    if rng.random() < 0.35:
        way["at_most"] = rng.randint(1, 2)
    if rng.random() < 0.3:
        way["regress"] = True
    way["actions"] = ["lr_restart"] * (rng.random() < 0.6)
    if rng.random() < 0.12:
        way["actions"].append({"lr_scale": rng.choice((0.5, 2.0, 1e-160))})
    return way


def _guard(
    rng: random.Random, metrics: list[str], states: list[dict[str, Any]], run: dict[str, Any], deep: int = 0
) -> Any:
    word = rng.choice(("below", "above", "plateau", "patience", "diverging", "gap", "dwell", "min_step", "min_epoch",
                       "nonfinite", "ramp_done", *("any", "all", "not") * (deep < 2)))  # fmt: skip
    metric = rng.choice(metrics)
    if word in ("any", "all"):
        return {word: [_guard(rng, metrics, states, run, deep + 1) for _ in range(rng.randint(1, 2))]}
    if word == "not":
        return {word: _guard(rng, metrics, states, run, deep + 1)}
    if word in ("below", "above"):
        return {word: {"metric": metric, "value": rng.choice((1.5, 2.5, 3.5)), "window": rng.choice((1, 1, 2))}}
    if word == "plateau":
        return {word: {"metric": metric, "window": rng.randint(2, 4), "threshold": rng.choice((0.1, 0.4))}}
    if word == "patience":
        extra = {"min_delta": rng.choice((0.5, 1.5))} if rng.random() < 0.3 else {}
        return {
            word: {"metric": metric, "steps": rng.randint(1, 3), "smooth": rng.choice((1, 1, 2))} | extra | _since(rng)
        }
    if word == "diverging":
        return {word: {"metric": metric, "window": rng.randint(2, 4), "factor": rng.choice((1.2, 1.8))} | _since(rng)}
    if word == "gap":
        return {word: {"metric": metric, "over": f"{rng.randint(1, 2)} steps", "value": rng.choice((0.0, 1.5))}}
    if word == "dwell":
        if "steps_per_epoch" not in run or rng.random() < 0.2:
            return {word: rng.choice(("1 epochs", "2 steps", "3 steps"))}
        return {word: rng.choice((f"{rng.randint(1, 5)} steps", "0.3 run"))}
    if word == "min_step":
        return {word: rng.randint(1, 10)}
    if word == "min_epoch":
        return {word: rng.randint(1, 3)}
    if word == "nonfinite":
        return {word: rng.randint(1, 3)}
    ramped = [name for state in states for name in state.get("ramp", {})]
    return {"ramp_done": rng.choice(ramped)} if ramped else {"dwell": "2 steps"}
