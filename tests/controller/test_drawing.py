"""Pictures of curricula: every state, way and condition is in them, and they are well-formed whatever the file says."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from plateau_rule import Curriculum, load, loads
from plateau_rule.controller.drawing import DRAWINGS, arrows, conditions, dot, facts, goes_on, mermaid, svg
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.rate_line import rate_line
from plateau_rule.sim.strategies import curricula

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"

ODD = """
name = "odd"
description = "<tags> & \\"quotes\\", %% and # and ; and : in a text that is long enough to be broken in two lines"
lr = { peak = 1e-3, shape = "wsd", cycles = ["2 epochs", "rest"], warmup = "100 steps", rewarm = true }
run = { epochs = 10, steps_per_epoch = 100 }
knob.cutoff = { ladder = [1, 2, "full"], unit = "<bins>; \\"all\\"" }
knob.len.range = { min = 8, max = 64, multiple_of = 8 }
guard.busy.any = [{ min_epoch = 1 }, { not = { above = { metric = "val_loss", value = 3 } } }]
[[state]]
name = "a"
set = { cutoff = 1, len = 8 }
ramp = { len = { to = 32, over = "1 epoch", shape = "root" } }
[[state]]
name = "b"
set = { cutoff = 2, len = 32 }
lr = { peak = 0.5, shape = "linear", floor = 0.2, length = "1 epoch" }
[[state]]
name = "c"
set = { cutoff = "full", len = 64 }
lr = { shape = "constant" }
stop = "it \\"diverged\\" & <ended>"
[[transition]]
from = "*"
to = "next"
at = "eval"
sustain = 2
guards = ["busy", { plateau = {} }]
actions = ["lr_restart", { lr_scale = 0.5 }, { signal = "raised" }]
[[transition]]
name = "back"
from = "b"
to = "a"
regress = true
at_most = 1
guards = [{ diverging = { factor = 1.5 } }]
[[transition]]
from = "a"
to = "a"
guards = [{ dwell = "3 epochs" }]
[[transition]]
from = "a"
to = "c"
"""


def texts(picture: str) -> list[str]:
    """What can be read in an SVG."""
    return ["".join(node.itertext()) for node in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_conditions_in_words() -> None:
    """When a transition is taken is said in one sentence, with all that it asks for."""
    odd = loads(ODD)
    assert conditions(odd, 0) == "at an evaluation: busy and plateau, 2 looks in a row"
    assert conditions(odd, 1) == "diverging factor 1.5, once at most"
    assert conditions(odd, 2) == "dwell 3 epochs"
    assert conditions(odd, 3) == "always"


def test_facts() -> None:
    """A state says its knobs with their units, its ramps, and its rate or why it ends the training."""
    odd = loads(ODD)
    assert facts(odd, odd.state[0])[1:] == [
        "len 8 to 32, root over 1 epoch",
        "lr 0.001, wsd to 0 % over cycles of 2 epochs, rest",
    ]
    assert facts(odd, odd.state[2]) == [
        'cutoff full <bins>; "all"',
        "len 64",
        'stop: it "diverged" & <ended>',
    ]


def test_arrows() -> None:
    """There is an arrow for each way from a state to another, in the order of the file."""
    found = [(arrow.source, arrow.target, arrow.number) for arrow in arrows(loads(ODD))]
    assert found == [(0, 1, 1), (1, 2, 1), (1, 0, 2), (0, 0, 3), (0, 2, 4)]


@pytest.mark.parametrize("kind", DRAWINGS)
@pytest.mark.parametrize("name", [*shipped(), "odd"])
def test_everything_is_drawn(kind: str, name: str) -> None:
    """Each kind of picture names every state and has as many ways as the machine."""
    curriculum = loads(ODD) if name == "odd" else load(name)
    picture = DRAWINGS[kind](curriculum)
    assert all(state.name in picture for state in curriculum.state)
    ways = {
        "mermaid": len(re.findall(r"^ +s\d+ --> s\d+ :", picture, re.MULTILINE)),
        "dot": len(re.findall(r"^ +s\d+ -> s\d+ \[", picture, re.MULTILINE)),
        "svg": picture.count('class="way') - 1,  # one leads to the first state
    }
    drawn = arrows(curriculum)
    merged = len({arrow.source for arrow in drawn if arrow.target == arrow.source + 1})  # one line for all of them
    straight = sum(arrow.target == arrow.source + 1 for arrow in drawn)
    assert ways[kind] == (len(drawn) - straight + merged if kind == "svg" else len(drawn))


@pytest.mark.parametrize("file", ["odd.mermaid", "odd.dot", "odd.svg", "two-knobs-with-retreat.svg", "taps.svg"])
def test_the_picture_that_was_looked_at(file: str) -> None:
    """To the letter, what is drawn is the picture that somebody has looked at and found right."""
    name, _, kind = file.partition(".")
    curriculum = loads(ODD) if name == "odd" else load(name)
    assert DRAWINGS[kind](curriculum) == (GOLDEN / file).read_text(encoding="utf-8")


def test_svg_can_be_read() -> None:
    """An SVG is well-formed XML; its texts say what the file says, guards and actions included."""
    shown = " ".join(line.strip() for line in texts(svg(loads(ODD))))
    assert '<tags> & "quotes", %% and # and ; and :' in shown
    assert "1 at an evaluation: busy and plateau, 2 looks in a row" in re.sub(" +", " ", shown)
    assert "⇒ lr_restart, lr_scale 0.5, signal raised" in shown
    assert "2 back, b → a: diverging factor 1.5, once at most" in re.sub(" +", " ", shown)
    assert "busy: min_epoch 1 or not above metric val_loss, value 3.0" in shown


def test_svg_shows_a_fall() -> None:
    """A way on which a knob may fall is marked, in both kinds of picture that have colours or dashes."""
    assert svg(loads(ODD)).count('class="way fall"') == 1
    assert dot(loads(ODD)).count("style=dashed") == 1


@settings(max_examples=40)
@given(curricula())
def test_any_curriculum(curriculum: Curriculum) -> None:
    """Whatever a curriculum says, its SVG is well-formed; its boxes lie within the picture, none on another."""
    root = ElementTree.fromstring(svg(curriculum))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [node.attrib for node in root.iter(f"{SVG}rect") if node.attrib.get("class") == "box"]
    assert len(boxes) == len(curriculum.state)
    bottom = 0.0
    for box in boxes:
        x, y, wide, high = (float(box[key]) for key in ("x", "y", "width", "height"))
        assert y > bottom
        bottom = y + high
        assert x >= 0
        assert x + wide < width
    assert bottom < height
    assert all(
        0 <= share <= 1 and -1e-9 <= rate <= 1 for i in range(len(boxes)) for share, rate in rate_line(curriculum, i)
    )
    assert mermaid(curriculum).startswith("---\ntitle: ")


def test_ways_beside_each_other() -> None:
    """Ways to no next state that do not meet are drawn in one lane; those that do are drawn beside each other."""
    head = 'name = "x"\nlr.peak = 1\n' + "".join(f'[[state]]\nname = "{name}"\nset = {{}}\n' for name in "abcdef")
    ways = (("a", "c"), ("c", "e"), ("d", "f"), ("a", "d"), ("c", "a"), ("f", "d"))
    text = head + "".join(f'[[transition]]\nfrom = "{a}"\nto = "{b}"\nregress = true\nat_most = 1\n' for a, b in ways)
    root = ElementTree.fromstring(svg(loads(text)))
    badges = [float(node.attrib["cx"]) for node in root.iter(f"{SVG}circle") if node.attrib.get("class") == "badge"]
    numbers = [int(node.text or "") for node in root.iter(f"{SVG}text") if node.attrib.get("text-anchor") == "middle"]
    at = dict(zip(numbers, badges, strict=True))
    assert at[3] == at[1]  # d to f, and a to c
    assert (at[2] - at[1], at[4] - at[1]) == (26, 52)  # c to e meets both, a to d meets all
    assert at[5] == at[6] < at[1]  # those that lead back, on the left


def test_mermaid_is_escaped() -> None:
    """No sign that Mermaid gives a meaning comes from a text of the file."""
    lines = mermaid(loads(ODD)).splitlines()
    for line in lines[5:8]:
        inner = line.split('"')[1]
        assert not re.search(r"[<>;\"]", re.sub(r"#\d+;|<br>", "", inner))
    assert len(lines[5].split('"')) == 3


def test_rate_in_a_state() -> None:
    """The line of the rate begins at the peak, falls to the floor at the end of its length, and stays there."""
    line = rate_line(load("plateau"), 0)
    assert line[0] == (0.0, 1.0)
    assert line[-1][1] == line[-2][1] == pytest.approx(0.1)
    assert line[-2][0] == pytest.approx(6 / 7)
    saw = rate_line(load("fixed-epochs"), 0)
    assert sum(before[1] < after[1] for before, after in pairwise(saw)) == 3  # restarts
    assert rate_line(loads(ODD), 0)[:2] == [(0.0, 0.0), (0.1, 1.0)]  # a warm-up of 100 of 1000 steps
    assert max(rate for _, rate in rate_line(loads(ODD), 1)) == 0.5


def test_rate_that_goes_on() -> None:
    """Where no way into a state restarts the rate, the line is dashed and says so."""
    assert not any(goes_on(load("plateau"), index) for index in range(4))
    assert [goes_on(load("taps"), index) for index in range(4)] == [False, True, True, True]
    assert svg(load("taps")).count("the rate goes on") == 3


def test_without_a_length_of_the_run() -> None:
    """A file that does not say how long a run is can be drawn all the same."""
    text = (
        'name = "x"\nlr = { peak = 1, warmup = "1 epoch", cycles = ["2 epochs", "rest"] }\nstate = [{ name = "a" }]\n'
    )
    assert "polyline" in svg(loads(text))


def test_a_state_that_says_final_is_drawn_as_an_end() -> None:
    """A state that says `final = true` is an end in each picture, though a retreat leaves it; transitions are named."""
    retreat = load("two-knobs-with-retreat")
    assert mermaid(retreat).count("--> [*]") == 1
    assert "    s4 --> [*]\n" in mermaid(retreat)
    assert "    s4 --> s3 : retreat#58; (diverging metric loss" in mermaid(retreat)
    assert dot(retreat).count("peripheries=2") == 1
    assert '[label=" timeout: dwell 0.15 run\\l / lr_restart, checkpoint\\l"];' in dot(retreat)
    assert svg(retreat).count('rx="6"') == 1
    assert ">1  retreat, full → long: (diverging" in svg(retreat)
    assert ">3  timeout: dwell 0.15 run<" in svg(retreat)
