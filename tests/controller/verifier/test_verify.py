"""Reports as a whole: their order, what is waived, what is merged, and what is told of states that keep a run."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from plateau_rule import load
from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.escape import _listed
from plateau_rule.controller.verifier.findings import Finding, Report, percent, visits_of
from plateau_rule.controller.verifier.trails import trail, trail_through
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.zone_graph import Reach
from tests.controller.small import crowded, small

FLAT = {"plateau": {"window": 4}}
RATE = {"peak": 1.0, "shape": "constant"}


def report(*transitions: dict[str, Any], **tables: Any) -> Report:
    """The report on a small curriculum of a constant rate."""
    return verify(bind(small(*transitions, **{"lr": RATE, **tables})))


def codes(found: Report) -> list[tuple[str, str]]:
    """The codes of findings, with their severities."""
    return [(finding.code, finding.severity) for finding in found.findings]


def test_order_of_findings() -> None:
    """Errors come first, then warnings, then what is waived, then notes."""
    found = report(
        {"from": "low", "to": "mid", "guards": [FLAT]}, {"from": "mid", "to": "low", "guards": [FLAT]},
        check={"waive": {"reach": "on purpose", "order": "nothing to waive"}},
    )  # fmt: skip
    assert codes(found) == [
        ("never-final", "error"), ("knob-falls", "error"), ("unbounded-cycle", "error"),
        ("unreachable", "waived"), ("unreachable", "waived"), ("idle-waiver", "note"),
    ]  # fmt: skip
    assert (found.broken, found.exit_code(), found.exit_code(strict=True)) == (True, 1, 1)
    assert report({"guards": [FLAT]}).exit_code() == 0
    assert report({"guards": [FLAT]}).exit_code(strict=True) == 3
    assert report({"guards": [{"dwell": "9 steps"}]}).exit_code(strict=True) == 0


def test_what_keeps_a_run() -> None:
    """What is to be done about a state that keeps the run depends on what keeps it there."""

    def way_out(*transitions: dict[str, Any]) -> str:
        (finding,) = [one for one in report(*transitions).findings if one.code == "may-stay"]
        return finding.suggestion

    timeout = 'To bound the stay, add a transition with a timeout: guards = [{ dwell = "0.3 run" }]'
    assert way_out({"guards": [FLAT]}) == f"A loss that keeps improving keeps it there. {timeout}"
    assert way_out({"at": "eval", "guards": []}) == f"Evaluations need not come. {timeout}"
    either = {"any": [FLAT, {"dwell": "9 steps"}]}  # the dwell decides, at whatever evaluation comes after it
    assert way_out({"at": "eval", "guards": [either]}) == f"Evaluations need not come. {timeout}"
    both = [either, {"below": {"value": 0.5}}]
    assert way_out({"guards": both}) == f"A loss that stays above 0.5 keeps it there. {timeout}"
    assert way_out({"guards": [{"nonfinite": 2}]}) == timeout
    assert way_out({"guards": [FLAT]}, {"guards": [{"dwell": "0.4 run"}]}) == (
        "The longest stays add up to more than the run: shorten their timeouts, or make the run longer"
    )


def test_may_stay_names_states() -> None:
    """The states that may keep the run are listed, as is the final one."""
    (finding,) = [one for one in report({"guards": [FLAT]}).findings if one.code == "may-stay"]
    assert finding.sentence == '"top" may never be entered: some losses keep the run in "low", "mid" or "high"'
    assert finding.counterexample is not None
    assert (finding.counterexample.step, finding.counterexample.happened) == (100, True)
    assert finding.counterexample.shows == 'the run is over, in state "low"'


# The rate restarts when s1 is entered and when s3 is. s2 is entered at the end of an epoch of two steps, so s3 in the
# first cycle at step 3 alone; the bounds on what can be there allow step 4, and no way leads to it.
WIDER = {
    "state": [{"name": f"s{i}", "set": {"cutoff": 2 - (i == 4)}} for i in range(5)],
    "knob": {"cutoff": {"ladder": [1, 2]}},
    "lr": {"peak": 1.0, "cycles": ["3 steps", "rest"]},
}
LOW = {"below": {"value": 1.0}}
ON = (
    {"from": ["s0", "s2"], "guards": [LOW], "actions": ["lr_restart"]},
    {"from": "s1", "at": "epoch", "guards": [LOW]},
)


def test_a_fall_that_only_bounds_allow() -> None:
    """A fall that no way leads to is passed over for one that happens."""
    found = report(*ON, {"from": "s3", "guards": [{"min_step": 5}, {"not": {"dwell": "2 steps"}}]},
                   run={"epochs": 3, "steps_per_epoch": 2}, **WIDER)  # fmt: skip
    first, second = [
        edge for edge in Reach(found.machine).edges() if found.machine.states[edge.kind.state].name == "s4"
    ]
    assert [edge.kind.cycle for edge in (first, second)] == [0, 1]
    assert first.zone == second.zone
    reach = Reach(found.machine)
    assert [trail_through(reach, edge, 5, None) for edge in (first, second)] == [None, [(0, 1), (0, 2), (0, 4), (0, 5)]]
    (finding,) = [one for one in found.findings if one.code == "knob-falls"]
    assert (finding.severity, finding.sentence) == (
        "error", 'cutoff falls from 2 to 1 between "s3" and "s4", and the transition is not marked',
    )  # fmt: skip
    assert finding.counterexample is not None
    assert finding.counterexample.happened
    assert [visit.left for visit in finding.counterexample.visits] == [1, 2, 4, 5]


def test_a_stay_that_only_bounds_allow() -> None:
    """A stay that no way leads to is passed over for one that happens."""
    out = [{"from": ["s0", "s1", "s2"], "to": "s4", "guards": [{"dwell": "2 steps"}]},
           {"from": "s3", "guards": [{"dwell": "4 steps"}]}]  # fmt: skip
    machine = bind(small(*ON, *out, run={"epochs": 4, "steps_per_epoch": 2}, **WIDER))
    reach = Reach(machine)
    lasting = [node for node in reach.nodes if node.stays and not node.kind.done]
    assert [(node.kind.cycle, node.lasts_from) for node in lasting] == [(0, 4), (1, 4)]
    assert [trail(reach, node, 4, None) for node in lasting] == [None, [(0, 1), (0, 2), (0, 4)]]
    (finding,) = [one for one in verify(machine).findings if one.code == "may-stay"]
    assert finding.sentence == '"s4" may never be entered: some losses keep the run in "s3"'
    assert finding.counterexample is not None
    assert finding.counterexample.happened
    assert [(visit.state.name, visit.left) for visit in finding.counterexample.visits] == [
        ("s0", 1), ("s1", 2), ("s2", 4), ("s3", 8),
    ]  # fmt: skip


def test_a_stay_begins_late_enough() -> None:
    """Where a timeout bounds a stay, the run is over in it only for who enters late: the trace does, and happens."""
    timeout = {"from": "*", "guards": [{"dwell": "40 steps"}]}
    machine = bind(small({"from": "low", "guards": [FLAT]}, timeout, lr=RATE))
    (finding,) = [one for one in verify(machine).findings if one.code == "may-stay"]
    assert finding.counterexample is not None
    assert finding.counterexample.happened
    assert [(visit.state.name, visit.left) for visit in finding.counterexample.visits] == [
        ("low", 20), ("mid", 60), ("high", 100),
    ]  # fmt: skip


def test_a_stay_that_is_not_known_exactly() -> None:
    """Where configurations are merged and none that is told apart can stay, it is not decided whether any does."""
    leave = {"from": [f"s{i}" for i in range(18)], "guards": [{"dwell": "3 steps"}]}
    found = verify(bind(crowded(leave, {"from": "s18", "guards": [LOW]}, lr=RATE)))
    (finding,) = [one for one in found.findings if one.code == "may-stay"]
    assert (finding.severity, finding.counterexample) == ("undecided", None)
    assert found.verdict("escape").answer == "not decided"


def test_listed() -> None:
    """More than seven names are counted."""
    assert _listed(["a"]) == '"a"'
    assert _listed(["a", "b"]) == '"a" and "b"'
    assert _listed("abcdefg", "or") == '"a", "b", "c", "d", "e", "f" or "g"'
    assert _listed("abcdefgh") == '"a", "b", "c", "d", "e", "f" and 2 others'


def test_without_a_run() -> None:
    """Without the run's length a state may keep the run without end, and nothing is too late."""
    found = report({"guards": [FLAT]}, run={})
    (finding,) = found.findings
    assert finding.code == "may-stay"
    assert finding.counterexample is not None
    assert finding.counterexample.shows == 'and so on, without end, in state "low"'
    assert [entry.latest for entry in found.entries] == [0, None, None, None]
    dead = report({"guards": [{"min_step": 9}, {"not": {"min_step": 5}}]}, run={})
    assert codes(dead)[0] == ("dead-end", "error")
    round_and_round = report({"from": "low", "to": "low", "guards": [FLAT], "at_most": 1}, run={})
    (trapped,) = [one for one in round_and_round.findings if one.code == "never-final"]
    assert trapped.sentence == 'no loss stream leads from "low" to "mid", "high" or "top"'


