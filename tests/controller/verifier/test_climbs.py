"""The earliest and the latest climb, and what is planned on them: the same as the Controller plans on such a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from plateau_rule import BindingError, Curriculum, load
from plateau_rule.controller.binding import bind
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.budget import Budget, BudgetSpent
from plateau_rule.controller.verifier.climbs import Climb, _entered, climbs, planned
from plateau_rule.controller.verifier.explored import explore
from plateau_rule.controller.verifier.trails import trail
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.witness import Player, controller_of, rows_of
from plateau_rule.controller.verifier.zone_graph import Reach
from plateau_rule.controller.verifier.zones import Zone
from plateau_rule.sim.strategies import curricula
from tests.controller.small import crowded, small

GOOD = Path(__file__).parents[2] / "machines" / "good"
FLAT = {"plateau": {"window": 4}}


def stays(climb: Climb) -> list[tuple[str, int, int]]:
    """The stays of a climb: state, first step, first step after it."""
    return [(visit.state.name, visit.entered, visit.left) for visit in climb.visits]


def of(name: str) -> dict[str, list[tuple[str, int, int]]]:
    """The climbs of a sound file, by their names."""
    return {climb.name: stays(climb) for climb in climbs(bind(load(GOOD / f"{name}.toml")))}


def test_with_a_timeout() -> None:
    """Earliest, each plateau comes at once; latest, each timeout does."""
    assert of("plateau-with-timeout") == {
        "earliest": [("low", 0, 100), ("middle", 100, 200), ("high", 200, 1000)],
        "latest": [("low", 0, 300), ("middle", 300, 600), ("high", 600, 1000)],
    }


def test_without_a_timeout() -> None:
    """Where some loss keeps the run in a state, the latest climb stays there, and says so."""
    earliest, latest = climbs(bind(small({"guards": [FLAT]})))
    assert stays(earliest) == [("low", 0, 4), ("mid", 4, 8), ("high", 8, 12), ("top", 12, 100)]
    assert stays(latest) == [("low", 0, 100)]
    assert (earliest.reaches, latest.reaches) == ("top", "low")


def test_losses_decide_nothing() -> None:
    """Where both climbs are one, it is told once; a state that is gone round is entered as often as it is."""
    assert of("cycles-that-fit") == {
        "whatever the losses": [("low", 0, 200), ("middle", 200, 500), ("high", 500, 1000)]
    }
    assert of("one-state") == {"whatever the losses": [("only", 0, 1000)]}
    (rounds,) = of("rounds").values()
    assert [name for name, _, _ in rounds] == ["a", "b", "a", "b", "a", "b", "a", "b", "end"]


def test_the_training_stops() -> None:
    """A climb into a state that stops the training ends there, before a step is taken in it."""
    found = climbs(bind(load(GOOD / "two-ends.toml")))
    assert stays(found[1]) == [("low", 0, 300)]
    assert [climb.reaches for climb in found] == ["highest", "done"]


def test_retreats_come_last() -> None:
    """Of a timeout and a retreat that can end a stay on the same step, the climb goes on."""
    machine = bind(small(
        {"from": ["low", "high"], "guards": [{"dwell": "10 steps"}]},
        {"from": "mid", "to": "low", "guards": [{"nonfinite": 2}], "regress": True, "at_most": 1},
        {"from": "mid", "to": "top", "guards": [{"dwell": "10 steps"}]},
    ))  # fmt: skip
    assert stays(climbs(machine)[-1])[:2] == [("low", 0, 10), ("mid", 10, 20)]
    assert [visit.transition and visit.transition.target for visit in climbs(machine)[-1].visits] == [
        "mid", "top", None,
    ]  # fmt: skip


def test_the_earliest_climb_happens() -> None:
    """Of two configurations that are entered equally early, the one that no way leads to is passed over."""
    states = [{"name": f"s{i}", "set": {"cutoff": 1}} for i in range(5)]
    low = {"below": {"value": 1.0}}
    machine = bind(small(
        {"from": ["s0", "s2"], "guards": [low], "actions": ["lr_restart"]},
        {"from": "s1", "at": "epoch", "guards": [low]},
        {"from": "s3", "guards": [{"min_step": 5}, {"not": {"dwell": "2 steps"}}]},
        state=states, knob={"cutoff": {"ladder": [1]}}, run={"epochs": 3, "steps_per_epoch": 2},
        lr={"peak": 1.0, "cycles": ["3 steps", "rest"]},
    ))  # fmt: skip
    reach = Reach(machine)
    last = [trail(reach, node, node.zone.entry_low, None) for node in reach.nodes if node.kind.done]
    assert last == [None, [(0, 1), (0, 2), (0, 4), (0, 5)]]
    earliest, _ = climbs(machine)
    assert stays(earliest) == [("s0", 0, 1), ("s1", 1, 2), ("s2", 2, 4), ("s3", 4, 5), ("s4", 5, 6)]
    assert as_planned(machine, earliest)


def test_too_many_configurations() -> None:
    """Where the last state lies behind more configurations than are told apart, there is no earliest climb to it."""
    machine = bind(crowded({"from": "s18", "guards": [{"below": {"value": 1.0}}]}))
    near = explore(machine).near
    assert near is not None
    assert max(node.kind.state for node in near.nodes) < 19
    (climb,) = climbs(machine)
    assert (climb.name, climb.reaches) == ("latest", "s0")


def test_the_length_of_the_run_is_needed() -> None:
    """Without it there is no end to draw to."""
    machine = bind(small({"guards": [FLAT]}, run={}, lr={"peak": 1.0, "shape": "constant"}))
    with pytest.raises(BindingError) as caught:
        climbs(machine)
    assert str(caught.value) == (
        "run: the length of the run is not known; expected epochs and steps_per_epoch. "
        "State them in [run], or as --epochs and --steps-per-epoch [unresolved-amount]"
    )


def as_planned(machine: Machine, climb: Climb) -> bool:
    """Whether a stream is found that brings the climb about; then every plan on it must be the Controller's."""
    try:
        played = Player(machine).play(climb.visits, Budget(20_000))
    except BudgetSpent:
        return False
    if played is None:
        return False
    rows = rows_of(machine, played)
    controller, plans = controller_of(machine), {plan.step: plan for plan in planned(machine, climb)}
    for row in rows:
        plan = controller.plan
        if plan.step in plans:
            assert plans[plan.step] == (plan.step, plan.state, plan.knobs, plan.lr)
        told = {key: value for key, value in row.items() if key not in ("step", "epoch", "state", "lr", "loss")}
        controller.observe(row["loss"], **told)
    return True


