"""A replay in a notebook: its curve and its decisions as HTML that stands for itself."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from plateau_rule import Binding, load
from plateau_rule.sim.logs import read
from plateau_rule.sim.replayer.replay import replay

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def test_a_replay_is_its_curve() -> None:
    """The card of a replay draws the losses with states, knobs and rate, and says when and why each state came."""
    html = replay(load(EXAMPLES / "sizes.toml"), read(EXAMPLES / "losses.csv"))._repr_html_()
    assert "sizes: large at step 2,000" in html
    assert "2,000 losses, 2 transitions; the run of 2,000 steps is over" in html
    assert "<td>800</td><td>small → medium</td><td>plateau: flat: falls 1.34% to 4.79%" in html
    picture = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    texts = [text.text for text in picture.iter("text")]
    assert {"state", "loss", "image_size", "rate", "step", "small", "800", "1,600", "2,000"} <= {*texts}
    assert "<script" not in html
    assert len(html) < 60_000


@pytest.mark.parametrize("loss", ["nan", "3.0"])
def test_hardly_any_loss(loss: str, tmp_path: Path) -> None:
    """A log without a finite loss, or with two equal ones, is shown as what it is."""
    path = tmp_path / "log.csv"
    path.write_text(f"step,loss\n0,{loss}\n1,{loss}\n")
    html = replay(load("plateau"), read(path), Binding(epochs=9, steps_per_epoch=100))._repr_html_()
    assert ("No finite loss." in html) == (loss == "nan")
    assert "no transition" in html


def test_many_transitions(tmp_path: Path) -> None:
    """Of more transitions than anybody reads, the first are listed, and the others counted."""
    states = "".join(f'[[state]]\nname = "s{i}"\nset = {{ x = {i + 1} }}\n' for i in range(60))
    (tmp_path / "many.toml").write_text(
        'format = 1\nname = "many"\n[run]\nepochs = 3\nsteps_per_epoch = 100\n[lr]\npeak = 1.0\n[knob.x]\n'
        f'range = {{ min = 1, max = 60 }}\n{states}[[transition]]\nfrom = "*"\nto = "next"\n'
        'at = "step"\nguards = [{ dwell = "2 steps" }]\nactions = ["lr_restart"]\n'
    )
    (tmp_path / "<b>.csv").write_text("step,loss\n" + "".join(f"{step},{3 - step / 300}\n" for step in range(300)))
    html = replay(load(tmp_path / "many.toml"), read(tmp_path / "<b>.csv"))._repr_html_()
    assert html.count("<td>") == 60
    assert "and 39 more" in html
