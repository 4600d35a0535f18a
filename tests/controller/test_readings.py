"""What `explain` says in words, `readings` says as numbers: the same verdicts, and values on the same side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite, nan
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, NonFiniteLoss
from plateau_rule.controller.guards import Reading
from plateau_rule.controller.guards.kleene import spelled
from plateau_rule.controller.readings import as_saved, from_saved
from plateau_rule.controller.state import SILENT
from plateau_rule.sim.strategies import curricula, observations, observe
from plateau_rule.sim.testing import drawn
from tests.controller.small import resumed, small, through


def leaves(reading: Reading) -> Iterator[Reading]:
    """Readings that are not made of others."""
    if not reading.parts:
        yield reading
    for part in reading.parts:
        yield from leaves(part)


def holds(reading: Reading) -> bool | None:
    """What the numbers of a reading say; None where they lie too close to a bound, or are not known."""
    if reading.value is None:
        return None
    least = reading.value if reading.low is None else reading.low
    most = reading.value if reading.high is None else reading.high
    inside = True
    for number, bound, sign in ((least, reading.holds[0], 1), (most, reading.holds[1], -1)):
        if bound is None:
            continue
        if abs(number - bound) <= 1e-9 * max(abs(number), abs(bound)) and reading.kind != "clock":
            return None
        inside &= sign * number >= sign * bound
    return inside


def agree(controller: Controller) -> None:
    """Words and numbers of all transitions out of the present state agree, and JSON takes the numbers."""
    ways = controller.readings()
    lines = [line for way in ways for line in way.lines()]
    said = [line for line in controller.explain() if line in lines]
    assert said == lines
    json.dumps([way.as_dict() for way in ways], allow_nan=False)
    for way in ways:
        assert from_saved(json.loads(json.dumps(as_saved(way)))) == way
        for one in (leaf for part in way.parts for leaf in leaves(part)):
            assert one.text
            assert any(f"{one.title}: {one.text} -> {spelled(one.verdict)}" in line for line in lines)
            numbers = (one.value, one.low, one.high, *one.holds)
            assert all(number is None or isfinite(number) for number in numbers)
            if (verdict := holds(one)) is not None and "this look's share" not in one.text:
                assert (one.verdict is True) == verdict, one


@pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")
@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_readings_are_what_explain_says(data: st.DataObject) -> None:
    """Random curricula over random observations: at every step, and of every decision, words and numbers agree."""
    curriculum = data.draw(curricula(max_steps=60))
    controller = Controller(curriculum, lead=data.draw(st.sampled_from((None, 2))))
    controller.run_state.said = SILENT
    for said in data.draw(observations(curriculum, max_size=60)):
        if controller.plan.stop:
            break
        try:
            decision = observe(controller, said)
        except NonFiniteLoss:
            break
        agree(controller)
        if decision:
            assert decision.guards == tuple(line for way in decision.readings for line in way.lines())


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.data())
def test_readings_of_long_runs(seed: int, data: st.DataObject) -> None:
    """The same over hundreds of losses, in which every method decides; a rising metric included."""
    import numpy as np

    curriculum = data.draw(curricula(max_steps=700, metrics=("loss",)))
    controller = Controller(curriculum)
    controller.run_state.said = SILENT
    for place, loss in enumerate(drawn.losses(np.random.default_rng(seed), 1, 700)[0].tolist()):
        if controller.plan.stop:
            break
        try:
            controller.observe(loss)
        except NonFiniteLoss:
            break
        if place % 20 == 0:
            agree(controller)


def reading_of(guard: dict[str, Any], losses: list[float]) -> Reading:
    """What one guard says after these losses."""
    controller = Controller(small({"guards": [guard, {"min_step": 10**6}]}))
    through(controller, losses)
    return controller.readings()[0].parts[0]


@pytest.mark.parametrize(
    ("guard", "losses", "expected"),
    [
        ({"min_epoch": 2}, [1.0] * 12, ("clock", 1, None, None, (2, None), "epochs complete", "")),
        ({"plateau": {"window": 4}}, [4.0, 4.0, 3.0, 3.0],
         ("detector", 25.0, None, None, (None, 0.5), "% over the window", "improved")),
        ({"plateau": {"window": 4}}, [4.0, 4.0, 3.0],
         ("detector", None, None, None, (None, 0.5), "% over the window", "")),
        ({"below": {"value": 2.0, "window": 2}}, [4.0, 3.0], ("detector", 3.5, None, None, (None, 2.0), "loss", "")),
        ({"above": {"value": 2.0}}, [4.0], ("detector", 4.0, None, None, (2.0, None), "loss", "")),
        ({"patience": {"steps": 3}}, [4.0, 5.0, 5.0],
         ("detector", 2, None, None, (3, None), "values without a new best", "")),
        ({"gap": {"over": "2 steps", "value": 0.5}}, [4.0, 4.0, 3.0, 3.0],
         ("detector", 1.0, None, None, (None, 0.5), "apart", "")),
        ({"diverging": {"window": 2, "factor": 2.0}}, [2.0, 3.0],
         ("detector", 3.0, None, None, (4.0, None), "loss", "")),
        ({"nonfinite": 3}, [nan], ("clock", 1, None, None, (3, None), "non-finite losses in a row", "")),
    ],
)  # fmt: skip
def test_readings_by_hand(guard: dict[str, Any], losses: list[float], expected: tuple[Any, ...]) -> None:
    """Each word's numbers, worked out by hand."""
    one = reading_of(guard, losses)
    assert (one.kind, one.value, one.low, one.high, one.holds, one.unit, one.says) == expected


def test_a_plateau_without_noise_is_read_with_its_error() -> None:
    """A trend's reading has the whole interval, and the region that it must lie in."""
    one = reading_of({"plateau": {"method": "trend", "per": "1000 steps", "threshold": 0.1}}, [2.0] * 99 + [2.0, 2.01])
    assert (one.value, one.seen, one.needs, one.holds) == (None, 101, 200, (-10.0, 10.0))


def test_joined_guards_have_parts() -> None:
    """`any`, `all` and `not` are named by their words, and hold the readings of what they are made of."""
    one = reading_of({"any": [{"not": {"min_step": 5}}, {"all": [{"min_step": 1}]}]}, [1.0] * 3)
    assert (one.kind, [part.kind for part in one.parts]) == ("any", ["not", "all"])
    assert [leaf.title for leaf in leaves(one)] == ["min_step", "min_step"]


def test_a_decision_that_waits_keeps_its_readings() -> None:
    """Under a lead, the decision shows what was seen when it was made, across a resume as well."""
    curriculum = small({"guards": [{"below": {"value": 2.0}}]})
    controller = Controller(curriculum, {"cutoff": 8}, lead=3)
    through(controller, [3.0, 1.5])
    other = resumed(controller, lead=3)
    taken = [through(one, [9.0] * 3) for one in (controller, other)]
    assert taken[0] == taken[1]
    assert taken[0][0].readings[0].parts[0].value == 1.5
