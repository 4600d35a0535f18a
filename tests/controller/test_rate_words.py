"""What `[lr]` and `lr` of a state say of the rate, against formulas that are written down once more."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest

from plateau_rule import BindingError, Controller, CurriculumError, load, loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.verifier.findings import Report
from plateau_rule.controller.verifier.verify import verify
from tests.controller.small import small


def rates(curriculum: Curriculum, **binding: Any) -> list[float]:
    """The rate of every step of a run in which the loss is always the same."""
    controller, found = Controller(curriculum, **binding), []
    while controller.plan.stop is None:
        found.append(controller.plan.lr)
        controller.observe(1.0)
    return found


def alone(epochs: int = 100, **lr: Any) -> Curriculum:
    """One state without a knob, and this rate."""
    return Curriculum.model_validate(
        {"name": "alone", "run": {"epochs": epochs, "steps_per_epoch": 10}, "lr": lr, "state": [{"name": "all"}]}
    )


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_sgdr(factor: int) -> None:
    """Cycles that grow are those of Loshchilov and Hutter, as torch's CosineAnnealingWarmRestarts has them."""
    first, low, high = 10, 1e-5, 1e-3
    found = rates(alone(peak=high, floor=low / high, cycles={"first": "1 epoch", "factor": factor}))
    since, length = 0, first
    for step, rate in enumerate(found):
        if since == length:
            since, length = 0, length * factor
        assert rate == pytest.approx(low + (high - low) * (1 + cos(pi * since / length)) / 2, rel=1e-12), step
        since += 1
    assert len(found) == 1000


