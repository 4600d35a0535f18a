"""Tokens and cost, counted by the knobs in force: exact sums, waits, ramps, phases, the end of a run, and resuming."""

from __future__ import annotations

import json
from fractions import Fraction
from math import cos, pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import BindingError, Controller, RegressionError, SnapshotError, loads
from plateau_rule.controller.tally import StayTally
from plateau_rule.controller.verifier.verify import verify

RAMPED = """
name = "ramped"
[run]
tokens_per_step = [8, "batch_size", "seq_len"]
[lr]
peak = 1.0
shape = "constant"
[knob.batch_size]
range = { min = 1, max = 512, multiple_of = 1 }
[knob.seq_len]
ladder = [16, 64, 128]
order = "none"
[[state]]
name = "short"
set = { batch_size = 1, seq_len = 128 }
ramp = { batch_size = { to = 500, over = "2000000000 tokens" }, seq_len = { to = 128, over = "9 steps" } }
[[state]]
name = "long"
set = { batch_size = 500, seq_len = 16 }
ramp = { batch_size = { to = 512, over = "300000 steps", shape = "root" } }
[[transition]]
from = "short"
to = "long"
guards = [{ min_step = 400000 }]
"""


def tokens_of(plan: Any) -> int:
    """The tokens of a step."""
    return 8 * int(plan.knobs["batch_size"]) * int(plan.knobs["seq_len"])


@pytest.mark.slow
def test_a_million_steps_with_ramps_count_every_token() -> None:
    """Over 1,000,000 steps with two ramps, one of them measured in tokens, there is no token of error at any step."""
    controller, counted, wrong = Controller(loads(RAMPED)), 0, 0
    for step in range(1_000_000):
        plan = controller.plan
        if step % 997 == 0 or plan.state == "short":
            wrong += controller.counted["tokens"] != counted
        counted += tokens_of(plan)
        controller.observe(1.0)
    assert wrong == 0
    assert controller.counted == {"tokens": counted}


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=6),
    st.integers(0, 300),
    st.integers(0, 3000),
)
def test_a_tally_is_the_sum_of_its_steps(stretches: list[tuple[int, int]], time: int, count: int) -> None:
    """What is counted up to a time is the sum over its steps, and the steps for a count are the first that reach it."""
    prices = [price for steps, price in stretches for _ in range(steps)]
    starts = [sum(steps for steps, _ in stretches[:place]) for place in range(len(stretches))]

    def values(at: int, _: tuple[int, ...]) -> tuple[int, ...]:
        return (max(place for place, start in enumerate(starts) if start <= at),)

    tally = StayTally(1, values, lambda of: (stretches[of[0]][1],), lambda at, _: at >= starts[-1])
    endless = [*prices, *[stretches[-1][1]] * 4000]
    assert tally.at(0, time) == sum(endless[:time])
    assert tally.steps(0, count) == next(n for n in range(4000) if sum(endless[:n]) >= count)


WSD = """
name = "wsd"
[run]
{run}
[lr]
peak = 1.0
shape = "wsd"
decay = 0.2
length = "4e6 tokens"
[knob.batch_size]
ladder = [1, 2, 4, 8]
[guard.flat]
plateau = {{ window = 20, threshold = 0.005 }}
[[state]]
name = "b1"
set = {{ batch_size = 1 }}
[[state]]
name = "b2"
set = {{ batch_size = 2 }}
[[state]]
name = "b4"
set = {{ batch_size = 4 }}
[[state]]
name = "b8"
set = {{ batch_size = 8 }}
[[transition]]
from = "*"
to = "next"
guards = [{{ dwell = "30 steps" }}, "flat"]
[[transition]]
from = "*"
to = "next"
guards = [{{ dwell = "800000 tokens" }}]
[check]
align = {{ steps = 10 }}
"""
CONSTANT = "tokens_per_step = 4096\nepochs = 1\nsteps_per_epoch = 700"
PRODUCT = 'tokens_per_step = [4096, "batch_size"]\ntokens = 4e6'


