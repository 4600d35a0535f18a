"""What clocks have in store for a stay, looked up look by look."""

from __future__ import annotations

from itertools import product
from typing import Any

from tests.controller.naive.history import History

MOST = 400  # looks; longer than any run of these tests
Coming = tuple[int, int, str, int]  # time in the state, the transition, where to, how long it waits


def coming(run: Any) -> Coming | None:
    """The first look from here on at which a transition is taken whatever comes, if it is one that waits."""
    ways = [(place, to) for place, to in run.bound.ways(run.stay.state) if not run.used_up(place)]
    rows = {place: _in_a_row(run.looks.get(place, [])) for place, _ in ways}
    needs: dict[str, float] = {}
    for time in range(run.time + 1, MOST if run.bound.lead else 0):
        for place, to in ways:
            way, per_epoch = run.bound.curriculum.transition[place], run.bound.run[1]
            if way.at == "eval" or (way.at == "epoch" and (per_epoch is None or (run.stay.step + time) % per_epoch)):
                continue
            sure = all(_verdicts(run, guard, time, needs) == {True} for guard in way.guards)
            rows[place] = rows[place] + 1 if sure else 0
            if rows[place] >= way.sustain:
                wait = run.bound.wait(place, run.stay.state, to)
                return (time, place, to, wait) if wait else None
    return None


def _in_a_row(looks: list[bool]) -> int:
    return next((n for n, held in enumerate(reversed(looks)) if not held), len(looks))


def _verdicts(run: History, condition: Any, time: int, needs: dict[str, float]) -> set[bool | None]:
    """Every verdict that a guard can have at a look; `needs` keeps how long amounts take in this stay."""
    guard = run.bound.curriculum.resolve(condition)
    word, asked, by_hand = guard.word, guard.value, run.bound.run[1] is None
    if word in ("any", "all"):
        combined = product(*(_verdicts(run, part, time, needs) for part in asked))
        return {_joined(word == "any", set(verdicts)) for verdicts in combined}
    if word == "not":
        return {None if verdict is None else not verdict for verdict in _verdicts(run, asked, time, needs)}
    if word == "nonfinite":
        return {True, False} if time >= asked else {False}
    if word == "min_step":
        return {run.stay.step + time >= asked}
    if word in ("min_epoch", "dwell") and by_hand and "epoch" in f"{word} {asked}":
        need = asked if word == "min_epoch" else int(asked.split()[0])
        closed = run.epochs() if word == "min_epoch" else run.epochs(run.stay.step)
        return {True} if closed >= need else {True, False} if closed + time - run.time >= need else {False}
    if word == "min_epoch":
        return {(run.stay.step + time) // run.bound.run[1] >= asked}  # type: ignore[operator]  # not by hand
    if word in ("dwell", "ramp_done"):
        state = next(s for s in run.bound.curriculum.state if s.name == run.stay.state)
        amount = asked if word == "dwell" else state.ramp[asked].over
        if amount not in needs:
            needs[amount] = run.bound.steps(amount, run.total, state=state.name, most=MOST)
        return {time >= needs[amount]}
    return {True, False, None}


def _joined(decisive: bool, verdicts: set[bool | None]) -> bool | None:
    return decisive if decisive in verdicts else None if None in verdicts else not decisive


def clockwork(run: History) -> bool:
    """Whether only clocks lead out of a state, but for what waits for nothing."""
    by_hand = run.bound.run[1] is None
    for place, to in run.bound.ways(run.stay.state):
        way = run.bound.curriculum.transition[place]
        leaves = [(leaf.word, str(leaf.value)) for leaf in run.leaves(way.guards)]
        exact = all(
            word in ("min_step", "ramp_done") or (word == "min_epoch" and not by_hand)
            or (word == "dwell" and not (by_hand and "epoch" in amount))
            for word, amount in leaves
        )  # fmt: skip
        if not run.bound.at_once(place, to) and not (exact and way.at in ("step", *["epoch"] * (not by_hand))):
            return False
    return True
