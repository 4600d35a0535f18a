"""Tokens and cost of a run, at the least and at the most, whatever the losses are; and whether a decay gets done."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_rule.controller.errors import Key
from plateau_rule.controller.language.amounts import steps_in
from plateau_rule.controller.machine import LATE_SHARE, BoundState, Machine
from plateau_rule.controller.rate import multiplier
from plateau_rule.controller.verifier.counting import Counting
from plateau_rule.controller.verifier.findings import Finding, Severity, Spent, percent
from plateau_rule.controller.verifier.metered import Meterings
from plateau_rule.controller.verifier.zone_graph import Node, Reach
from plateau_rule.controller.verifier.zones import FAR, Spans

Range = tuple[int, int]
HALF = 0.5  # of a length that falls all the way; where less is over at the end, that is hardly meant
_FINE = 10**6  # parts of a length


def spent(machine: Machine, reach: Reach) -> Iterator[Spent]:
    """What a run takes that is not given up for NaN, for every clock that its file speaks of."""
    flop, number = machine.curriculum.run.flop_per_token, machine.run.tokens_per_step
    ends = [(node, _ends(machine, reach, node)) for node in reach.nodes if node.into is None]
    over = [(node, end) for node, end in ends if end is not None]
    found = []
    if isinstance(number, int) and over:
        steps = [_steps(machine, reach, *one) for one in over]
        fewest, longest = min(low for low, _ in steps), max(high for _, high in steps)
        found.append(Spent("tokens", fewest * number, None if longest >= FAR // 2 else longest * number))
    meterings, spans = reach.meterings, [_tight(reach, node) for node, _ in over]
    if machine.meters and meterings is None:
        counting = Counting(machine, reach)
        meterings, spans = counting.meterings, [counting.at(node) for node, _ in over]
    for place, meter in enumerate(machine.meters):
        assert meterings is not None, "there are meters"
        counts = [_counted(reach, meterings, *one, each, place) for one, each in zip(over, spans, strict=True)]
        least, most = min(low for low, _ in counts), max(high for _, high in counts)
        unbounded = any(end[1] >= FAR // 2 for _, end in over)
        exact = meter.scale == 1
        found.append(Spent(meter.name, least if exact else least / meter.scale,
                           None if unbounded else most if exact else most / meter.scale))  # fmt: skip
    yield from found
    for one in found:
        if one.clock == "tokens" and flop is not None:
            yield Spent("FLOP", one.least * flop, None if one.most is None else one.most * flop)


def left(machine: Machine, reach: Reach) -> Iterator[tuple[str, tuple[float, float]]]:
    """By state, the least and the largest share of the run that is left on entering it, if a meter measures the run."""
    places = [place for place, meter in enumerate(machine.meters) if meter.name == machine.run.measure]
    if not places or not machine.length or reach.meterings is None:
        return
    for number, state in enumerate(machine.states):
        spans = [_tight(reach, node)[places[0]].run for node in reach.nodes if node.kind.state == number]
        if spans:
            most = max(0, machine.length - min(low for low, _ in spans))
            least = max(0, machine.length - max(high for _, high in spans))
            yield state.name, (least / machine.length, most / machine.length)


def _ends(machine: Machine, reach: Reach, node: Node) -> Range | None:
    """After how many steps in a node's state a run can be over there; None where it goes on."""
    state = reach.state(node)
    if state.stop is not None:
        return 0, 0
    if not node.stays and node.to:
        return None
    total, by_hand = machine.total_steps, machine.run.epochs if machine.total_steps is None else None
    least = 0 if by_hand else FAR if total is None else max(0, total - node.zone.entry_high)
    most = FAR if total is None else max(0, total - node.zone.entry_low)
    if reach.meterings is not None and reach.metered:
        least = min(least, reach.meterings.over_from(state, node.zone))
        most = min(most, reach.meterings.over_by(state, node.zone))
    return (0, FAR) if least >= FAR else (least, most)


def _steps(machine: Machine, reach: Reach, node: Node, end: Range) -> Range:
    """The steps of a run that is over in a node, after so many there."""
    total = machine.total_steps
    if total is not None and reach.state(node).stop is None and not reach.metered:
        return total, total
    low, high = node.zone.entry_low + end[0], node.zone.entry_high + end[1]
    return low, high if total is None else min(high, total)


def _tight(reach: Reach, node: Node) -> Spans:
    """What meters have counted when a node is entered."""
    return reach.meterings.tight(node.zone) if reach.meterings is not None else ()