def test_the_decay_of_wsd_under_a_batch_that_grows() -> None:
    """With 4,096 tokens a step the decay never comes, and `check` says so; with the product it does, for every loss."""
    constant = verify(Controller(loads(WSD.format(run=CONSTANT))).machine)
    assert [(f.code, f.severity) for f in constant.findings] == [("decay-unfinished", "error")]
    assert constant.broken
    product = verify(Controller(loads(WSD.format(run=PRODUCT))).machine)
    assert product.findings == ()
    assert not product.open
    assert [(s.clock, s.least, s.most) for s in product.spent] == [("tokens", 4_000_000, 4_032_767)]


@pytest.mark.parametrize(("shape", "at_the_end"), [("cosine", "18.6 %"), ("linear", "28.4 %")])
def test_a_fall_under_a_batch_that_grows(shape: str, at_the_end: str) -> None:
    """A fall that a run ends before is said: by a note, and by a warning where less than half of it is over."""
    text = WSD.replace('shape = "wsd"', f'shape = "{shape}"').replace("decay = 0.2\n", "")
    text += 'waive = {{ aligned = "one fall over all batches" }}\n'

    def said(run: str) -> list[tuple[str, str]]:
        found = verify(Controller(loads(text.format(run=run))).machine).findings
        return [(one.severity, one.sentence) for one in found if one.code == "decay-unfinished"]

    [(severity, sentence)] = said(CONSTANT)
    assert severity == "note"
    assert "at most 71.6 % of the rate's length of 4000000 tokens are over" in sentence
    assert f"still at {at_the_end} of the peak or more" in sentence
    assert [severity for severity, _ in said(CONSTANT.replace("700", "300"))] == ["warning"]
    assert said(PRODUCT) == []


@pytest.mark.parametrize(("loss", "fewest"), [(1.0, True), (2.0, False)])
def test_the_rate_ends_with_the_tokens(loss: float, fewest: bool) -> None:
    """However long each batch is kept, the rate falls from 80 % of the tokens on, and has fallen when they are over."""
    controller, seen = Controller(loads(WSD.format(run=PRODUCT))), []
    while controller.plan.stop is None:
        plan = controller.plan
        seen.append((controller.counted["tokens"], plan.lr))
        controller.observe(loss if fewest else loss * 0.9**plan.step)
    assert controller.plan.stop == "the run of 4000000 tokens is over"
    assert controller.plan.lr == 0.0
    for counted, lr in seen:
        assert lr == (1.0 if counted <= 3_200_000 else (1.0 - counted / 4_000_000) / 0.2)
    assert sum(counted < 4_000_000 for counted, _ in seen) == len(seen)


def test_a_run_that_needs_not_get_done_is_not_decided() -> None:
    """Where the run ends by steps and the decay by tokens, whether it gets done depends on the losses: not decided."""
    run = 'tokens_per_step = [4096, "batch_size"]\nepochs = 1\nsteps_per_epoch = 380'
    report = verify(Controller(loads(WSD.format(run=run))).machine)
    assert [(f.code, f.severity) for f in report.findings] == [("decay-unfinished", "undecided")]


@pytest.mark.parametrize("better", [1.0, 0.995, 0.9])
def test_what_is_left_of_a_run_in_tokens(better: float) -> None:
    """On entering each state, no more and no less of the tokens is left than `check` says."""
    controller = Controller(loads(WSD.format(run=PRODUCT)))
    left = verify(controller.machine).left
    assert left["b1"] == (1.0, 1.0)
    assert left["b2"] == (1.0 - 802_816 / 4_000_000, 1.0 - 30 * 4096 / 4_000_000)
    while controller.plan.stop is None:
        if (decision := controller.observe(better**controller.plan.step)) is not None:
            least, most = left[decision.to_state]
            assert least <= 1.0 - controller.counted["tokens"] / 4_000_000 <= most
    assert controller.plan.state == "b8"


