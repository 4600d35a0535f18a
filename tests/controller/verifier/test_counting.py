"""What a run takes, where its tokens only count: as tight as where nobody counts, and never too tight."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from plateau_rule import Binding, load, loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.errors import BindingWarning
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.verifier.counting import Counting
from plateau_rule.controller.verifier.metered import Meterings
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.zone_graph import Reach
from tests.properties.agreement import disagreements
from tests.properties.every_stream import EveryStream

ROUND = """
name = "round"
run = {{ epochs = 2, steps_per_epoch = 6{tokens} }}
lr = {{ peak = 1.0, shape = "constant" }}
knob.batch.ladder = [2, 3]
state = [{{ name = "a", set = {{ batch = 2 }} }}, {{ name = "b", set = {{ batch = 3 }} }}]
[[transition]]
from = "a"
to = "b"
guards = [{{ below = {{ value = 1.0 }} }}]
[[transition]]
from = "b"
to = "a"
guards = [{{ above = {{ value = 3.0 }} }}]
regress = true
"""


def clamped(seq_len: int, tokens: Any) -> Machine:
    """Two knobs with a retreat, in a trainer that can turn one of them so far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)
        limits = {"cutoff": 1025, "seq_len": seq_len}
        return bind(load(shipped()["two-knobs-with-retreat"]), Binding(limits, tokens_per_step=tokens))


def test_tokens_of_a_step_that_stay_the_same() -> None:
    """A run of 50,000 steps takes as many times the tokens of one, whatever way it goes through its states."""
    for tokens in (2048, (8, "seq_len")):
        (spent,) = verify(clamped(256, tokens)).spent
        assert (spent.clock, spent.least, spent.most) == ("tokens", 102_400_000, 102_400_000)


def test_tokens_that_grow() -> None:
    """Moments of the raises bound what is counted, nearer than the cheapest and the dearest step do."""
    report = verify(clamped(1024, (1, "seq_len")))
    (spent,) = report.spent
    assert spent.most is not None
    assert 256 * 50_000 < spent.least < spent.most < 1024 * 50_000
    assert [(e.earliest, e.latest) for e in report.entries] == [
        (e.earliest, e.latest) for e in verify(clamped(1024, 1)).entries
    ]


def test_a_meter_that_only_counts_is_not_explored() -> None:
    """Moments of entry are those of a file that counts nothing, also on a way around that has no end."""
    counts, nothing = (bind(loads(ROUND.format(tokens=t))) for t in (', tokens_per_step = [1, "batch"]', ""))
    assert Meterings.deciding(counts) is None
    assert [node.zone for node in Reach(counts).nodes] == [node.zone for node in Reach(nothing).nodes]
    reach = Reach(counts)
    assert all(Counting(counts, reach).at(node)[0].run[1] >= 2 * node.zone.entry_high for node in reach.nodes)


def test_every_stream_lies_within() -> None:
    """No loss stream takes fewer or more tokens than said; bounds that are too tight by one are noticed."""
    machine = bind(loads(ROUND.format(tokens=', tokens_per_step = [1, "batch"]')))
    report, found = verify(machine), EveryStream(machine).follow()
    assert disagreements(report, found) == []
    (spent,) = report.spent
    taken = found.spent["tokens"]
    assert spent.most is not None
    for wrong in (spent._replace(least=min(taken) + 1), spent._replace(most=max(taken) - 1)):
        assert disagreements(replace(report, spent=(wrong,)), found)


def test_epochs_that_the_trainer_closes_end_a_run_before_its_cost() -> None:
    """Where epochs and cost both end a run, an epoch may be closed before anything is spent."""
    text = """
    name = "small"
    run = { epochs = 1, cost = 4.0, clock = "cost" }
    lr = { peak = 1.0, shape = "constant" }
    knob.grid = { ladder = [1, 2], cost = [0.5, 1.5] }
    state = [{ name = "a", set = { grid = 2 } }]
    """
    (spent,) = verify(bind(loads(text))).spent
    assert (spent.least, spent.most) == (0.0, 4.5)
