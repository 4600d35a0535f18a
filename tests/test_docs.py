"""What the pages show is what the files say and the commands print; what they name is there."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

import plateau_rule
from plateau_rule.controller.language.reading import shipped
from tests.conftest import ROOT

README, TESTING, CONTROLLER = ROOT / "README.md", ROOT / "docs" / "testing.md", ROOT / "docs" / "controller.md"
START = ROOT / "docs" / "start.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "curricula" / "README.md"])
EXAMPLES = ROOT / "docs" / "examples"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "…"


def name_of(page: Path) -> str:
    """A page's path from the top."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, kind: str) -> list[str]:
    """The page's blocks of a kind."""
    return [text for word, text in BLOCK.findall(page.read_text()) if word == kind]


def commands(page: Path) -> list[str]:
    """The page's commands, each with what is shown below it."""
    return [part for block in blocks(page, "console") for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these words, where the examples lie in `folder` as they do in the repository."""
    copytree(EXAMPLES, folder / "docs" / "examples", ignore=ignore_patterns("__pycache__", ".*"))
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST") and key != "COLUMNS"}
    env["CI"] = "1"  # hypothesis then draws the same every time
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def printed(command: str, folder: Path) -> list[str]:
    """What a command of a page prints, without durations and rules of dashes."""
    words = command.split()
    module = {"pytest": ["-m", "pytest", "-p", "no:cacheprovider"], "plateau": ["-m", "plateau_rule"]}[words[0]]
    done = run([*module, *words[1:]], folder)
    return [plain(line) for line in (done.stdout + done.stderr).splitlines()]


def plain(line: str) -> str:
    """A line without its duration, and with rules of one length."""
    return re.sub(r"_{5,}", "_____", re.sub(r" in [0-9.]+s$", "", line.rstrip()))


def assert_shown(shown: list[str], lines: list[str]) -> None:
    """Each line that is shown was printed, in that order; an ellipsis stands for any others."""
    found = iter(lines)
    for line in shown:
        if line != LEFT_OUT:
            assert plain(line) in found, f"{line!r} is not printed there; what is:\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("page", "name"),
    [
        (README, "sizes.toml"),
        (README, "loop.py"),
        (TESTING, "mine.toml"),
        (TESTING, "mine.test.toml"),
        (TESTING, "test_mine.py"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_files_are_shown_as_they_are(page: Path, name: str) -> None:
    """Each example on a page is, word for word, the file that lies in docs/examples."""
    assert (EXAMPLES / name).read_text() in blocks(page, "python" if name.endswith(".py") else "toml")


@pytest.mark.slow
@pytest.mark.parametrize("command", commands(TESTING), ids=lambda command: command.split("\n")[0])
def test_commands_print_what_is_shown(command: str, tmp_path: Path) -> None:
    """Each command in docs/testing.md prints what stands below it."""
    words, *shown = command.splitlines()
    assert_shown(shown, printed(words, tmp_path))


@pytest.mark.parametrize("command", commands(README), ids=lambda command: command.split("\n")[0])
def test_readme_commands_print_what_is_shown(command: str, tmp_path: Path) -> None:
    """Each command in the README, given beside the examples, prints what stands below it."""
    words, *shown = command.splitlines()
    words = re.sub(r"\b(sizes\.toml|losses\.csv)", r"docs/examples/\1", words)
    lines = [line.replace("docs/examples/", "") for line in printed(words, tmp_path)]
    assert_shown(shown, lines)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that docs/start.md says to make."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "sizes.toml").write_text(blocks(START, "toml")[0])
    for place, source in enumerate(blocks(START, "python")):
        (folder / f"{place}.py").write_text(source)
        subprocess.run([sys.executable, f"{place}.py"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("command", commands(START), ids=lambda command: command.split("\n")[0])
def test_start_commands_print_what_is_shown(command: str, started: Path, tmp_path: Path) -> None:
    """Each command of the first ten minutes, given in the folder that the page makes, prints what stands below it."""
    words, *shown = command.splitlines()
    for file in started.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert_shown(shown, printed(words, tmp_path))


def in_index(text: str) -> set[str]:
    """The pages that the lists of docs/index.md name, from docs/."""
    lists = re.findall(r"^```{toctree}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in lists for line in block.splitlines() if not line.startswith(":")]
    return {re.sub(r".*<(.*)>", r"\1", line) for line in lines}


def test_the_site_has_every_page() -> None:
    """docs/index.md leads to every page of docs/, and names none that is not there; a page left out is seen."""
    text = (ROOT / "docs" / "index.md").read_text()
    named, there = in_index(text), {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"}
    assert {page for page in named if not page.startswith("..")} == there, "docs/index.md lists the pages of the site"
    assert all((ROOT / "docs" / page).is_file() for page in named)
    assert "start.md" not in in_index(text.replace("start.md", ""))


def test_what_is_not_printed_is_seen() -> None:
    """Canary: a line that no command printed, or one in the wrong place, is seen."""
    with pytest.raises(AssertionError, match="is not printed there"):
        assert_shown(["b", "a"], ["a", "b"])


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text()], ids=name_of)
def test_python_answers_what_is_shown(page: Path) -> None:
    """Every line of Python on a page answers what stands below it."""
    report: list[str] = []
    test = doctest.DocTestParser().get_doctest(page.read_text(), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(test, out=report.append).failed == 0, "".join(report)


def test_controller_page_has_no_other_python() -> None:
    """Every block of Python in docs/controller.md is one that the test above runs."""
    assert blocks(CONTROLLER, "python") == []
    assert blocks(CONTROLLER, "pycon")


def test_controller_page_names_everything() -> None:
    """Every public name of `plateau_rule` stands on docs/controller.md, and has a docstring."""
    text = CONTROLLER.read_text()
    for name in plateau_rule.__all__:
        assert getattr(plateau_rule, name).__doc__
        assert re.search(rf"\b{name}\b", text), name


def headings(page: Path) -> set[str]:
    """The anchors that a page offers."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link leads to a file, and every anchor to a heading."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in headings(there), f"{page.name}: {target}#{anchor}"


ROOMS = ("benchmarks", "controller", "curricula", "docs", "fftcore", "plateau_rule", "sim", "tests")


def named_paths(page: Path) -> set[str]:
    """The files and folders of the project that a page names in its text, without wildcards."""
    words = re.findall(rf"(?<![\w/.\-])(?:{'|'.join(ROOMS)})/[\w/.\-]*", BLOCK.sub("", page.read_text()))
    return {word.rstrip(".") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_exist(page: Path) -> None:
    """Every file and folder of the project that a page names is there."""
    missing = {path for path in named_paths(page) if not (ROOT / path).exists()}
    assert missing == set()


def test_named_extras_exist() -> None:
    """Every extra that a page or a message names is one that can be installed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    sources = [path for room in ROOMS[1:] for path in (ROOT / room).rglob("*.py") if "tests" not in path.parts]
    for path in [*PAGES, *sources]:
        for named in re.findall(r"(?:plateau-rule|pip install '?\.)\[([\w,]+)\]", path.read_text()):
            assert set(named.split(",")) <= extras, f"{path}: {named}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_an_index(page: Path) -> None:
    """No page says to install the project from an index: it is on none."""
    assert not re.search(r"pip install '?plateau-rule", page.read_text())


def test_readme_is_short() -> None:
    """The README stays below 120 lines."""
    assert len(README.read_text().splitlines()) < 120


def test_readme_counts_the_shipped_curricula() -> None:
    """The README and the changelog say how many curricula are shipped."""
    assert f"the language and {len(shipped())} files" in README.read_text()
    assert f"{len(shipped())} curricula to start from" in (ROOT / "CHANGELOG.md").read_text()


def results(name: str) -> Any:
    """What a benchmark wrote."""
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def figures() -> dict[str, str]:
    """The README's figures, made anew from what the benchmarks wrote: words around each, and the figure."""
    false = {row["rule"]: row["false"] for row in results("detectors")["suite"] if row["stretch"] == 1.0}
    steps = {row["what"]: row["ratio"] for row in results("controller")["steps"]}
    batch = [row["ratio"] for row in results("batch")["speed"]]
    taps = results("convolution")["tables"]["forward and back"][1]["times_as_fast"]["median"]
    return {
        "trend": f"`trend` {false['trend']:.3g}, `sure` {false['sure']:.3g}",
        "halves": f"as published {false['halves, window 50 (published)']:.1%}".replace("%", " %"),
        "transitions": f"{results('transitions')['transitions']:,} transitions",
        "step": f"{steps['observe + plan, plateau.toml as shipped']:.2f} of the time",
        "step with trend": f"with `trend`, {steps['observe + plan, trend']:.2f}",
        "batch": f"{batch[0]:.0f}, {batch[1]:.0f} and {batch[2]:.0f} times as fast",
        "convolution": f"{taps:.1f} times as fast",
    }


@pytest.mark.parametrize("figure", figures().values(), ids=figures().keys())
def test_readme_figures_are_the_measured_ones(figure: str) -> None:
    """Each figure in the README is what its benchmark wrote last."""
    assert figure in README.read_text()
