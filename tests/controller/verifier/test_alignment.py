"""Shares of the peak around raises, to the step."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest

from plateau_rule import load
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.machine import Warmup
from plateau_rule.controller.verifier.alignment import Alignment, Jump
from plateau_rule.controller.verifier.budget import Budget
from plateau_rule.controller.verifier.explored import explore
from plateau_rule.controller.verifier.findings import Finding, Report, percent
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.witness import controller_of
from plateau_rule.controller.verifier.zone_graph import ANY_CYCLE, Kind, Reach
from plateau_rule.controller.verifier.zones import FAR
from tests.controller.small import crowded, small

ONE = Kind(0, (), 0, Warmup(), False)


def rates(*transitions: dict[str, Any], **tables: Any) -> Alignment:
    """The rates of a small machine."""
    return Alignment(bind(small(*transitions, **tables)), Budget())


def test_share() -> None:
    """The rate on a step is a share of the peak in force, with the state's own peak taken out."""
    found = rates(lr={"peak": 2.0, "shape": "linear", "length": "50 steps", "floor": 0.2})
    assert [found.shares.share(ONE, 0, step) for step in (0, 25, 50, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert [found.shares.share(ONE, 10, step) for step in (10, 35)] == pytest.approx([1.0, 0.6])
    warm = ONE._replace(warm=Warmup(4))
    assert [found.shares.share(warm, 10, step) for step in (10, 13, 14, 39)] == pytest.approx([0.2, 0.8, 1.0, 0.6])


def test_share_over_rest() -> None:
    """Over `rest` the length is what is left at the anchor."""
    found = rates(lr={"peak": 1.0, "shape": "cosine", "length": "rest"})
    assert found.shares.share(ONE, 60, 80) == pytest.approx(0.5)
    assert found.shares.share(ONE, 60, 70) == pytest.approx(0.5 * (1 + cos(pi / 4)))


def test_bounds() -> None:
    """Over a box of steps and anchors the bounds hold every share in it, and are exact in a corner."""
    found = rates(lr={"peak": 1.0, "shape": "linear", "cycles": ["20 steps", "30 steps", "rest"]}).shares
    assert found.bounds(ONE, (0, 19), (0, 5)) == pytest.approx((0.05, 1.0))
    assert found.bounds(ONE, (10, 25), (0, 0)) == pytest.approx((0.05, 1.0))
    warm = ONE._replace(warm=Warmup(4))
    assert found.bounds(warm, (1, 3), (0, 0)) == pytest.approx((0.4, 0.8))
    merged = ONE._replace(cycle=ANY_CYCLE)
    assert found.bounds(merged, (15, 15), (0, 0)) == pytest.approx((0.25, 0.85))


@pytest.mark.parametrize("shape", ["linear", "cosine", "wsd"])
@pytest.mark.parametrize("lengths", [{"length": "rest"}, {"length": "33 steps"}, {"cycles": ["7 steps", "rest"]}])
def test_bounds_hold_every_share(shape: str, lengths: dict[str, Any]) -> None:
    """Whatever the box, no share in it lies outside its bounds."""
    found = rates(lr={"peak": 1.0, "shape": shape, "floor": 0.1, "warmup": "3 steps", **lengths}).shares
    kind = ONE._replace(warm=Warmup(3))
    for first, last, early, late in ((0, 9, 0, 3), (4, 40, 10, 10), (2, 2, 5, 50), (6, 12, 70, 80)):
        low, high = found.bounds(kind, (first, last), (early, late))
        shares = [found.share(kind, anchor, anchor + since)
                  for anchor in range(early, late + 1) for since in range(first, last + 1)]  # fmt: skip
        assert low - 1e-12 <= min(shares)
        assert max(shares) <= high + 1e-12


def test_due() -> None:
    """How many steps after a raise the rate is asked for."""
    assert rates().due == 0
    assert rates(check={"align": {"within": "5 steps"}}).due == 4
    assert rates(check={"align": {"within": "31 steps", "steps": 20}}).judged == 30


def test_jump() -> None:
    """The knobs that a transition raises; what a ramp would have done by itself is no raise."""
    up = {"from": "low", "to": "mid", "guards": [{"dwell": "10 steps"}]}
    found = rates(up)
    (edge,) = Reach(found.machine).edges()
    assert found.jump(edge) == Jump({"cutoff": 1}, {"cutoff": 2}, ("cutoff",), FAR)
    assert found.jump(edge) is found.jump(edge)


@pytest.mark.parametrize(
    ("run", "align", "steps", "of_run"),
    [
        ({"epochs": 4, "steps_per_epoch": 66}, {}, 14, True),
        ({"epochs": 10, "steps_per_epoch": 100}, {}, 50, False),
        ({"epochs": 1, "steps_per_epoch": 981}, {}, 50, False),
        ({"epochs": 1, "steps_per_epoch": 1}, {}, 1, True),
        ({"epochs": 4, "steps_per_epoch": 66}, {"steps": 50}, 50, False),
        ({"epochs": 4}, {}, 50, False),
    ],
)
def test_for_how_long(run: dict[str, int], align: dict[str, Any], steps: int, of_run: bool) -> None:
    """The rate is to stay high for what the file says, else for 50 steps, or for 5 % of a run of fewer than 1,000."""
    asked = rates(run=run, check={"align": align}).align
    assert (asked.steps, asked.of_run) == (steps, of_run)


@pytest.mark.parametrize(
    ("steps", "align", "late"),
    [
        (264, {}, 56),
        (264, {"steps": 14}, 13),
        (1600, {}, 200),
        (1600, {"steps": 50}, 80),
        (50_000, {}, 2500),
        (1, {}, 0),
        (2, {}, 1),
    ],
)
def test_how_late_is_too_late(steps: int, align: dict[str, Any], late: int) -> None:
    """Over rest, a raise is not judged by how soon the run ends where that alone makes its rate fall."""
    asked = rates(run={"epochs": 1, "steps_per_epoch": steps}, check={"align": align}).align
    assert asked.late_steps == late


@pytest.mark.parametrize("run", [{"epochs": 12, "steps_per_epoch": 22}, {"epochs": 20, "steps_per_epoch": 80}])
def test_the_published_rule_is_sound_in_short_runs(run: dict[str, int]) -> None:
    """plateau.toml, whose last rate falls over rest, is sound however short the run; its last raises are noted."""
    binding = Binding({"cutoff": 1025}, epochs=run["epochs"], steps_per_epoch=run["steps_per_epoch"])
    report = verify(bind(load("plateau"), binding))
    assert not report.broken
    assert "late-raise" in {finding.code for finding in report.findings}
    assert "steps: their rate falls over the rest" in report.verdict("aligned").why


@pytest.mark.parametrize(
    ("align", "answer", "said"),
    [({}, "proved", "at 80 % or more for 14 steps, 5 % of the run"), ({"steps": 50}, "broken", "asked for 50 steps")],
)
def test_a_short_run_is_judged_by_its_length(align: dict[str, Any], answer: str, said: str) -> None:
    """In a run of 264 steps, epochs of a rate of their own are sound; asked for 50 steps, they are not."""
    up = {"from": "*", "to": "next", "at": "epoch", "actions": ["lr_restart"]}
    lr = {"peak": 1.0, "shape": "cosine", "floor": 0.1, "length": "1 epoch"}
    machine = rates(up, run={"epochs": 4, "steps_per_epoch": 66}, lr=lr, check={"align": align}).machine
    verdict = verify(machine).verdict("aligned")
    assert verdict.answer == answer
    assert verdict.why.endswith(said)


RAMP = [
    {"name": "low", "set": {"size": 10}, "ramp": {"size": {"to": 30, "over": "20 steps"}}},
    {"name": "mid", "set": {"size": 20}},
]


@pytest.mark.parametrize(
    ("guard", "before", "raised", "longest"),
    [
        ({"below": {"value": 1.0}}, 11, ("size",), 9),  # a raise only for those who leave before the ramp is there
        ({"dwell": "5 steps"}, 15, ("size",), FAR),
        ({"dwell": "10 steps"}, 20, (), FAR),
        ({"dwell": "15 steps"}, 25, (), FAR),
    ],
)
def test_jump_from_a_ramp(guard: dict[str, Any], before: int, raised: tuple[str, ...], longest: int) -> None:
    """A ramp is where it would have stood on the first step of the new state."""
    found = rates({"from": "low", "to": "mid", "guards": [guard]}, state=RAMP,
                  knob={"size": {"range": {"min": 10, "max": 40}}})  # fmt: skip
    edge = next(Reach(found.machine).edges())
    assert found.jump(edge) == Jump({"size": before}, {"size": 20}, raised, longest)


def test_a_ramp_that_has_passed_the_next_state() -> None:
    """Who stays until the ramp is there raises nothing, and the table of raises tells of the others alone."""
    found = rates({"from": "low", "to": "mid", "guards": [{"below": {"value": 1}}], "actions": ["lr_restart"]},
                  lr={"peak": 1.0, "shape": "linear", "cycles": ["15 steps", "rest"]}, state=RAMP,
                  knob={"size": {"range": {"min": 10, "max": 40}}})  # fmt: skip
    reach = Reach(found.machine)
    zones = [found.raising(reach, edge) for edge in reach.edges()]
    assert [zone and zone[:2] for zone in zones] == [(1, 9), None]
    (row,) = verify(found.machine).raises
    assert (row.knobs, row.after) == ({"size": (11, 20)}, (1.0, 1.0))
    assert row.before == pytest.approx((7 / 15, 1.0))


@pytest.mark.parametrize(
    ("align", "step", "share", "asked", "late"),
    [
        ({}, 40, 0.6, 0.95, False),
        ({"min": 0.6}, 0, 0.0, 0.0, False),
        ({"min": 0.6, "hold": 0.5, "steps": 50}, 51, 0.49, 0.5, True),
        ({"min": 0.6, "hold": 0.5, "steps": 10}, 0, 0.0, 0.0, False),
        ({"min": 0.6, "within": "2 steps", "hold": 0.1}, 41, 0.59, 0.6, False),
        ({"min": 0.1, "within": "12 steps", "hold": 0.5, "steps": 11}, 0, 0.0, 0.0, False),
    ],
)
def test_miss(align: dict[str, Any], step: int, share: float, asked: float, late: bool) -> None:
    """The first step on which the rate is lower than asked, and what was asked there."""
    if align.get("min") == 0.6 and "hold" not in align:
        align = {**align, "hold": 0.0}
    found = rates({"from": "low", "to": "mid", "guards": [{"min_step": 40}]}, check={"align": align})
    reach = Reach(found.machine)
    (edge,) = reach.edges()
    miss = next(found.misses(reach, edge), None)
    if not step:
        assert miss is None
        return
    assert miss is not None
    assert (miss.low.step, miss.low.asked, miss.low.late) == (step, asked, late)
    assert miss.low.share == pytest.approx(share)


def test_a_stay_that_ends_is_judged_no_longer() -> None:
    """The rate is asked for only as long as the new state can last, or the run."""
    first = {"from": "low", "to": "mid", "guards": [{"min_step": 3}]}
    held = {"align": {"min": 0.9, "hold": 0.9, "steps": 50}}
    short = {"from": "mid", "to": "high", "guards": [{"dwell": "7 steps"}], "actions": ["lr_restart"]}
    for transitions, step in (([first], 11), ([first, short], None)):
        found = rates(*transitions, check=held)
        reach = Reach(found.machine)
        edge = next(reach.edges())
        miss = next(found.misses(reach, edge), None)
        assert (miss and miss.low.step) == step


def lowest(report: Report) -> Finding:
    """The one raise into a low rate, seen to happen: its stream ends on a step with the rate that is told."""
    (finding,) = [one for one in report.findings if one.property == "aligned"]
    example = finding.counterexample
    assert finding.severity == "error"
    assert example is not None
    rows = list(example.rows(report.machine))
    assert rows
    controller = controller_of(report.machine)
    for row in rows:
        assert (row["step"], row["state"], row["lr"]) == (
            controller.plan.step,
            controller.plan.state,
            controller.plan.lr,
        )
        controller.observe(row["loss"])
    assert rows[-1]["step"] == example.step
    assert f"the rate is {percent(rows[-1]['lr'])} of the peak" in example.shows
    return finding


def test_lowest_between_remainders() -> None:
    """The rate restarts 3 or 4 steps into an epoch, and the cutoff rises when one closes: 17 steps later it is lowest.

    No raise lies 20, 21 or 22 steps after a restart, where the first cycle ends; the rate is high again after that.
    """
    states = [{"name": name, "set": {"cutoff": 1 + (name == "up")}} for name in ("wait", "rest", "again", "up")]
    early = [{"dwell": "3 steps"}, {"not": {"dwell": "5 steps"}}, {"below": {"value": 1.0}}]
    curriculum = small({"from": ["wait", "again"], "at": "epoch", "guards": [{"below": {"value": 1.0}}]},
                       {"from": "rest", "guards": early, "actions": ["lr_restart"]},
                       lr={"peak": 1.0, "shape": "linear", "cycles": ["22 steps", "1000 steps", "rest"]},
                       state=states, knob={"cutoff": {"ladder": [1, 2]}},
                       check={"align": {"min": 0.7, "hold": 0.0}})  # fmt: skip
    report = verify(bind(curriculum))
    finding = lowest(report)
    assert finding.sentence == (
        "cutoff rises from 1 to 2 while the rate is at 68.2 % of the peak, at other moments 22.7 %; 70 % is asked"
    )
    assert finding.counterexample is not None
    assert [visit.left for visit in finding.counterexample.visits] == [10, 13, 20, 21]
    (row,) = report.raises
    assert row.before == pytest.approx((6 / 22, 0.997))
    assert row.after == pytest.approx((5 / 22, 0.996))


def test_lowest_of_the_last_entries() -> None:
    """Over `rest`, a rate that restarts later falls faster: 6 steps after the last restart it is lowest.

    7 steps are the longest distance, and after the last restart, at 14 of 21 steps, the run is over by then.
    """
    states = [{"name": name, "set": {"cutoff": 1 + (name == "up")}} for name in ("wait", "rest", "up")]
    stay = [{"dwell": "5 steps"}, {"not": {"dwell": "8 steps"}}, {"below": {"value": 1.0}}]
    flat = {"from": "wait", "at": "epoch", "guards": [{"below": {"value": 1.0}}], "actions": ["lr_restart"]}
    curriculum = small(flat, {"from": "rest", "guards": stay}, run={"epochs": 3, "steps_per_epoch": 7}, state=states,
                       lr={"peak": 1.0, "shape": "linear", "length": "rest"},
                       knob={"cutoff": {"ladder": [1, 2]}})  # fmt: skip
    (row,) = verify(bind(curriculum)).raises
    assert row.after == pytest.approx((1 / 7, 9 / 14))


def test_after_many_transitions() -> None:
    """What happens only after eighty transitions is an error all the same, with the stream that brings it about."""
    round_and_round = {"from": "low", "to": "low", "guards": [{"dwell": "1 step"}], "at_most": 80}
    finding = lowest(verify(bind(small(round_and_round, {"from": "low", "guards": [{"dwell": "1 step"}]}))))
    assert finding.sentence == "cutoff rises from 1 to 2 while the rate is at 19 % of the peak; 95 % is asked"
    assert finding.counterexample is not None
    assert (finding.counterexample.step, len(finding.counterexample.visits)) == (81, 82)


def test_too_many_configurations() -> None:
    """Where the raise lies behind more configurations than are told apart, it is not decided."""
    report = verify(bind(crowded({"from": "s18", "guards": [{"below": {"value": 1.0}}]},
                                 lr={"peak": 1.0, "shape": "linear", "length": "20 steps"})))  # fmt: skip
    assert not report.exact
    (finding,) = [one for one in report.findings if one.property == "aligned"]
    assert (finding.severity, finding.counterexample) == ("undecided", None)
    assert finding.sentence.endswith("(there are too many configurations to tell)")
    assert report.verdict("aligned").answer == "not decided"
    assert report.raises == ()


def test_late_raises_are_noted() -> None:
    """What is low only in the last twentieth of the run, over `rest`, is a note, and broken where it is more."""
    for epochs, severity in ((497, "error"), (498, "note")):
        curriculum = small({"from": "low", "to": "mid", "guards": [{"below": {"value": 1}}], "actions": ["lr_restart"]},
                           lr={"peak": 1.0, "shape": "linear", "length": "rest"},
                           run={"epochs": epochs, "steps_per_epoch": 10})  # fmt: skip
        report = verify(bind(curriculum))
        (finding,) = [one for one in report.findings if one.property == "aligned"]
        assert finding.severity == severity
        assert report.verdict("aligned").answer == ("broken" if severity == "error" else "proved")


def test_the_next_state_is_judged_too() -> None:
    """A raise is judged on through states that neither raise, nor retreat, nor scale the rate."""
    on = {"from": "low", "to": "mid", "guards": [{"min_step": 40}], "actions": ["lr_restart"]}
    states = [{"name": "low", "set": {"cutoff": 1}}, {"name": "mid", "set": {"cutoff": 2}},
              {"name": "tail", "set": {"cutoff": 2}, "lr": {"length": "2 steps"}}]  # fmt: skip
    lr = {"peak": 1.0, "length": "1000 steps"}
    for extra, broken in (({}, True), ({"regress": True}, False), ({"actions": [{"lr_scale": 0.5}]}, False)):
        after = {"from": "mid", "to": "tail", "guards": [{"dwell": "5 steps"}], **extra}
        report = verify(bind(small(on, after, state=states, lr=lr, knob={"cutoff": {"ladder": [1, 2]}})))
        assert (report.verdict("aligned").answer == "broken") is broken


def test_fixed_epochs_by_length() -> None:
    """fixed-epochs.toml says from how many epochs on each of its raises meets a high rate: 11, all that it can have."""
    for epochs, codes in ((10, ["too-late"]), (11, []), (20, []), (80, [])):
        assert [finding.code for finding in verify(bind(load("fixed-epochs"), epochs=epochs)).findings] == codes
    assert "11 epochs or more" in " ".join(_comments())


def _comments() -> list[str]:
    from plateau_rule.controller.language.reading import shipped

    return shipped()["fixed-epochs"].read_text(encoding="utf-8").replace("\n# ", " ").splitlines()


def test_before_and_after() -> None:
    """The table of raises tells the rate on the last step before and on the first step after, for each transition."""
    machine = bind(load("misaligned"))
    found = [(one.transition.target, one.knobs, *one.before, *one.after) for one in verify(machine).raises]
    assert [one[:2] for one in found] == [
        ("words", {"cutoff": (128, 256)}), ("spelling", {"cutoff": (256, 512)}), ("full", {"cutoff": (512, "full")}),
    ]  # fmt: skip
    assert found[0][2:] == pytest.approx((0.68933, 0.68933, 0.68906, 0.68906), abs=1e-5)
    assert found[1][2:] == pytest.approx((0.1, 0.1, 1.0, 1.0), abs=1e-5)
    assert found[2][2:] == pytest.approx((0.97287, 0.97287, 0.97135, 0.97135), abs=1e-5)
    assert explore(machine).near is None