def _counted(reach: Reach, meterings: Meterings, node: Node, end: Range, spans: Spans, meter: int) -> Range:
    """What a meter has counted at the end of a run that is over in a node, entered with such counts."""
    machine, state, span = reach.machine, reach.state(node), spans[meter]
    tally = machine.tally(state, machine.length)
    low, high = meterings.ended(meter, span, state, end, _steps(machine, reach, node, end))
    bound = machine.meters[meter].bound
    if bound is not None:
        high = min(high, bound - 1 + tally.extremes(meter)[1])
        if len(machine.bounds) == 1 and machine.run.epochs is None and state.stop is None:
            low = max(low, bound)
    return low, high


# Whether a decay gets done


def decays(machine: Machine, reach: Reach) -> Iterator[Finding]:
    """The fall of a goal's rate whose length is not over when the run is, whatever the losses are."""
    for place in sorted(reach.goal):
        state = machine.states[place]
        if state.rate.shape == "constant" or state.rate.cycles or state.rate.length.unit == "rest":
            continue
        nodes = [node for node in reach.nodes if node.into is None and node.kind.state == place and node.stays]
        bounds = [bound for node in nodes if (bound := _behind(machine, reach, node)) is not None]
        if not bounds or len(bounds) < len(nodes):
            continue
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        own = machine.curriculum.state[state.index].lr.length is not None
        path = ("state", state.index, "lr", "length") if own else ("lr", "length")
        if high < 1.0 - LATE_SHARE:
            yield _unfinished(state, path, high)
        elif state.rate.shape == "wsd" and low < 1.0 - LATE_SHARE and machine.meter_of(state.rate.length) is not None:
            yield Finding("decay-unfinished", "timing", "undecided", path,
                          f'when the run ends, {percent(low)} to {percent(min(1.0, high))} of the rate\'s length of '
                          f'{state.rate.length} are over in "{state.name}" (what is counted is known by bounds)',
                          "Bound the run by the same clock, or the stays before that state")  # fmt: skip


def _unfinished(state: BoundState, path: tuple[Key, ...], over: float) -> Finding:
    """A length of which at most `over` is behind a run at its end.

    The decay of `wsd` is there to be taken, and one that is cut off is an error. Another shape falls all the way, and
    some schedules were published that end before its end; where less than half of it is over, its length is a slip.
    A length in cost is a budget, and none of those: its floor is to be reached within what the run may cost.
    """
    rate = state.rate
    said = f"when the run ends, at most {percent(over)} of the rate's length of {rate.length} are over in "
    product = (
        'where knobs change the tokens of a step, write tokens_per_step as their product, such as [8, "batch_size"]'
    )
    product = f"; {product}" if rate.length.unit == "tokens" else ""
    if rate.shape == "wsd":
        sentence = f'{said}"{state.name}", and its decay is the last {percent(rate.decay)} of it'
        return Finding("decay-unfinished", "timing", "error", path, sentence,
                       f"Give the length that the run has{product}")  # fmt: skip
    least = multiplier(rate.shape, rate.floor, rate.decay, int(max(0.0, over) * _FINE), _FINE)
    sentence = (
        f'{said}"{state.name}": it is still at {percent(least)} of the peak or more, its floor is {percent(rate.floor)}'
    )
    advice = "Give" if rate.length.unit == "cost" else "If that is not meant, give"
    severity: Severity = "error" if rate.length.unit == "cost" else "warning" if over < HALF else "note"
    return Finding("decay-unfinished", "timing", severity, path, sentence,
                   f'{advice} the length that the run has, or "rest"{product}')  # fmt: skip


def _behind(machine: Machine, reach: Reach, node: Node) -> tuple[float, float] | None:
    """The share of the rate's length that is over at the end of a run, at the least and at the most."""
    end, state = _ends(machine, reach, node), reach.state(node)
    if end is None or end[1] >= FAR // 2:
        return None
    meter, zone = machine.meter_of(state.rate.length), node.zone
    if meter is None:
        length = steps_in(state.rate.length, machine.run, machine.total_steps)
        warm = max(0, node.kind.warm.steps)
        low, high = zone.since_low + end[0], zone.since_high + end[1]
        if machine.total_steps is not None and not reach.metered:
            low, high = (
                max(low, machine.total_steps - zone.anchor_high),
                min(high, machine.total_steps - zone.anchor_low),
            )
        return (low - warm) / length, (high - warm) / length
    assert reach.meterings is not None, "a meter measures the rate"
    spans, length = reach.meterings.tight(node.zone), machine.count_in(state.rate.length, machine.length)
    span, counted = spans[meter], _counted(reach, reach.meterings, node, end, spans, meter)
    tally = machine.tally(state, machine.length)
    low = max(span.since[0] + tally.at(meter, end[0]), counted[0] - span.begun[1])
    high = min(span.since[1] + tally.at(meter, end[1]), counted[1] - span.begun[0])
    return low / length, high / length