@pytest.mark.parametrize(("share", "codes"), [("0.94 run", []), ("0.96 run", ["little-left"])])
def test_little_left_of_a_run_in_cost(share: str, codes: list[str]) -> None:
    """A last state should have a twentieth of the cost, as it should have of the steps where they are the clock."""
    text = (
        GRID.replace("0.28 run", share)
        .replace("epochs = 100\nsteps_per_epoch = 10\n", "")
        .replace("= 10\n", "= 1000\n")
    )
    report = verify(Controller(loads(text)).machine)
    assert [finding.code for finding in report.findings if finding.property == "timing"] == codes


GRID = """
name = "grid"
[run]
cost = 10
clock = "cost"
epochs = 100
steps_per_epoch = 10
[lr]
peak = 1.0
shape = "linear"
[knob.grid]
ladder = [16, 32, "full"]
cost = [0.28, 0.6, 1.0]
[[state]]
name = "coarse"
set = { grid = 16 }
[[state]]
name = "fine"
set = { grid = "full" }
[[transition]]
from = "coarse"
to = "fine"
guards = [{ dwell = "0.28 run" }]
"""


def test_cost_is_counted_in_millionths() -> None:
    """Ten steps of 0.28 cost 2.8, to the millionth; the rate falls with what is spent, and the run ends with it."""
    controller, rates, spent = Controller(loads(GRID), {"grid": 64}), [], Fraction(0)
    while controller.plan.stop is None:
        plan = controller.plan
        assert controller.counted == {"cost": float(spent)}
        assert plan.lr == 1.0 - float(spent / 10)
        rates.append((plan.state, plan.lr))
        spent += Fraction("0.28") if plan.state == "coarse" else 1
        controller.observe(1.0)
    assert [state for state, _ in rates] == ["coarse"] * 10 + ["fine"] * 8
    assert controller.plan.stop == "the run of 10 cost is over"


@pytest.mark.parametrize("shape", ["cosine", "linear", "wsd"])
def test_the_rate_s_trace_is_its_formula_of_the_cost(shape: str) -> None:
    """On every step the rate is its shape's formula of the share of the cost that is spent, to 1e-12."""
    text = GRID.replace('shape = "linear"', f'shape = "{shape}"\nfloor = 0.1').replace("cost = 10", "cost = 100", 1)
    controller, spent = Controller(loads(text), {"grid": 64}), Fraction(0)
    while controller.plan.stop is None:
        share = float(spent / 100)
        falls = {"cosine": (1 + cos(pi * share)) / 2, "linear": 1 - share, "wsd": min(1.0, (1 - share) / 0.2)}
        assert controller.plan.lr == pytest.approx(0.1 + 0.9 * falls[shape], abs=1e-12)
        spent += Fraction("0.28") if controller.plan.state == "coarse" else 1
        controller.observe(1.0)


@pytest.mark.parametrize("shape", ["wsd", "cosine", "linear"])
def test_a_decay_beyond_the_budget_is_refused(shape: str) -> None:
    """A rate that can't reach its floor within the cost is an error, whatever the losses are; one that can is not."""
    for length, code in (("20 cost", 1), ("13 cost", 1), ("10 cost", 0)):
        text = GRID.replace('shape = "linear"', f'shape = "{shape}"\nlength = "{length}"')
        report = verify(Controller(loads(text), {"grid": 64}).machine)
        unfinished = [one for one in report.findings if one.code == "decay-unfinished" and one.severity == "error"]
        assert len(unfinished) == code


def test_a_limit_takes_the_price_of_the_easiest_rung_that_it_makes_equal() -> None:
    """A trainer whose largest grid is 32 has two rungs of it: the price is that of the one written 32."""
    controller = Controller(loads(GRID), {"grid": 32})
    for _ in range(11):
        controller.observe(1.0)
    assert controller.plan.knobs == {"grid": 32}
    assert controller.counted == {"cost": 3.4}