@pytest.mark.parametrize("file", sorted(GOOD.glob("*.toml")), ids=lambda file: file.stem)
def test_planned_as_the_controller_plans(file: Path) -> None:
    """On the climbs of every sound file, knobs and rate are those that the Controller plans, to the bit."""
    machine = bind(load(file))
    assert all(as_planned(machine, climb) for climb in climbs(machine))


@pytest.mark.slow
@given(curricula(max_steps=30, max_states=3, max_transitions=4, max_knobs=1, methods=("halves",)))
def test_climbs_of_drawn_curricula(curriculum: Curriculum) -> None:
    """The earliest climb enters its last state as early as any, no stay of the latest one is later than any can be."""
    machine = bind(curriculum)
    entries = {entry.state: entry for entry in verify(machine).entries}
    for climb in climbs(machine):
        for name, entered, left in stays(climb):
            assert entered < left
            assert entries[name].earliest is not None
            assert entries[name].earliest <= entered <= (entries[name].latest or 0)  # type: ignore[operator]
        if climb.name == "earliest":
            hardest = [name for name, entry in entries.items() if entry.earliest is not None][-1]
            first = min(
                (entered for name, entered, _ in stays(climb) if name == hardest), default=climb.visits[-1].left
            )
            assert first == entries[hardest].earliest
        as_planned(machine, climb)


