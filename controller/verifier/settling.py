"""Stays under a loss that falls and settles, for as long as the Controller itself makes of it.

Some guards decide only now and then, or on what a whole stay has brought, and no shape makes them true on one step
chosen beforehand. A loss that settles slowly makes them true on some step; that step is then looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from math import exp, log

from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.horizon import FastForward
from plateau_rule.controller.plan import Decision, length_over
from plateau_rule.controller.verifier.budget import Budget, Part
from plateau_rule.controller.verifier.witness import AT_ONCE, LOOK, Played, Player, Visit, uneventful

LEVEL = 4.0  # that the loss settles at, from twice as much
CONSTANTS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of time, in stays
RATIOS = (1.001, 1.01)  # between one loss and the next, of a fall that ends with the stay that is asked for
LARGEST_LOG = 500.0  # of the ratio between the first loss of such a fall and the last


def settled(
    player: Player, visits: Sequence[Visit], last: int, budget: Budget | Part
) -> Iterator[tuple[int, tuple[Played, ...]]]:
    """Runs in which the last of some stays ends as it should, on whatever step before `last` that comes about.

    Yields:
        The step that the transition applies from, and what was observed; the player's controller is left there.

    Raises:
        BudgetSpent: nothing is left to try.
    """
    visit, before = visits[-1], player.play(visits[:-1], budget)
    wanted, controller = visit.transition, player.controller
    if before is None or wanted is None:
        return
    start = controller.run_state.copy()
    for series in _series(visit.left - visit.entered):
        controller.run_state = start.copy()
        losses, decision, cost = _until_left(player, series, last - visit.entered)
        budget.spend(cost)
        if decision is None or length_over(controller.machine, controller.run_state):
            continue
        if (decision.transition, decision.to_state) == (wanted.title, wanted.target):
            yield decision.step, (*before, Played(losses, 0, 0, []))


def _series(stay: int) -> Iterator[Iterator[float]]:
    """Losses without end that fall and then lie flat, or settle, at about the end of a stay."""
    yield from (_falls_first(ratio, stay) for ratio in RATIOS if stay * log(ratio) < LARGEST_LOG)
    yield from (_settles(constant * stay) for constant in CONSTANTS)


def _settles(constant: float) -> Iterator[float]:
    return (LEVEL * (1.0 + exp(-i / constant)) for i in count())


def _falls_first(ratio: float, stay: int) -> Iterator[float]:
    return (LEVEL * ratio ** max(0, stay - i) for i in count())


def _until_left(player: Player, series: Iterator[float], most: int) -> tuple[list[float], Decision | None, float]:
    """The losses of a stay up to a transition or this many steps, and what it cost."""
    controller = player.controller
    losses, cost = list[float](), 1.0
    decision: Decision | None = None
    while decision is None and len(losses) < most:
        ahead = uneventful(controller, most - len(losses)) if losses else 0
        coming = list(islice(series, max(1, ahead)))
        try:
            if ahead:
                seen, decision = FastForward(controller.machine, controller.run_state).observe_all(coming)
                coming = coming[:seen]
            else:
                decision = controller.observe(coming[0])
        except NonFiniteLoss:
            return losses, None, cost
        losses += coming
        cost += (AT_ONCE if ahead else LOOK) * 2 * len(coming)
    return losses, decision, cost
