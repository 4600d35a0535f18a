"""A card in a notebook: its colours, light and dark, and the elements that it is made of.

All text comes in through `element`, which escapes it; only what `element` made is taken as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

# The colours of the page, by the same names.
LIGHT = {
    "card": "#ffffff", "line": "#e3e2dd", "ink": "#222222", "soft": "#5c5f63", "faint": "#8a8d91",
    "lane-easy": "#ececea", "lane-hard": "#a9abad", "shade": "#dcdbd6",
    "blue": "#0072b2", "raise": "#d55e00", "raise-text": "#b84f00", "green": "#007a5a", "green-soft": "#dff1ea",
}  # fmt: skip
DARK = {
    "card": "#1b1e21", "line": "#2e3236", "ink": "#e9e9e6", "soft": "#a9aeb3", "faint": "#7d8288",
    "lane-easy": "#272b2f", "lane-hard": "#5a6066", "shade": "#3a3f44",
    "blue": "#56b4e9", "raise": "#ff8a3d", "raise-text": "#ff8a3d", "green": "#3cc79b", "green-soft": "#173a30",
}  # fmt: skip
# Where a notebook says whether it is dark, it is believed before the system is: Jupyter, VS Code, Sphinx.
SAYS_DARK = ('body[data-jp-theme-light="false"]', "body.vscode-dark", 'html[data-theme="dark"]', 'html[theme="dark"]')
SAYS_NOT_LIGHT = 'html:not([data-theme="light"]) body:not([data-jp-theme-light="true"]):not(.vscode-light)'
RULES = """
.plateau-rule { background: var(--card); color: var(--ink); border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 14px; font: 13px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; max-width: 760px; }
.plateau-rule > * { margin: 0 0 8px; } .plateau-rule > :last-child { margin-bottom: 0; }
.plateau-rule h3 { font-size: 15px; font-weight: 600; } .plateau-rule .soft { color: var(--soft); }
.plateau-rule ul { list-style: none; padding: 0; } .plateau-rule .ok { color: var(--green); }
.plateau-rule .broken { color: var(--raise-text); font-weight: 600; } .plateau-rule .open { color: var(--soft); }
.plateau-rule .wide { overflow: auto; max-height: 560px; }
.plateau-rule table { border-collapse: collapse; } .plateau-rule td, .plateau-rule th { text-align: left;
  padding: 3px 16px 3px 0; border: 0; border-top: 1px solid var(--line); background: none; color: var(--ink); }
.plateau-rule th { font-weight: 400; color: var(--soft); border-top: 0; vertical-align: bottom; }
.plateau-rule td { vertical-align: top; }
.plateau-rule pre { background: none; color: var(--ink); font: 11.5px/1.55 ui-monospace, Menlo, Consolas, monospace; }
.plateau-rule svg { display: block; max-width: max(100%, 480px); height: auto; }
.plateau-rule summary { cursor: pointer; }
.plateau-rule svg text { fill: var(--soft); font-size: 11px; } .plateau-rule svg .name { fill: var(--ink); }
.plateau-rule svg .when { fill: var(--raise-text); font-weight: 600; }
"""


class Markup(str):
    """Text that is markup already, and stays as it is."""

    __slots__ = ()


def element(tag: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """An element; whatever is no Markup is text.

    Args:
        tag: its name.
        attributes: those that are None are left out.
        children: what stands in it.
    """
    said = "".join(
        f' {name}="{escape(f"{value:g}" if isinstance(value, float) else str(value))}"'
        for name, value in (attributes or {}).items()
        if value is not None
    )
    return Markup(f"<{tag}{said}>{joined(children)}</{tag}>")


def joined(children: Iterable[object]) -> Markup:
    """Elements and texts, one after the other; None is nothing."""
    return Markup("".join(one if isinstance(one, Markup) else escape(str(one)) for one in children if one is not None))


def card(*children: object) -> str:
    """A card as a notebook takes it."""
    light, dark = (";".join(f"--{name}:{colour}" for name, colour in colours.items()) for colours in (LIGHT, DARK))
    said = ",".join(f"{where} .plateau-rule" for where in SAYS_DARK)
    style = (
        f".plateau-rule{{{light}}}"
        f"@media (prefers-color-scheme:dark){{{SAYS_NOT_LIGHT} .plateau-rule{{{dark}}}}}"
        f"{said}{{{dark}}}"
    )
    return str(element("div", {"class": "plateau-rule"}, Markup(f"<style>{style}{RULES}</style>"), *children))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table."""
    head = element("tr", None, *(element("th", {"scope": "col"}, one) for one in heads))
    body = [element("tr", None, *(element("td", None, cell) for cell in row)) for row in rows]
    return element("table", None, element("thead", None, head), element("tbody", None, *body))


def fitted(text: str, most: int) -> str:
    """A text that has room for so many letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
