"""Knobs whose values are names, lists of numbers or tables of numbers."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from plateau_rule import Controller, Curriculum, CurriculumError, RegressionError, SnapshotError, dumps, loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.edit.difference import as_dict, difference
from plateau_rule.controller.errors import BindingError
from plateau_rule.controller.language.writing import formatted
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.sim.batch import Batch
from plateau_rule.sim.testing.scenario import ScenarioError, read, run

MIXES = '''
name = "mixes"
run  = { epochs = 5, steps_per_epoch = 10 }
lr   = { peak = 1.0, shape = "constant" }
knob.source = { ladder = ["web", "web-and-code", "all"] }
knob.mix    = { order = "none" }
knob.betas  = { ladder = [[0.9, 0.9], [0.9, 0.99]] }

[[state]]
name = "a"
set  = { source = "web", mix = { web = 1.0, "c4/en" = 0 }, betas = [0.9, 0.9] }

[[state]]
name = "b"
set  = { source = "all", mix = { web = 0.7, "c4/en" = 0.3 }, betas = [0.9, 0.99] }

[[transition]]
from    = "a"
to      = "b"
guards  = [{ dwell = "10 steps" }]
actions = ["lr_restart"]
'''  # fmt: skip
A = {"source": "web", "mix": {"web": 1.0, "c4/en": 0}, "betas": (0.9, 0.9)}
B = {"source": "all", "mix": {"web": 0.7, "c4/en": 0.3}, "betas": (0.9, 0.99)}


def edited(**new: Any) -> Curriculum:
    """The same with other values in its second state."""
    written = loads(MIXES).model_dump(by_alias=True, exclude_unset=True)
    written["state"][1]["set"] |= new
    return Curriculum.model_validate(written)


def at_step(step: int, curriculum: Curriculum | None = None) -> Controller:
    """A controller that has observed so many steps."""
    controller = Controller(curriculum or loads(MIXES))
    for _ in range(step):
        controller.observe(1.0)
    return controller


def test_values_are_planned_as_written() -> None:
    """A plan holds the names, lists and tables of its state; what climbs a ladder is a raise, a mixture is none."""
    controller = at_step(9)
    assert controller.plan.knobs == A
    decision = controller.observe(1.0)
    assert decision is not None
    assert decision.raises == ("source", "betas")
    assert controller.plan.knobs == B
    assert controller.plan.knobs["mix"]["c4/en"] == 0.3


def test_values_cannot_be_changed() -> None:
    """A list is a tuple, a table refuses changes and has a hash; both can be copied, pickled and written as JSON."""
    knobs = at_step(0).plan.knobs
    with pytest.raises(TypeError, match="read-only"):
        knobs["mix"]["web"] = 0.1
    assert hash(knobs["mix"]) == hash(type(knobs["mix"])({"c4/en": 0, "web": 1}))
    assert isinstance(knobs["betas"], tuple)
    for again in (copy.deepcopy(knobs), pickle.loads(pickle.dumps(knobs))):  # noqa: S301  # our own
        assert again == knobs
        assert type(again["mix"]) is type(knobs["mix"])
    assert json.loads(json.dumps(dict(knobs)))["betas"] == [0.9, 0.9]
    assert f"{knobs['mix']} {knobs['betas']}" == '{ web = 1.0, "c4/en" = 0 } [0.9, 0.9]'


def test_a_file_keeps_them() -> None:
    """They are written as they are read; the order of a table's keys and 1 for 1.0 make no other curriculum."""
    curriculum = loads(MIXES)
    assert loads(dumps(curriculum)) == curriculum
    assert loads(formatted(MIXES)) == curriculum
    assert '"c4/en" = 0.3' in formatted(MIXES)
    other = loads(MIXES.replace('{ web = 1.0, "c4/en" = 0 }', '{ "c4/en" = 0.0, web = 1 }'))
    assert bind(other).fingerprint == bind(curriculum).fingerprint
    assert bind(edited(mix={"web": 0.6, "c4/en": 0.4})).fingerprint != bind(curriculum).fingerprint


def test_a_run_is_resumed() -> None:
    """What is saved goes through JSON and back, in either state; the knobs of the state are the floor on the ladder."""
    saved: dict[str, Any] = {}
    for step in (3, 13):
        controller = at_step(step)
        saved = json.loads(json.dumps(controller.state_dict()))
        again = Controller(loads(MIXES))
        again.load_state_dict(saved)
        assert again.plan == controller.plan
        assert again.state_dict() == controller.state_dict()
    assert saved["floors"] == {"source": "all", "betas": [0.9, 0.99]}


