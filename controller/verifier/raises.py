"""What raises do to the rate: the property `aligned`, and the table of raises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from plateau_rule.controller.guards.min_step import MinStep
from plateau_rule.controller.guards.not_ import Not
from plateau_rule.controller.machine import BoundTransition, Machine
from plateau_rule.controller.rate import counts_over, peak_in_force, peak_of_cycle, share_of_peak
from plateau_rule.controller.verifier.alignment import TOLERANCE, Alignment, Low, Miss, trail_after
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent, Part
from plateau_rule.controller.verifier.examples import TRIES, Examples, Trail, trail_of
from plateau_rule.controller.verifier.explored import Explored
from plateau_rule.controller.verifier.extremes import around
from plateau_rule.controller.verifier.findings import Counterexample, Finding, RaiseRates, percent, visits_of
from plateau_rule.controller.verifier.monotone import components
from plateau_rule.controller.verifier.settling import LEVEL, settled
from plateau_rule.controller.verifier.structure import restarts_rate
from plateau_rule.controller.verifier.trails import clock_on, trail_through
from plateau_rule.controller.verifier.witness import Played, Visit
from plateau_rule.controller.verifier.zone_graph import Edge, Reach
from plateau_rule.controller.verifier.zones import FAR

LEAST_PEAK = sys.float_info.min  # below it a peak loses its digits, and soon is 0


def aligned(machine: Machine, explored: Explored, examples: Examples, budget: Budget | Part) -> Iterator[Finding]:
    """Raises into a low rate, the earliest of each transition."""
    rates = Alignment(machine, budget)
    edges: dict[int, list[tuple[Reach, Edge]]] = {}
    for reach, edge in raising(rates, explored):
        edges.setdefault(reach.transition(edge).index, []).append((reach, edge))
    yield from _vanishing(machine, explored, examples)
    yield from _own_warmups(machine, [edge for raises in edges.values() for _, edge in raises])
    for index, raises in sorted(edges.items()):
        try:
            finding = _of_transition(rates, index, raises, examples)
        except BudgetSpent:
            finding = Finding("misaligned", "aligned", "undecided", ("transition", index),
                              f"how high the rate is whenever {_title(machine, index)} raises a knob is not known "
                              "(the budget ran out)", "Allow more: --budget NUMBER")  # fmt: skip
        if finding is not None:
            yield finding


def raising(rates: Alignment, explored: Explored) -> Iterator[tuple[Reach, Edge]]:
    """Every edge that raises a knob, those that are alike once; in a state that stops the training no step is taken."""
    seen = set()
    for reach, edge in explored.edges():
        if rates.machine.states[edge.kind.state].stop is not None:
            continue
        key = (reach.exact, edge.source.kind.state, edge.place, edge.shift is None, edge.kind.state, edge.kind.cycle,
               edge.kind.warm, edge.zone, edge.spent if rates.machine.states[edge.source.kind.state].ramps else None,
               edge.kind.used)  # fmt: skip
        if key not in seen and rates.jump(edge).raised:
            seen.add(key)
            yield reach, edge


def _of_transition(
    rates: Alignment, index: int, raises: list[tuple[Reach, Edge]], examples: Examples
) -> Finding | None:
    """The finding about one transition, if there is one."""
    exact: list[tuple[Reach, Miss]] = []
    maybe, unsure = False, False
    for reach, edge in raises:
        if exact and edge.zone.entry_low >= exact[0][1].entry and reach.exact and len(exact) >= TRIES:
            continue  # others are earlier
        for number, miss in enumerate(rates.misses(reach, edge)):
            maybe = maybe or miss is None
            if miss is not None and rates.jump(edge).unsure:
                unsure = True
            elif miss is not None:
                exact.append((reach, miss))
            if miss is None or number + 1 >= 2 * TRIES:
                break
    if exact:
        exact.sort(key=lambda one: (one[1].entry, len(one[1].low.taken), one[1].low.step))
        if rates.meterings is not None:
            return _by_bounds(rates, index, exact[: 4 * TRIES], examples)
        finding = _low_rate(rates, index, *exact[0])
        if rates.machine.lowest and all(_is_lifted(*one) for one in exact[: 4 * TRIES]):
            return finding.undecided("at every moment that was tried, lowest keeps the rate up")
        finding = examples.happens(finding, (_missed(*one) for one in exact[: 4 * TRIES]))
        return finding if finding.severity == "error" else _at_some_moment(rates, index, *exact[0], examples) or finding
    title = _title(rates.machine, index)
    if maybe or unsure:
        why = ("whether it is a raise depends on where full is", "--limit KNOB=NUMBER decides") if unsure else (
            "there are too many configurations to tell", "Allow more: --budget NUMBER")  # fmt: skip
        return Finding("misaligned", "aligned", "undecided", ("transition", index),
                       f"{title} may raise a knob while the rate is low ({why[0]})", why[1])  # fmt: skip
    left = max((rates.ending(edge) for _, edge in raises), default=0)
    total = rates.total
    if left and total is not None:
        return Finding("late-raise", "aligned", "note", ("transition", index),
                       f"taken in the last {left} of {total} steps, {title} leaves its rate, which falls over the rest "
                       f"of the run, too few of them to stay at {percent(rates.align.hold)} for {rates.align.spelled}",
                       "Nothing has to be done. To rule it out, add to its guards: "
                       f"{{ {Not.name} = {{ {MinStep.name} = {total - left} }} }}")  # fmt: skip
    return None


def _by_bounds(rates: Alignment, index: int, exact: list[tuple[Reach, Miss]], examples: Examples) -> Finding:
    """The finding where a meter decides the rate: what was counted is one of all that it can be, on each way."""
    first: Finding | None = None
    for reach, miss in exact:
        trail = _missed(reach, miss)
        if trail is not None:
            clock, state = clock_on(rates.machine, trail.taken, miss.low.step)
            miss = miss._replace(low=miss.low._replace(share=share_of_peak(clock, state, miss.low.step)))
        finding = examples.happens(_low_rate(rates, index, reach, miss), [trail])
        if finding.severity == "error":
            return finding
        first = first or finding
    assert first is not None  # there is one at least
    return first


def _title(machine: Machine, index: int) -> str:
    return next(t.title for state in machine.states for t in state.transitions if t.index == index)


def _missed(reach: Reach, found: Miss) -> Trail | None:
    low = found.low
    taken = trail_after(found, trail_through(reach, found.edge, found.entry, found.anchor))
    if taken is None:
        return None
    clock, state = clock_on(reach.machine, taken, low.step)
    if reach.machine.lowest >= low.asked * peak_in_force(clock, reach.machine, state):
        return None  # the lowest rate of the file keeps a rate high enough that falls too far by its shape
    share = low.share
    if clock.counts is not None:  # what was counted on this way is one of all that it can be
        share = share_of_peak(clock, state, low.step)
        if share >= low.asked - TOLERANCE or counts_over(reach.machine, clock) <= low.step:
            return None
    shows = f"the rate is {percent(share)} of the peak, {percent(low.asked)} is asked"
    return Trail(taken, low.step, low.step + 1, shows)


def _is_lifted(reach: Reach, found: Miss) -> bool:
    taken = trail_after(found, trail_through(reach, found.edge, found.entry, found.anchor))
    if taken is None:
        return False
    clock, state = clock_on(reach.machine, taken, found.low.step)
    return reach.machine.lowest >= found.low.asked * peak_in_force(clock, reach.machine, state)


def _own_warmups(machine: Machine, raises: list[Edge]) -> Iterator[Finding]:
    """From where on the rate is measured in states that say how they warm up."""
    for place in sorted({edge.kind.state for edge in raises if edge.shift is None}):
        state = machine.states[place]
        if state.rate.own_warmup and state.rate.warmup.steps:
            yield Finding("measured-later", "aligned", "note", ("state", state.index, "lr", "warmup"),
                          f'"{state.name}" has a warm-up of its own: what is asked of the rate after a raise is asked '
                          f"from the end of its {state.rate.warmup.steps} steps on")  # fmt: skip


def _at_some_moment(rates: Alignment, index: int, reach: Reach, miss: Miss, examples: Examples) -> Finding | None:
    """The finding, where a loss that settles brings the raise at a low rate, on a step that nobody chose."""
    machine, asked = rates.machine, rates.align.min
    taken = trail_through(reach, miss.edge, miss.entry, miss.anchor)
    if taken is None or miss.low.late or rates.due or reach.state(miss.edge.source).ramps:
        return None
    visits, controller = visits_of(machine, taken, miss.entry), examples.player.controller
    last = machine.run.total_steps or 2 * miss.entry
    try:
        for step, played in settled(examples.player, visits, last, rates.budget):
            run = controller.run_state
            new, peak = run.state, peak_in_force(run.rate, machine, run.state)
            share = controller.plan.lr / peak if peak else 1.0  # a peak of 0 is told of by itself
            if share < asked - TOLERANCE and controller.observe(LEVEL) is None:
                found = miss._replace(entry=step, low=Low(step, share, asked, False))
                stays = (*visits[:-1], visits[-1]._replace(left=step), Visit(new, step, step + 1, None))
                shows = f"the rate is {percent(share)} of the peak, {percent(asked)} is asked"
                example = Counterexample(stays, step, shows, (*played, Played([LEVEL], 0, 0, [])))
                return replace(_low_rate(rates, index, reach, found), counterexample=example)
    except BudgetSpent:
        pass
    return None


def _low_rate(rates: Alignment, index: int, reach: Reach, found: Miss) -> Finding:
    jump, align, low = rates.jump(found.edge), rates.align, found.low
    remedy = _remedy(rates.machine, reach, found)
    knobs = ", ".join(
        f"{name} {rises(rates.machine, name)} from {jump.before[name]} to {jump.after[name]}" for name in jump.raised
    )
    if not low.late:
        own = "actions" in rates.machine.curriculum.transition[index].model_fields_set
        listed = own and not restarts_rate(reach.transition(found.edge))  # what is missing there
        return Finding("misaligned", "aligned", "error", ("transition", index, *(("actions",) if listed else ())),
                       f"{knobs} while the rate is {_low(low)} of the peak{_more(rates, reach, found)}; "
                       f"{percent(align.min)} is asked", remedy)  # fmt: skip
    later, state = low.step - found.entry, rates.machine.states[found.edge.kind.state]
    for place, _ in low.taken:
        state = rates.machine.by_name[state.transitions[place].target]
    where = f' in "{state.name}"' if low.taken else ""
    return Finding("rate-falls", "aligned", "error", ("transition", index),
                   f"{knobs}, and {later} steps later the rate is {_low(low)} of the peak{where}; "
                   f"{percent(align.hold)} is asked for {align.spelled}", remedy)  # fmt: skip


def _low(low: Low) -> str:
    """How low a rate is; where as many digits show no difference to what is asked, in words."""
    return f"{'just below' if percent(low.share) == percent(low.asked) else 'at'} {percent(low.share)}"


def rises(machine: Machine, name: str) -> str:
    """What a knob does that becomes harder."""
    return "rises" if machine.signs[name] > 0 else "gets harder, and falls"


def _more(rates: Alignment, reach: Reach, found: Miss) -> str:
    """How low the rate is at other moments of the same raise."""
    asked = reach.exact and found.edge.zone.entry_high < FAR and not rates.due
    shares = around(rates, reach, found.edge) if asked else None
    worst = shares[1][0] if shares else found.low.share
    return f", at other moments {percent(worst)}" if worst < found.low.share - 0.005 else ""


def _remedy(machine: Machine, reach: Reach, found: Miss) -> str:
    """What would keep the rate high after a raise."""
    kind = found.edge.kind
    if found.low.taken:
        return "Give the state that follows a rate that stays high, or let the raise come later"
    if not restarts_rate(reach.transition(found.edge)):
        cycles = ", or let the cycles of the rate end where the knob rises"
        return 'Add "lr_restart" to its actions' + cycles * bool(machine.states[kind.state].rate.cycles)
    warm = kind.warm.steps
    if warm and not found.low.late:
        return (f"The restart warms up for {warm} steps: leave rewarm out, or ask for the rate after them: "
                f'[check] align = {{ within = "{warm + 1} steps" }}')  # fmt: skip
    return "Choose a longer length of the rate, or set [check] align to what is meant"


# A peak that vanishes


def _vanishing(machine: Machine, explored: Explored, examples: Examples) -> Iterator[Finding]:
    """The first state, if any, in which the peak in force has been scaled down to nothing."""
    if machine.lowest >= LEAST_PEAK or _surely_above(machine, explored):
        return
    finding = Finding("rate-vanishes", "aligned", "error", ("lr", "peak"),
                      "the peak in force is scaled down until a float cannot hold it, and the rate is 0",
                      "Choose larger factors of lr_scale and peak, or bound them by at_most")  # fmt: skip
    trails: list[Trail | None] = []
    scales = {id(explored.by_run.nodes[0]): 1.0}
    for node in explored.by_run.nodes:  # a node stands behind the one that it was first entered from
        scale = scales.setdefault(id(node), 1.0)
        if node.by is not None:
            scale = scales[id(node.by.source)] * factor(explored.by_run.transition(node.by))
            scales[id(node)] = scale
        state = explored.by_run.state(node)
        cycle = max(0, node.kind.cycle) if machine.peaks is not None else 0
        peak = machine.peak * scale * state.rate.peak * peak_of_cycle(machine.peaks or 1.0, cycle) * state.rate.follow
        if peak < LEAST_PEAK and state.stop is None and explored.by_run.exact:
            title = finding.path if node.by is None else ("transition", explored.by_run.transition(node.by).index)
            finding = Finding(finding.code, finding.property, finding.severity, title, finding.sentence,
                              finding.suggestion)  # fmt: skip
            shows = f"the peak in force is {peak:.3g}"
            step = node.zone.entry_low
            if node.by is None:
                trails.append(Trail([], step, step + 1, shows))
            else:
                trails.append(trail_of(explored.by_run, node.by, (step, None), step, step + 1, shows))
            break
    yield examples.happens(finding, trails)


def factor(transition: BoundTransition) -> float:
    """What a transition multiplies the rate by."""
    product = 1.0
    for action in transition.actions:
        if action.name == "lr_scale":
            product *= float(action.argument or 1.0)
    return product


def _surely_above(machine: Machine, explored: Explored) -> bool:
    """Whether the lowest peak that transitions can bring about is a float with all its digits."""
    least = min(
        state.rate.peak * state.rate.follow
        for state in machine.states
        if state.stop is None or len(machine.states) == 1
    )
    lowering = {t.key: t for state in machine.states for t in state.transitions if factor(t) < 1.0}
    least *= peak_of_cycle(machine.peaks or 1.0, max(0, len(machine.cycles) - 1))
    if not lowering:
        return machine.peak * least >= LEAST_PEAK
    total = FAR if machine.run.total_steps is None else machine.run.total_steps
    scale = machine.peak * least
    circles = components({(edge.source.kind.state, edge.kind.state) for edge in explored.whole.edges()})
    for key, transition in lowering.items():
        times = min(total, FAR if transition.at_most is None else transition.at_most)
        mine = {(edge.source.kind.state, edge.kind.state) for edge in explored.whole.edges()
                if explored.whole.transition(edge).key == key}  # fmt: skip
        if not any(source in circle and target in circle for source, target in mine for circle in circles):
            times = min(times, len(mine))  # once from each state
        scale *= factor(transition) ** min(times, 10**6) if times < FAR else 0.0
    return scale >= LEAST_PEAK


def raise_rates(machine: Machine, explored: Explored, budget: Budget | Part) -> Iterator[RaiseRates]:
    """The rates around each raise; those that there is no budget for are left out."""
    rates = Alignment(machine, budget)
    shares: dict[tuple[int, str], tuple[RaiseRates, list[float], list[float]]] = {}
    try:
        for reach, edge in raising(rates, explored):
            if not reach.exact or edge.zone.entry_high >= FAR:
                continue
            found = around(rates, reach, edge)
            if found is not None:  # some stay is short enough to end in a raise
                jump, transition = rates.jump(edge), reach.transition(edge)
                knobs: dict[str, tuple[object, object]] = {n: (jump.before[n], jump.after[n]) for n in jump.raised}
                empty = RaiseRates(transition, knobs, (1.0, 1.0), (1.0, 1.0))
                _, before, after = shares.setdefault((transition.index, transition.source), (empty, [], []))
                before += found[0]
                after += found[1]
    except BudgetSpent:
        pass
    for one, before, after in shares.values():
        yield one._replace(before=(min(before), max(before)), after=(min(after), max(after)))
