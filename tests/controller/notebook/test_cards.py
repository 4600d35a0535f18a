"""Cards in a notebook: a curriculum and a report as HTML that stands for itself, whatever the file says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings

from plateau_rule import Binding, Curriculum, Report, bind, load, loads, verify
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.notebook.card import DARK, LIGHT, card, element
from plateau_rule.sim.strategies import curricula

ROOT = Path(__file__).parents[3]
HOSTILE = "<img src=x onerror=alert(1)></title><script>alert(2)</script>\"'&"
VOID = {"br", "img"}


class Reader(HTMLParser):
    """Reads HTML: its elements, its texts, and whether each element is closed where it has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.names: list[str] = []
        self.text = ""
        self.states: list[tuple[str | None, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.open.append(tag)
        self.tags.append(tag)
        self.names += [name for name, _ in attrs]
        given = dict(attrs)
        if "data-state" in given:
            self.states.append((given["data-state"], given.get("data-entered")))

    def handle_endtag(self, tag: str) -> None:
        """It ends."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        if self.open and self.open[-1] != "style":
            self.text += data


def read(html: str) -> Reader:
    """The card, read to its end."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def shown(value: Curriculum | Report) -> Reader:
    """What a notebook shows of a value: by the method that it asks."""
    return read(value._repr_html_())


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_curriculum_is_its_machine(name: str) -> None:
    """A card holds every state of a curriculum, its description and its file, and no script, in a few kilobytes."""
    curriculum = load(name)
    found = shown(curriculum)
    assert [state for state, _ in found.states] == [state.name for state in curriculum.state]
    assert curriculum.description in found.text
    assert re.search(rf'^name += "{name}"$', found.text, re.MULTILINE)
    assert "script" not in found.tags
    assert len(curriculum._repr_html_()) < 20_000


@given(curriculum=curricula())
@settings(max_examples=40, deadline=None)
def test_every_curriculum_can_be_shown(curriculum: Curriculum) -> None:
    """Whatever the curriculum, its card is well-formed and has its states."""
    assert len(shown(curriculum).states) == min(40, len(curriculum.state))


def test_a_report_lights_the_run_that_breaks_it() -> None:
    """Of a broken curriculum the card says what is broken, and lights the states on the way to where it shows."""
    found = shown(verify(bind(load("misaligned"), Binding(epochs=20, steps_per_epoch=80))))
    assert "✕ cutoff rises from 128 to 256 while the rate is at 68.9 % of the peak" in found.text
    assert "✕ at step 160: the rate is 68.9 % of the peak, 95 % is asked" in found.text
    assert found.states == [("syntax", "0"), ("words", "160"), ("spelling", None), ("full", None)]
    assert "fullstep 800step 800" in found.text


def test_a_report_without_a_fault_counts_what_is_proved() -> None:
    """Of a sound curriculum the card says how much is proved; what is open has a sign of its own."""
    found = shown(verify(bind(load("plateau"), Binding(epochs=20, steps_per_epoch=80))))
    assert "✓ 5 properties proved" in found.text
    assert "✕" not in found.text
    assert "wordsstep 160step 1,520, or never" in found.text


def test_a_report_of_a_sound_curriculum_draws_no_machine() -> None:
    """Where nothing shows itself in a run, there is no run to light."""
    found = shown(verify(bind(load("fixed-epochs"), Binding(epochs=50, steps_per_epoch=80))))
    assert found.states == []


def test_text_from_a_file_stays_text() -> None:
    """Markup in a file is shown as text, in elements and in attributes."""
    said = HOSTILE.replace('"', '\\"')
    curriculum = loads(
        f'format = 1\nname = "x"\ndescription = "{said}"\n[lr]\npeak = 1.0\n[knob.x]\nunit = "{said}"\n'
        f'ladder = [1, 2]\n[[state]]\nname = "a"\nset = {{ x = 1 }}\n[[state]]\nname = "b"\nset = {{ x = 2 }}\n'
        f'stop = "{said}"\n[[transition]]\nfrom = "a"\nto = "b"\nguards = [{{ min_epoch = 2 }}]\n'
    )
    found = shown(curriculum)
    assert HOSTILE in found.text
    assert {"img", "script"} & {*found.tags} == set()
    assert not any(name.startswith("on") for name in found.names)
    assert element("p", {"title": HOSTILE}, HOSTILE).count("<") == 2


def test_many_states_are_drawn_in_part() -> None:
    """Of a curriculum of 256 states a card draws the first forty, and says how many are left out."""
    states = "".join(f'[[state]]\nname = "s{i}"\nset = {{ x = {i + 1} }}\n' for i in range(256))
    found = shown(
        loads(
            'format = 1\nname = "many"\n[lr]\npeak = 1.0\n[knob.x]\nrange = { min = 1, max = 256 }\n'
            f'{states}[[transition]]\nfrom = "*"\nto = "next"\nguards = [{{ dwell = "9 steps" }}]\n'
        )
    )
    assert len(found.states) == 40
    assert "… and 216 more states" in found.text


def test_the_colours_are_the_pages() -> None:
    """A card has the colours of the page, light and dark, under the same names."""
    style = (ROOT / "plateau_rule" / "page" / "static" / "page.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in style.split("}")[:2])
    assert LIGHT.items() <= light.items()
    assert DARK.items() <= dark.items()


def test_a_card_keeps_its_style_to_itself() -> None:
    """Every rule of a card's style speaks of cards alone: the notebook around it keeps its looks."""
    style = card().partition("<style>")[2].partition("</style>")[0]
    chosen = re.findall(r"([^{}]+)\{[^{}]*\}", re.sub(r"@media [^{]*\{", "", style))
    assert len(chosen) > 15
    for selectors in chosen:
        assert all(".plateau-rule" in one for one in selectors.split(",")), selectors