def test_no_resume_goes_down_the_ladder() -> None:
    """An edit that gives a running state an easier name is refused; another mixture is taken up."""
    saved = at_step(13).state_dict()
    with pytest.raises(RegressionError, match="sets source = web-and-code, and the run was already at all"):
        Controller(edited(source="web-and-code")).load_state_dict(saved, on_change="accept")
    mixed = Controller(edited(mix={"web": 0, "c4/en": 1}))
    mixed.load_state_dict(saved, on_change="accept")
    assert mixed.plan.knobs["mix"] == {"web": 0, "c4/en": 1}


def test_adoption() -> None:
    """A run whose values are known enters the first state that is as hard; a name of no ladder is refused by name."""
    controller = Controller(loads(MIXES))
    controller.adopt(step=20, knobs={"source": "web-and-code", "betas": [0.9, 0.9], "mix": {"web": 1, "c4/en": 0}})
    assert controller.plan.state == "b"
    with pytest.raises(SnapshotError, match='source is \'code\'; expected one of "web", "web-and-code", "all"'):
        Controller(loads(MIXES)).adopt(step=20, knobs={"source": "code"})
    with pytest.raises(SnapshotError, match=r"betas is \[0.5\]; expected one of \[0.9, 0.9\], \[0.9, 0.99\]"):
        Controller(loads(MIXES)).adopt(step=20, knobs={"betas": [0.5]})


def test_check_knows_their_order() -> None:
    """A raise by name is proved aligned; one that goes back down the ladder falls, and a mixture never does."""
    report = verify(bind(loads(MIXES)))
    assert [report.verdict(name).answer for name in ("monotone", "aligned")] == ["proved", "proved"]
    (raised,) = report.raises
    assert raised.knobs == {"source": ("web", "all"), "betas": ((0.9, 0.9), (0.9, 0.99))}
    back = MIXES.replace('set  = { source = "web"', 'set  = { source = "web-and-code"').replace(
        '"all", mix', '"web", mix'
    )
    finding = next(f for f in verify(bind(loads(back))).findings if f.code == "knob-falls")
    assert finding.sentence.startswith("source falls from web-and-code to web")


def test_the_batch_counts_places() -> None:
    """The batch engine gives the place on the ladder, or in the file, and takes the same transitions."""
    batch = Batch(loads(MIXES), 2)
    for _ in range(10):
        batch.observe([1.0, 2.0])
    assert {name: batch.knob(name).tolist() for name in A} == {"source": [2, 2], "mix": [1, 1], "betas": [1, 1]}


def test_limits_are_none() -> None:
    """A trainer that can turn such a knob gives it no limit; a number is refused, and so is no limit where full is."""
    limits = {"source": None, "mix": None, "betas": None}
    assert Controller(loads(MIXES), limits).plan.knobs == A
    with pytest.raises(BindingError, match="the limit 3 for a knob of names; expected none"):
        bind(loads(MIXES), limits | {"source": 3})
    with pytest.raises(BindingError, match='this trainer cannot turn the knob "mix"'):
        bind(loads(MIXES), {"source": None, "betas": None})
    text = MIXES.replace('["web", "web-and-code", "all"]', '[1, "full"]').replace('"web",', "1,")
    full = loads(text.replace('"all",', '"full",'))
    with pytest.raises(BindingError, match='"full", and this trainer has no largest value of "source"'):
        bind(full, limits)


def test_a_diff_tells_them() -> None:
    """An edit of a mixture is an edit; the raise by name is told with both names, in words and as data."""
    found = difference(
        bind(loads(MIXES)), bind(edited(source="web-and-code", mix={"web": 0.5, "c4/en": 0.5})), budget=1e4
    )
    assert 'state "b", set.mix.web' in [edit.what for edit in found.edited]
    assert "source web to web-and-code, betas [0.9, 0.9] to [0.9, 0.99], rate at" in str(found.rates[0].new)
    json.dumps(as_dict(found, "old", "new"))