def test_a_resumed_run_goes_on_counting() -> None:
    """A run that is saved and resumed after every step has the counts, the rate and the end of one that is not."""
    text = WSD.format(run=PRODUCT)
    uncut, cut = (Controller(loads(text)) for _ in range(2))
    while uncut.plan.stop is None:
        following = Controller(loads(text))
        following.load_state_dict(json.loads(json.dumps(cut.state_dict())))
        cut = following
        assert (cut.plan, cut.counted) == (uncut.plan, uncut.counted)
        for controller in (cut, uncut):
            controller.observe(1.0)
    assert cut.plan == uncut.plan


def test_a_longer_run_is_no_edit_and_a_shorter_one_is_refused() -> None:
    """More tokens are taken up as more epochs are; a run that would be over by them already is refused."""
    controller = Controller(loads(WSD.format(run=PRODUCT)))
    for _ in range(60):
        controller.observe(1.0)
    saved = controller.state_dict()
    longer = Controller(loads(WSD.format(run=PRODUCT.replace("4e6", "5e6"))))
    (note,) = longer.load_state_dict(saved)
    assert note.startswith("the run was 4000000 tokens long, and is 5000000: what has begun keeps its length")
    assert longer.counted == controller.counted
    shorter = Controller(loads(WSD.format(run=PRODUCT.replace("4e6", "3e5"))))
    with pytest.raises(SnapshotError, match="over by what the checkpoint has counted, at step 60"):
        shorter.load_state_dict(saved)


def test_what_was_not_counted_is_not_made_up() -> None:
    """A checkpoint of a run that counted no tokens is refused by a curriculum that does; `adopt` is told how many."""
    before = Controller(loads(WSD.format(run=CONSTANT)))
    before.observe(1.0)
    after = Controller(loads(WSD.format(run=PRODUCT)))
    with pytest.raises(SnapshotError, match="the checkpoint has counted no tokens, which this curriculum does"):
        after.load_state_dict(before.state_dict(), on_change="accept")
    with pytest.raises(SnapshotError, match="give adopt tokens=NUMBER"):
        after.adopt(step=10, knobs={"batch_size": 2})
    after.adopt(step=10, knobs={"batch_size": 2}, tokens=60_000)
    assert (after.plan.state, after.counted) == ("b2", {"tokens": 60_000})
    after.observe(1.0)
    assert after.counted == {"tokens": 60_000 + 2 * 4096}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('ladder = [16, 32, "full"]', 'ladder = [16, 32, "full"]\norder = "up"', None),
        ("epochs = 100\n", 'tokens_per_step = [2, "grid"]\nepochs = 100\n', 'a clock counts "grid", and full is no'),
        ("peak = 1.0", 'peak = 1.0\ncycles = ["0.5 run", "rest"]', 'how many steps "0.5 run" is depends on the knobs'),
    ],
)
def test_what_a_clock_needs(old: str, new: str, sentence: str | None) -> None:
    """A count needs to know every value, and cycles are times: else the curriculum is refused where it is bound."""
    curriculum = loads(GRID.replace(old, new))
    if sentence is None:
        assert Controller(curriculum).total_steps == 1000
        return
    with pytest.raises(BindingError, match=sentence):
        Controller(curriculum)


def test_regress_is_as_ever() -> None:
    """Counting changes nothing about floors: a resume into an easier state is refused."""
    controller = Controller(loads(WSD.format(run=PRODUCT)))
    while controller.plan.state != "b4":
        controller.observe(1.0)
    text = WSD.format(run=PRODUCT)
    edited = loads(text.replace('name = "b4"\nset = { batch_size = 4 }', 'name = "b4"\nset = { batch_size = 2 }'))
    with pytest.raises(RegressionError):
        Controller(edited).load_state_dict(controller.state_dict(), on_change="accept")
