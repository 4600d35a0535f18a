"""Curricula over the whole language, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from plateau_rule.controller.guards import LANGUAGE, Word
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.sim.strategies.amounts import amounts, follow_knobs, is_whole, shares_follow_knobs, without_price
from plateau_rule.sim.strategies.knobs import can_be_followed, falls_on, is_spelled, knob_tables, stand_for_rungs
from plateau_rule.sim.strategies.losses import LEVELS
from plateau_rule.sim.strategies.warmups import keep_warmups_that_begin

METHODS = ("halves", "trend", "sure", "returns")
_SHAPES = ("constant", "linear", "cosine", "wsd")


@dataclass(frozen=True)
class _Bounds:
    """What a drawn curriculum may be made of."""

    max_steps: int
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    monotone: bool
    regress: bool
    open_runs: bool
    timed: tuple[str, ...] = ("loss",)  # metrics for which it is known how often they come


class DrawnCurriculum(Curriculum):
    """A curriculum that prints as what was written, to be pasted into a test."""

    def __repr__(self) -> str:
        return f"Curriculum.model_validate({self.model_dump(by_alias=True, exclude_unset=True)})"


@st.composite
def curricula(
    draw: st.DrawFn,
    *,
    max_states: int = 4,
    max_knobs: int = 2,
    max_transitions: int = 5,
    max_steps: int = 120,
    methods: tuple[str, ...] = METHODS,
    metrics: tuple[str, ...] = ("loss", "val_loss", "score"),
    monotone: bool = True,
    regress: bool = True,
    open_runs: bool = False,
    run: Mapping[str, int] | None = None,
    clocks: bool = False,
    rungs: bool = False,
) -> Curriculum:
    """Curricula over the whole language, each of them valid, and small enough for runs of `max_steps` steps.

    Args:
        draw: given by hypothesis.
        max_states: the largest number of states.
        max_knobs: the largest number of knobs.
        max_transitions: the largest number of transitions.
        max_steps: the longest [run] in optimizer steps, and the order of amounts of time.
        methods: the methods of `plateau` that guards may ask for.
        metrics: the metrics that guards may ask for.
        monotone: what lowers a knob is marked `regress`, and what leads back has `at_most`; else anything goes.
        regress: whether transitions may lead back at all.
        open_runs: also runs of unknown length, or without steps_per_epoch.
        run: this [run] and no other.
        clocks: also runs whose tokens, or cost, the knobs decide.
        rungs: also states that stand for one on each rung of a knob.
    """
    bounds = _Bounds(max_steps, methods, metrics, monotone, regress, open_runs)
    run = dict(draw(_runs(bounds)) if run is None else run)
    names = [f"s{i}" for i in range(draw(st.integers(1, max_states)))]
    knobs = {name: draw(knob_tables()) for name in ("cutoff", "seq_len", "modes")[: draw(st.integers(0, max_knobs))]}
    tables = {name: table for name, (table, _) in knobs.items()}
    _ = draw(follow_knobs(run, tables, max_steps)) if clocks else None
    states = draw(_states(names, knobs, run, bounds))
    _ = draw(stand_for_rungs(states, knobs, monotone)) if rungs and draw(st.booleans()) else None
    guards, declared = dict[str, Any](), draw(_metrics(run, bounds))
    bounds = replace(bounds, timed=tuple(name for name in metrics if name == "loss" or _is_timed(declared.get(name))))
    count = draw(st.integers(1, max_transitions))
    transitions = [draw(_transitions(tables, states, guards, run, bounds)) for _ in range(count)]
    written: dict[str, Any] = {
        "format": 1,
        "name": "drawn",
        "run": without_price(run),
        "lr": draw(_rates(knobs, states, run)),
        "knob": tables,
        "metric": declared,
        "guard": guards,
        "state": states,
        "transition": [transition for transition in transitions if transition is not None],
    }
    keep_warmups_that_begin(written)
    written |= {"nonfinite": {"limit": draw(st.integers(1, 30))}} if draw(st.booleans()) else {}
    return DrawnCurriculum.model_validate(written)


@st.composite
def _runs(draw: st.DrawFn, bounds: _Bounds) -> dict[str, Any]:
    """A [run]; with open_runs any of its keys may be missing."""
    per_epoch = draw(st.integers(1, max(1, min(25, bounds.max_steps))))
    run = {"epochs": draw(st.integers(1, max(1, bounds.max_steps // per_epoch))), "steps_per_epoch": per_epoch}
    if draw(st.booleans()):
        run["tokens_per_step"] = draw(st.integers(1, 1000))
    if bounds.open_runs:
        for key in sorted(draw(st.sets(st.sampled_from(("epochs", "steps_per_epoch"))))):
            del run[key]
    return run


@st.composite
def _metrics(draw: st.DrawFn, run: dict[str, Any], b: _Bounds) -> dict[str, Any]:
    """[metric.NAME] for all metrics but the loss, or for none."""
    if draw(st.booleans()):
        return {}
    found: dict[str, Any] = {}
    for name in b.metrics:
        table = found.setdefault(name, {}) if name != "loss" else {}
        table |= {"goal": draw(st.sampled_from(("min", "max")))} if draw(st.booleans()) else {}
        table |= {"at": draw(st.sampled_from(("eval", "eval", "step", "epoch")))} if draw(st.booleans()) else {}
        if table.get("at") == "epoch" and "steps_per_epoch" not in run:
            table["every"] = draw(amounts(run, 5))  # how long an epoch is, is not known
        elif draw(st.booleans()):
            table["every"] = draw(amounts(run, 5))
    return found


def _is_timed(table: dict[str, Any] | None) -> bool:
    return table is not None and ("every" in table or table.get("at", "eval") != "eval")


@st.composite
def _states(
    draw: st.DrawFn,
    names: list[str],
    knobs: dict[str, tuple[dict[str, Any], list[Any]]],
    run: dict[str, Any],
    b: _Bounds,
) -> list[dict[str, Any]]:
    """[[state]]s whose knobs do not fall in the order of the file (unless nothing need be monotone)."""
    states: list[dict[str, Any]] = [{"name": name, "set": {}} for name in names]
    for knob, (_, values) in knobs.items():
        places = [draw(st.integers(0, len(values) - 1)) for _ in names]
        places = sorted(places) if b.monotone else places
        for i, (state, place) in enumerate(zip(states, places, strict=True)):
            state["set"][knob] = values[place]
            last = places[i + 1] if b.monotone and i + 1 < len(places) else len(values) - 1
            if last > place and not is_spelled(values) and draw(st.booleans()):
                end = values[draw(st.integers(place, last))]
                ramp = {"to": end, "over": draw(amounts(run, b.max_steps // 3 + 1, in_state=True))}
                ramp |= {"shape": "root"} if draw(st.booleans()) else {}
                state.setdefault("ramp", {})[knob] = ramp
    for state in states:
        if lr := draw(_state_rates(run, b)):
            state["lr"] = lr
    if draw(st.integers(0, 5)) == 5:
        states[-1]["stop"] = "done"
    return states


@st.composite
def _state_rates(draw: st.DrawFn, run: dict[str, Any], b: _Bounds) -> dict[str, Any]:
    """What a state changes about the rate: usually nothing."""
    found: dict[str, Any] = {}
    for key in sorted(draw(st.sets(st.sampled_from(("peak", "shape", "floor", "length", "warmup")), max_size=3))):
        found[key] = draw(
            {
                "peak": st.sampled_from((0.5, 2.0, 0.3)),
                "shape": st.sampled_from(_SHAPES),
                "floor": st.sampled_from((0.0, 0.05, 1.0)),
                "length": amounts(run, b.max_steps, rest=True, in_state=True),
                "warmup": amounts(run, b.max_steps // 4 + 1, in_state=True),
            }[key]
        )
    if "warmup" in found and draw(st.booleans()):
        found["warmup_from"] = draw(st.sampled_from((0.0, 0.1, 1.0)))
    return found


@st.composite
def _rates(
    draw: st.DrawFn,
    knobs: dict[str, tuple[dict[str, Any], list[Any]]],
    states: list[dict[str, Any]],
    run: dict[str, Any],
) -> dict[str, Any]:
    """An [lr] that this run can resolve: one length, cycles, or the rest of the run. States may get a `decay`."""
    steps = run.get("epochs", 6) * run.get("steps_per_epoch", 20)
    rate: dict[str, Any] = {"peak": draw(st.sampled_from((1.0, 2e-4, 0.3)))}
    rate |= {"shape": draw(st.sampled_from(_SHAPES))} if draw(st.booleans()) else {}
    rate |= {"floor": draw(st.sampled_from((0.1, 0.05, 1.0, 0.0)))} if draw(st.booleans()) else {}
    whole = is_whole(run)
    kind = draw(st.sampled_from(("length", "cycles", *["rest"] * (whole or shares_follow_knobs(run)))))
    if kind == "length":
        rate["length"] = draw(amounts(run, steps, rest=True, in_state=True))
    elif kind == "cycles":
        rate["cycles"] = draw(st.lists(amounts(run, steps // 2 + 1), min_size=1, max_size=3))
        if whole and not shares_follow_knobs(run) and draw(st.booleans()):
            rate["cycles"].append("rest")
        if draw(st.integers(0, 2)) == 2:
            rate["cycles"] = {"first": draw(amounts(run, steps // 3 + 1)), "factor": draw(st.integers(1, 3))}
        if draw(st.booleans()):
            rate["peaks"] = {"factor": draw(st.sampled_from((0.5, 0.8, 1.0)))}
    followed = [name for name, (_, values) in knobs.items() if can_be_followed(name, values, states)]
    if followed and draw(st.integers(0, 2)) == 2:
        rate["follow"] = {name: draw(st.sampled_from((0.5, 1.0, -1.0))) for name in followed}
    rate |= {"lowest": draw(st.sampled_from((1e-6, 1e-4)))} if draw(st.integers(0, 3)) == 3 else {}
    if draw(st.booleans()):
        rate["warmup"] = draw(amounts(run, steps // 4 + 1, in_state=True))
        rate["rewarm"] = draw(st.booleans())
        rate |= {"warmup_from": draw(st.sampled_from((0.0, 0.25, 1.0)))} if draw(st.booleans()) else {}
    falling = [lr for lr in (state.get("lr", {}) for state in states) if lr.get("shape", rate.get("shape")) == "wsd"]
    for table in [rate, *(lr for lr in falling if lr)] if falling else []:
        table |= {"decay": draw(st.sampled_from((0.5, 1.0, 0.1)))} if draw(st.booleans()) else {}
    return rate


@st.composite
def _transitions(
    draw: st.DrawFn,
    knobs: dict[str, dict[str, Any]],
    states: list[dict[str, Any]],
    guards: dict[str, Any],
    run: dict[str, Any],
    b: _Bounds,
) -> dict[str, Any] | None:
    """A [[transition]] between these states, or None where there is none to be made; may add to the named guards."""
    names = [state["name"] for state in states]
    leaving, to = draw(_ways(names, b))
    if not leaving:
        return None
    sources = [leaving] if isinstance(leaving, str) else leaving
    if leaving == "*":
        sources = names[:-1] if to == "next" else [name for name in names if name != to]
    places = {name: i for i, name in enumerate(names)}
    ways = [(places[source], places[source] + 1 if to == "next" else places[to]) for source in sources]
    found: dict[str, Any] = {"from": leaving, "to": to}
    if (at := draw(st.sampled_from(("step", "epoch", "eval")))) != "step" or draw(st.booleans()):
        found["at"] = at
    ramped = set.intersection(*(set(states[s].get("ramp", {})) for s, _ in ways))
    found["guards"] = draw(st.lists(_conditions(guards, sorted(ramped), run, b, 2), max_size=3))
    if draw(st.integers(0, 3)) == 3:
        found["sustain"] = draw(st.integers(1, 4))
    back = any(target <= source for source, target in ways)
    if (b.monotone and back) or draw(st.integers(0, 5)) == 5:
        found["at_most"] = draw(st.integers(1, 3))
    if b.monotone and any(falls_on(knobs, states[s], states[t]) for s, t in ways):
        found["regress"] = True
    found["actions"] = draw(st.lists(_actions(), max_size=3))
    return found


@st.composite
def _ways(draw: st.DrawFn, names: list[str], b: _Bounds) -> tuple[str | list[str], str]:
    """A `from` and a `to`; ("", "") where there is none."""
    several = len(names) > 1
    if not several and not b.regress:
        return "", ""
    kind = draw(
        st.sampled_from([*["all-next", "some-next", "one-next", "forward"] * several, *["anywhere"] * b.regress])
    )
    if kind == "all-next":
        return "*", "next"
    if kind == "some-next":
        return draw(st.lists(st.sampled_from(names[:-1]), min_size=1, unique=True)), "next"
    if kind == "one-next":
        return draw(st.sampled_from(names[:-1])), "next"
    if kind == "forward":
        source = draw(st.integers(0, len(names) - 2))
        return names[source], names[draw(st.integers(source + 1, len(names) - 1))]
    if several and draw(st.booleans()):
        return "*", draw(st.sampled_from(names))
    sources = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    return sources, draw(st.sampled_from(names))


@st.composite
def _conditions(
    draw: st.DrawFn, guards: dict[str, Any], ramped: list[str], run: dict[str, Any], b: _Bounds, depth: int
) -> Any:
    """A condition: a table, or the name of a guard that is thereby declared."""
    if guards and draw(st.integers(0, 3)) == 3:
        return draw(st.sampled_from(sorted(guards)))
    parts = _conditions(guards, ramped, run, b, depth - 1)
    kind = draw(st.sampled_from(("leaf", "leaf", "leaf", "named", *_JOINING * (depth > 0))))
    if isinstance(kind, Word):
        return {kind.name: kind.example(_Pick(draw, b, run, ramped, parts))}
    if kind == "named":
        name = f"g{len(guards)}"
        leaf = draw(_leaves([], run, b))
        guards[name] = leaf
        return name
    return draw(_leaves(ramped, run, b))


@st.composite
def _leaves(draw: st.DrawFn, ramped: list[str], run: dict[str, Any], b: _Bounds) -> dict[str, Any]:
    """A guard that is not made of others, with numbers that small runs reach."""
    # Few states have a ramp; where there is one, it is asked for often.
    leaves = [word for word in _LEAVES if b.timed or not word.on_timed]
    word = draw(st.sampled_from((*leaves, *_ON_RAMPS * (4 * bool(ramped)))))
    return {word.name: word.example(_Pick(draw, b, run, ramped, st.nothing()))}


_JOINING = tuple(word for word in LANGUAGE if word.joins)
_ON_RAMPS = tuple(word for word in LANGUAGE if word.on_ramp)
_LEAVES = tuple(word for word in LANGUAGE if not word.joins and not word.on_ramp)


class _Pick:
    """The choices of which a word makes an example of itself, made by hypothesis; see controller.guards.word."""

    def __init__(
        self, draw: st.DrawFn, b: _Bounds, run: dict[str, Any], ramped: list[str], parts: st.SearchStrategy[Any]
    ) -> None:
        self.metrics: Sequence[str] = b.metrics
        self.timed: Sequence[str] = b.timed
        self.methods: Sequence[str] = b.methods
        self.ramped: Sequence[str] = ramped
        self.most_steps = b.max_steps
        self.by_hand = "steps_per_epoch" not in run
        self._draw, self._run, self._parts = draw, run, parts

    def whole(self, low: int, high: int) -> int:
        """A whole number."""
        return self._draw(st.integers(low, high))

    def one_of(self, choices: Sequence[Any]) -> Any:
        """One of several."""
        return self._draw(st.sampled_from(choices))

    def amount(self, most: int, least: int = 1, in_state: bool = False) -> str:
        """An amount of time that this run can resolve."""
        return self._draw(amounts(self._run, most, least=least, in_state=in_state))

    def level(self) -> float:
        """A value that drawn losses take."""
        return self._draw(LEVELS)

    def conditions(self, most: int) -> list[Any]:
        """Conditions of less depth."""
        return self._draw(st.lists(self._parts, min_size=1, max_size=most))


@st.composite
def _actions(draw: st.DrawFn) -> Any:
    """An action, the rate's restart more often than others."""
    words = ("lr_restart", "lr_restart", "checkpoint", "evaluate", "rollback", "reset_optimizer")
    tables = ({"lr_scale": 0.5}, {"lr_scale": 3.0}, {"signal": "bell"})
    return draw(st.one_of(st.sampled_from(words), st.sampled_from(tables)))