def test_a_scenario_expects_them(tmp_path: Path) -> None:
    """A scenario may ask for a name, a list or a table; one that no ladder has is a mistake in it."""
    (tmp_path / "mixes.toml").write_text(MIXES)
    scenario = tmp_path / "mixes.test.toml"
    text = 'curriculum = "mixes.toml"\n[[scenario]]\nname = "climbs"\nlosses = ["flat 1.0 for 20 steps"]\n'
    text += 'expect = [{{ at = "15 steps", {} }}]\n'
    for asked, failures in (('source = "all", mix = { web = 0.7, "c4/en" = 0.3 }', 0), ("betas = [0.9, 0.9]", 1)):
        scenario.write_text(text.format(asked))
        suite = read(scenario)
        assert len(run(suite, suite.file.scenario[0]).failures) == failures
    scenario.write_text(text.format('source = "code"'))
    suite = read(scenario)
    with pytest.raises(ScenarioError, match="source is 'code'; expected one of"):
        run(suite, suite.file.scenario[0])


WRONG = {
    'ladder = ["web", "web-and-code", "full"]': ['"full" among names; expected names alone'],
    'ladder = ["web", "web-and-code", 3]': ["a number among names; expected values of one kind"],
    'ladder = ["web", "Web", "all"]': ['the value "Web" beside "web"; expected names that differ'],
    'order = "down", ladder = ["web", "web-and-code", "all"]': ['order = "down" beside a ladder of names; expected'],
    'ladder = ["web", "al"]': ['source = "all"; expected one of "web", "al". Did you mean "al"?'],
    'order = "none"': ['source = "web", and no ladder lists its names; expected [knob.source] ladder', "source = "],
}  # fmt: skip


@pytest.mark.parametrize("knob", WRONG)
def test_ladders_of_names_are_read_strictly(knob: str) -> None:
    """A ladder of names holds names alone, that differ, in the order of the list, and each that a state has."""
    with pytest.raises(CurriculumError) as caught:
        loads(MIXES.replace('ladder = ["web", "web-and-code", "all"]', knob))
    found = [fault.sentence for fault in caught.value.faults]
    assert len(found) == len(WRONG[knob])
    assert all(one.startswith(asked) for one, asked in zip(found, WRONG[knob], strict=True))


ODD = {
    '"c4/en" = 0.3': ('"c4/n" = 0.3', 'no key "c4/n". All tables of a knob have the same keys. Did you mean "c4/en"?'),
    ', "c4/en" = 0.3': ("", 'a table without "c4/en"; expected the keys web, c4/en, as in the first'),
    "{ web = 0.7": ("{ web = nan", "found nan; expected a number"),
    "web = 0.7": ("web = { a = 1 }", "found a table; expected a number"),
    "[0.9, 0.99] }": ("[0.9] }", "a list of 1; expected 2 numbers, as in the first list"),
    "[[0.9, 0.9], [0.9, 0.99]]": ("[[0.9, 0.9], [0.9]]", "a list of 1; expected 2 numbers, as in the first list"),
    'mix = { web = 0.7, "c4/en" = 0.3 }': ("mix = 3", "a number among tables of numbers; expected values of one kind"),
}  # fmt: skip


@pytest.mark.parametrize("old", ODD)
def test_tables_and_lists_are_alike(old: str) -> None:
    """All tables of a knob have the same keys, all lists the same length, and what is in them are finite numbers."""
    new, sentence = ODD[old]
    with pytest.raises(CurriculumError) as caught:
        loads(MIXES.replace(old, new, 1))
    assert [fault.sentence for fault in caught.value.faults] == [sentence]


def test_no_ramp_between_them() -> None:
    """A ramp passes through numbers: one of names or tables is refused in a sentence."""
    ramp = 'name = "a"\nramp = { source = { to = "all", over = "5 steps" } }'
    with pytest.raises(CurriculumError, match="a ramp of source, whose values are names; expected a knob of numbers"):
        loads(MIXES.replace(ramp.split("\n")[0], ramp))


def test_they_can_be_drawn(tmp_path: Path) -> None:
    """The ticks of a knob of names are its names."""
    pytest.importorskip("matplotlib")
    from plateau_rule.controller.verifier.climbs import climbs
    from plateau_rule.sim.plots.picture import picture_of_climb

    machine = bind(loads(MIXES))
    (first, *_) = climbs(machine)
    picture = picture_of_climb(machine, first)
    assert picture.words["source"] == ("web", "web-and-code", "all")
    assert set(picture.knobs["source"][1].tolist()) == {0.0, 2.0}