def test_merged_by_limits() -> None:
    """States that limits make equal are one, and a note says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = verify(bind(load("plateau"), {"cutoff": 300}))
    (note,) = [one for one in found.findings if one.code == "merged-states"]
    assert (note.severity, note.property, note.path, note.suggestion) == ("note", "names", ("knob",), "")
    assert note.sentence.startswith('state "full" equals "spelling" ')
    assert [entry.state for entry in found.entries] == ["syntax", "words", "spelling"]


@pytest.mark.parametrize(("left", "found"), [(5, []), (4, ["little-left"])])
def test_little_left(left: int, found: list[str]) -> None:
    """The last state should have a twentieth of the run."""
    assert [code for code, _ in codes(report({"from": "low", "to": "top", "guards": [{"min_step": 100 - left}]}))
            if code == "little-left"] == found  # fmt: skip


def test_a_raise_into_a_stopping_state() -> None:
    """In a state that stops the training no step is taken: the rate there is nobody's concern."""
    states = [{"name": "low", "set": {"cutoff": 1}}, {"name": "top", "set": {"cutoff": 8}, "stop": "done"}]
    found = report({"guards": [{"min_step": 60}]}, state=states, lr={"peak": 1.0, "length": "50 steps"})
    assert ("misaligned", "error") not in codes(found)
    assert found.raises == ()


def test_finding_in_words() -> None:
    """A finding without a place is a sentence with its code; one that is not decided says why."""
    finding = Finding("some-code", "reach", "error", ("state", 0), "it is so", "Change it")
    assert str(finding) == "error: it is so. Change it [some-code]"
    assert str(finding.undecided("perhaps")) == "not decided: it is so (perhaps). Change it [some-code]"
    assert str(Finding("some-code", "reach", "note", (), "it is so")) == "note: it is so. [some-code]"


def test_percent() -> None:
    """Shares are told with three digits."""
    assert [percent(share) for share in (1.0, 0.12345, 0.0)] == ["100 %", "12.3 %", "0 %"]


def test_visits() -> None:
    """A trail becomes stays; the last one goes up to the step that is wanted, if that lies behind its entry."""
    machine = bind(small({"guards": [FLAT]}, lr=RATE))
    found = visits_of(machine, [(0, 4), (0, 9)], 12)
    assert [(v.state.name, v.entered, v.left, v.place) for v in found] == [
        ("low", 0, 4, 0), ("mid", 4, 9, 0), ("high", 9, 12, None),
    ]  # fmt: skip
    assert len(visits_of(machine, [(0, 4)], 4)) == 1
    assert visits_of(machine, [], 0) == ()