def in_tokens(most: str, run: dict[str, Any]) -> Curriculum:
    """Three batches, each kept until the loss is flat, or so long; the product of the batch decides the tokens."""
    states = [{"name": name, "set": {"batch": batch}} for name, batch in (("low", 1), ("mid", 2), ("high", 4))]
    ways = [{"from": "*", "to": "next", "guards": guards} for guards in ([FLAT], [{"dwell": most}])]
    return small({}, state=states, knob={"batch": {"ladder": [1, 2, 4]}}, transition=ways,
                 run={"tokens_per_step": [10, "batch"], "tokens": 1000, "clock": "tokens", **run})  # fmt: skip


@pytest.mark.parametrize(
    ("most", "run", "lasts"),
    [
        ("250 tokens", {}, 51),
        ("0.4 run", {}, 65),
        ("40 steps", {}, 70),
        ("0.4 run", {"epochs": 1, "steps_per_epoch": 62}, 62),
    ],
)
def test_climbs_of_a_run_in_tokens(most: str, run: dict[str, Any], lasts: int) -> None:
    """They end where the tokens do, or the epochs if those come first, and are planned as the Controller plans."""
    machine = bind(in_tokens(most, run))
    earliest, latest = climbs(machine)
    assert latest.visits[-1].left == lasts
    assert as_planned(machine, earliest)
    assert as_planned(machine, latest)


def test_planned_steps() -> None:
    """The first and the last step of each stay are among the planned ones, and about so many between them."""
    machine = bind(load(GOOD / "ramp.toml"))
    (climb,) = climbs(machine)
    steps = [plan.step for plan in planned(machine, climb, most=4)]
    assert steps == [0, 199, 200, 450, 700, 950, 999]
    assert [plan.step for plan in planned(machine, climb, most=10**6)] == list(range(1000))


def test_what_is_entered() -> None:
    """Who takes a transition on one step enters on that step, with the anchor of the rate there, or where it was."""
    machine = bind(small({"guards": [{"dwell": "7 steps"}], "actions": ["lr_restart"]}))
    reach = Reach(machine, explored=False)
    ((restarting,), _) = reach.ways_on(reach.nodes[0])
    node = _entered(reach, restarting, 7)
    assert (node.kind, node.zone) == (restarting.kind, Zone(7, 7, 7, 7, 0, 0, (7, 0), (7, 0)))
    assert node.by is restarting
    machine = bind(small({"guards": [{"dwell": "7 steps"}]}))
    reach = Reach(machine, explored=False)
    ((plain,), _) = reach.ways_on(reach.nodes[0])
    assert _entered(reach, plain, 27).zone == Zone(27, 27, 0, 0, 27, 27, (7, 0), (0, 0))
    machine = bind(small({"guards": [{"dwell": "7 steps"}]}, run={"epochs": 90, "steps_per_epoch": 1}))
    reach = Reach(machine, explored=False)
    ((plain,), _) = reach.ways_on(reach.nodes[0])
    assert _entered(reach, plain, 7).zone == Zone(7, 7, 0, 0, 7, 7, None, None)


def test_ramps_of_a_later_state() -> None:
    """A ramp is planned from the first step of its stay, whichever that is."""
    states = [
        {"name": "low", "set": {"cutoff": 1}},
        {"name": "high", "set": {"cutoff": 2}, "ramp": {"cutoff": {"to": 10, "over": "8 steps"}}},
    ]
    knob, run = {"cutoff": {"range": {"min": 1, "max": 10}}}, {"epochs": 2, "steps_per_epoch": 10}
    machine = bind(small({"guards": [{"dwell": "5 steps"}]}, state=states, knob=knob, run=run))
    (climb,) = climbs(machine)
    assert [plan.knobs["cutoff"] for plan in planned(machine, climb)] == [1] * 5 + [*range(2, 10)] + [10] * 7