def test_peaks_that_shrink() -> None:
    """Each cycle begins at the peak of the one before it times the factor; the rate is never below the lowest."""
    found = rates(alone(peak=1.0, shape="linear", cycles={"first": "10 steps"}, peaks={"factor": 0.8}, lowest=0.01))
    expected = [max(0.01, 0.8 ** (step // 10) * (1 - step % 10 / 10)) for step in range(1000)]
    assert found == pytest.approx(expected, rel=1e-12)
    listed = rates(alone(epochs=2, peak=1.0, shape="constant", cycles=["5 steps", "rest"], peaks={"factor": 0.5}))
    assert listed == [1.0] * 5 + [0.5] * 15


@pytest.mark.parametrize("start", [0.0, 0.1, 1.0])
def test_warmup_from(start: float) -> None:
    """With a beginning, the i-th step of a warm-up has torch's and Transformers' share: f + (1 - f) * i / w."""
    found = rates(alone(epochs=3, peak=2e-4, shape="constant", warmup="20 steps", warmup_from=start))
    expected = [2e-4 * min(1.0, start + (1 - start) * step / 20) for step in range(30)]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine", "wsd"])
def test_rest_ends_with_the_run(shape: str) -> None:
    """A fall over the rest of the run has phase 1 on the step after the last one, also after a warm-up."""
    found = rates(alone(epochs=10, peak=1.0, shape=shape, warmup="20 steps", warmup_from=0.0, length="rest"))
    for step in range(20, 100):
        x = (step - 20) / 80
        share = {"linear": 1 - x, "cosine": (1 + cos(pi * x)) / 2, "wsd": min(1.0, (1 - x) / 0.2)}[shape]
        assert found[step] == pytest.approx(share, rel=1e-12)


def test_warmup_of_a_state() -> None:
    """A state's own warm-up comes when a restart enters it, and `check` measures from its end."""
    states = [{"name": "low", "set": {"cutoff": 1}},
              {"name": "mid", "set": {"cutoff": 2}, "lr": {"warmup": "4 steps", "warmup_from": 0.5}},
              {"name": "high", "set": {"cutoff": 8}}]  # fmt: skip
    up = {"from": "*", "to": "next", "guards": [{"dwell": "10 steps"}], "actions": ["lr_restart"]}
    curriculum = small(up, state=states, lr={"peak": 1.0, "shape": "constant", "warmup": "1 step"})
    assert rates(curriculum)[:16] == [0.5, *[1.0] * 9, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    report = verify(bind(curriculum))
    assert report.verdict("aligned").answer == "proved"
    assert [finding.code for finding in report.findings if finding.property == "aligned"] == ["measured-later"]
    falling = small(up, state=states, lr={"peak": 1.0, "shape": "linear", "length": "6 steps"})
    first = next(f for f in verify(bind(falling)).findings if "cutoff rises from 1 " in f.sentence)
    # High from the end of the warm-up on, the rate falls below 80 % two steps later, six after the raise.
    assert (first.code, first.counterexample and first.counterexample.step) == ("rate-falls", 16)


def test_multiplier_is_a_share_of_the_bound_peak() -> None:
    """`lr_multiplier` is the rate as a share of the run's peak, the bound one where the trainer has its own."""
    controller = Controller(load("half-rate-on-raise"), peak=4e-3)
    for _ in range(1000):
        plan = controller.plan
        assert plan.lr_multiplier == plan.lr / 4e-3
        controller.observe(1.0)


REFUSED = [
    ({"peak": 1.0, "lowest": 2.0}, "lowest-above-peak"),
    ({"peak": 1.0, "peaks": {"factor": 0.5}}, "key-without-effect"),
    ({"peak": 1.0, "warmup_from": 0.5}, "key-without-effect"),
    ({"peak": 1.0, "cycles": {"first": "rest"}}, "rest-here"),
    ({"peak": 1.0, "cycles": {"first": "0 steps"}}, "empty-amount"),
    ({"peak": 1.0, "length": "3 steps", "cycles": {"first": "9 steps"}}, "length-and-cycles"),
]


@pytest.mark.parametrize(("lr", "code"), REFUSED, ids=range(len(REFUSED)))
def test_what_has_no_meaning_is_refused(lr: dict[str, Any], code: str) -> None:
    """A rate that would have no effect, or no meaning, is refused with its code."""
    with pytest.raises(CurriculumError) as caught:
        alone(**lr)
    assert [fault.code for fault in caught.value.faults] == [code]


def test_keys_of_a_state_that_do_nothing_are_refused() -> None:
    """A warm-up of a state that no restart enters, and a beginning without a warm-up, are faults."""
    low, mid, high = [{"name": n, "set": {"cutoff": i}} for i, n in ((1, "low"), (2, "mid"), (8, "high"))]
    for lr in ({"warmup": "3 steps"}, {"warmup_from": 0.5}):
        with pytest.raises(CurriculumError, match="key-without-effect"):
            small({"from": "low", "to": "mid"}, state=[low, mid | {"lr": lr}, high])


def test_lowest_above_a_bound_peak_is_refused() -> None:
    """A trainer whose peak lies below the lowest rate of the file is told so."""
    with pytest.raises(BindingError, match=r"lowest 0\.01 above the peak 0\.001 that is bound"):
        bind(alone(peak=1.0, lowest=0.01), peak=1e-3)


def test_a_rate_that_an_edit_makes_jump_is_told() -> None:
    """Accepting an edit of shape, length, floor or peak in the middle of a run names both rates, and why one is low."""
    text = (
        'name = "c"\nrun = { epochs = 100, steps_per_epoch = 10 }\nlr = { peak = 1e-3, %s }\nstate = [{ name = "all" }]'
    )
    before = Controller(loads(text % 'shape = "constant"'))
    for _ in range(900):
        before.observe(1.0)

    def said(lr: str) -> tuple[str, ...]:
        after = Controller(loads(text % lr))
        notes = after.load_state_dict(before.state_dict(), on_change="accept")
        assert notes[0] == "the rate, the knobs or the order of the states was edited"
        return notes[1:]

    anew = ": the phase began at step 0; a transition with lr_restart starts it anew"
    assert said('shape = "cosine", length = "rest"') == (f"the rate was 0.001 and is 2.45e-05{anew}",)
    assert said('length = "95 epochs"') == (f"the rate was 0.001 and is 6.82e-06{anew}",)
    assert said('floor = 0.2, length = "90 epochs"') == (f"the rate was 0.001 and is 0.0002{anew}",)
    assert said('shape = "constant", warmup = "9 steps"') == ()
    halved = Controller(loads((text % 'shape = "constant"').replace("1e-3", "5e-4")))
    assert halved.load_state_dict(before.state_dict(), on_change="accept")[-1] == "the rate was 0.001 and is 0.0005"


def waived(waiver: Any) -> Report:
    """The report on a file in which two named transitions raise a knob into a low rate, under this waiver."""
    ways = [
        {"name": name, "from": old, "guards": [{"dwell": "20 steps"}]} for name, old in (("a", "low"), ("b", "mid"))
    ]
    lr = {"peak": 1.0, "length": "30 steps"}
    return verify(bind(small(*ways, lr=lr, check={"waive": {"aligned": waiver}})))


def test_a_waiver_for_one_transition() -> None:
    """A waiver that names a transition holds for what is found of that one; for all of them it waives the property."""
    one = waived({"a": "by design"})
    severities = [(f.path[1], f.severity, f.reason) for f in one.findings if f.property == "aligned"]
    assert severities == [(1, "error", None), (0, "waived", "by design")]
    assert one.verdict("aligned").stands
    both = waived({"a": "by design", "b": "too"})
    assert both.verdict("aligned").waived == "by design; too"
    assert waived("no").verdict("aligned").waived == "no"


def test_a_waiver_that_is_not_needed_is_told() -> None:
    """A transition that is waived, and of which nothing is found, is a note; a name that there is none of, a fault."""
    ways = [{"name": "a", "from": "low", "guards": [{"dwell": "20 steps"}], "actions": ["lr_restart"]}]
    flat = {"peak": 1.0, "shape": "constant"}
    report = verify(bind(small(*ways, lr=flat, check={"waive": {"aligned": {"a": "why"}}})))
    assert [(f.code, f.path) for f in report.findings if f.code == "idle-waiver"] == [
        ("idle-waiver", ("check", "waive", "aligned", "a"))
    ]
    with pytest.raises(CurriculumError, match=r'no transition "b"\. Known here: a\. \[unknown-transition\]'):
        small(*ways, check={"waive": {"aligned": {"b": "why"}}})


def kept_up(lowest: float, *more: dict[str, Any]) -> Report:
    """A raise without a restart where the shape is at half of the peak; the rate does not fall below `lowest`."""
    rate = {"peak": 1.0, "shape": "linear", "length": "100 steps", "lowest": lowest}
    ways = [{"from": "low", "to": "mid", "guards": [{"dwell": "50 steps"}]}, *more]
    return verify(bind(small(*ways, lr=rate)))


def test_a_rate_that_lowest_keeps_up_is_high() -> None:
    """What `lowest` keeps of the peak counts: the raise is aligned, and the table of raises shows the share."""
    report = kept_up(0.97)
    assert report.verdict("aligned").answer == "proved"
    assert [(one.before, one.after) for one in report.raises] == [((0.97, 0.97), (0.97, 0.97))]
    assert "misaligned" in [finding.code for finding in kept_up(0.9).findings]


def test_where_only_lowest_keeps_it_up_that_is_said() -> None:
    """Where the peak may have been scaled up, it is not proved; the reason is that of the moments that were tried."""
    growing = {
        "from": "mid",
        "to": "high",
        "guards": [{"dwell": "1 step"}],
        "actions": [{"lr_scale": 2.0}, "lr_restart"],
    }
    finding = next(f for f in kept_up(0.97, growing).findings if f.code == "misaligned")
    assert finding.severity == "undecided"
    assert "lowest keeps the rate up" in str(finding)
    assert "too many configurations" not in str(finding)
