"""What `noise`, `replay` and `tune` say of one log does not contradict: on simulated logs whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.verdicts import EPOCHS, NOISES, PER_EPOCH, SPACINGS, curve_of, noisy, rule_of
from plateau_rule import loads
from plateau_rule.controller.binding import Binding, bind
from plateau_rule.sim.lint import lint
from plateau_rule.sim.logs import read
from plateau_rule.sim.noise import noise_of
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.setting import setting_of
from plateau_rule.sim.replayer.verdict import verdict_of
from plateau_rule.sim.simulator.simulate import truth_of
from plateau_rule.sim.simulator.tune import course, in_points, measure

CELLS = [
    (kind, density, noise)
    for kind in ("flat", "improving", "too fast", "too slow")
    for density, noise in (("dense", "white 1 %"), ("dense", "correlated 3 %"), ("sparse", "white 5 %"))
]


@pytest.mark.parametrize(("kind", "density", "noise"), CELLS)
def test_the_three_agree(kind: str, density: str, noise: str, tmp_path: Path) -> None:
    """Too fast is what tune calls false in many copies, too slow in few; the windows advised are the noise's."""
    spacing = SPACINGS[density]
    steps = np.arange(0, 1.5 * EPOCHS * PER_EPOCH, spacing)
    losses = noisy(curve_of(kind, steps), *NOISES[noise], np.random.default_rng(77))
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n" + "".join(f"{int(a)},{b:.6g}\n" for a, b in zip(steps, losses, strict=True)))
    rule = loads(rule_of(kind, spacing).curriculum())
    log = read(path)
    found = noise_of(log)
    verdict = verdict_of(replay(rule, log), found)
    warned = [each for each in lint(rule, found) if each.warning]
    told = " ".join(verdict.turn)
    if not warned:
        assert "lengthen window" not in told
    for each in warned:
        if "lengthen window" in told and each.window_needed is not None:
            assert f"to {each.window_needed}, " in told
    assert not ("shorten window" in told and warned)
    setting = setting_of(rule, log, Binding())
    own, bound = in_points(rule, setting, spacing)
    tuned = measure(own, [course(log, truth_of(bind(own, bound), None).rate, 0)], bound)
    if verdict.word == "too fast":
        assert tuned.false > 0.25
    if verdict.word == "too slow":
        assert tuned.false < 0.05
    if tuned.false < 0.01:
        assert verdict.word != "too fast"
    if tuned.false > 0.9:
        assert verdict.word != "too slow"


def test_a_log_of_every_twentieth_step_keeps_its_epochs_in_copies(tmp_path: Path) -> None:
    """In copies that have one value where the run had 20 steps, epochs, dwells and first steps are as many fewer."""
    text = rule_of("flat", 20).curriculum()
    text = text.replace('{ min_epoch = 2 }, "flat"', '{ min_step = 410 }, { dwell = "100 steps" }, "flat"')
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{3 + step % 7}\n" for step in range(0, 6000, 20)))
    rule, log = loads(text), read(path)
    own, bound = in_points(rule, setting_of(rule, log, Binding()), 20)
    assert bound.steps_per_epoch == PER_EPOCH // 20
    guards = own.model_dump(mode="json", by_alias=True, exclude_unset=True)["transition"][0]["guards"]
    assert guards[:2] == [{"min_step": 21}, {"dwell": "5 steps"}]
