"""The vocabulary: schema, parser and reference say the same words, and Python makes what a file makes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from plateau_rule import Curriculum, CurriculumError, dumps, loads
from plateau_rule.controller.guards.diverging import Diverging
from plateau_rule.controller.guards.gap import Gap
from plateau_rule.controller.guards.level import Level
from plateau_rule.controller.guards.patience import Patience
from plateau_rule.controller.guards.plateau import Plateau
from plateau_rule.controller.language.consistency import PROPERTIES
from plateau_rule.controller.language.curriculum import (
    ActionTable,
    ActionWord,
    Align,
    Check,
    Guard,
    Knob,
    Metric,
    NonFinite,
    Ramp,
    Range,
    Rate,
    Run,
    State,
    StateRate,
    Transition,
)
from plateau_rule.controller.language.rates import GrowingCycles, Peaks
from plateau_rule.controller.language.reading import shipped
from plateau_rule.controller.language.schema import FILE, schema, schema_text
from plateau_rule.controller.language.values import OneKey, Table, descriptions
from plateau_rule.controller.language.vocabulary import keys_of, tables_at

FOLDER = Path(__file__).parents[3] / "curricula"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SCHEMA = schema()
TAPLO = Path(sys.executable).parent / ("taplo.exe" if sys.platform == "win32" else "taplo")

# The tables of the language, by the heading under which the reference explains them.
SECTIONS: dict[str, type[Table]] = {
    "The file": Curriculum,
    "`[run]`": Run,
    "`[lr]`": Rate,
    "`cycles` of `[lr]`, as a table": GrowingCycles,
    "`peaks` of `[lr]`": Peaks,
    "`[knob.NAME]`": Knob,
    "`[metric.NAME]`": Metric,
    "`range` of a knob": Range,
    "`[[state]]`": State,
    "`lr` of a state": StateRate,
    "`ramp` of a state": Ramp,
    "`[[transition]]`": Transition,
    "Guards": Guard,
    "`plateau`": Plateau,
    "`patience`": Patience,
    "`below` and `above`": Level,
    "`diverging`": Diverging,
    "`gap`": Gap,
    "Actions": ActionTable,
    "`[nonfinite]`": NonFinite,
    "`[check]`": Check,
    "`align` of `[check]`": Align,
}
TABLES = list(SECTIONS.values())


def section(heading: str) -> str:
    """The text of the reference below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def rows(heading: str, columns: int) -> dict[str, list[str]]:
    """The rows of so many columns in the tables below a heading, by the word that they begin with."""
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in section(heading).splitlines()]
    return {row[0].strip("`"): row[1:] for row in cells if len(row) == columns and row[0].startswith("`")}


def default_of(table: type[Table], key: str) -> str:
    """A key's default as the reference spells it."""
    field = next(f for name, f in table.model_fields.items() if key in (name, f.alias))
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"`{json.dumps(value)}`" if isinstance(value, str | bool | int | float) else "none"


def test_reference_knows_every_table() -> None:
    """The sections of the reference are the tables that a file may have, each reached from the file itself."""
    reached, todo = set(), [()]
    while todo:
        path = todo.pop()
        for table in tables_at(path):
            if table not in reached:
                reached.add(table)
                todo += [(*path, key, *inner) for key in keys_of(table) for inner in ((), (0,), ("name",))]
    assert reached == set(TABLES)


@pytest.mark.parametrize("heading", SECTIONS)
def test_words(heading: str) -> None:
    """The words of a table are the same in the parser, in the schema and in the reference, and explained the same."""
    table = SECTIONS[heading]
    said = descriptions(table)
    parsed = {field.alias or name: said[name] for name, field in table.model_fields.items()}
    made = SCHEMA if table is Curriculum else SCHEMA["definitions"][table.__name__]
    assert {key: node["description"] for key, node in made["properties"].items()} == parsed
    assert {key: row[0] for key, row in rows(heading, 5).items()} == parsed


@pytest.mark.parametrize("heading", SECTIONS)
def test_rows(heading: str) -> None:
    """A row of the reference names a unit, the default that the model has, and an example that the parser takes."""
    table = SECTIONS[heading]
    for key, (_, unit, default, example) in rows(heading, 5).items():
        assert unit
        assert default == default_of(table, key), key
        (written,) = tomllib.loads(example.strip("`")).items()
        assert written[0] == key
        assert faults_of_key(table, *written) == []


def faults_of_key(table: type[Table], key: str, value: Any) -> list[Any]:
    """What the parser says of one key of a table, whatever else the table needs."""
    try:
        table.model_validate({key: value}, by_alias=True, by_name=False)
    except ValidationError as error:
        return [detail for detail in error.errors() if detail["type"] != "missing"]
    except CurriculumError:  # the words are right; the rest of the file is not there
        pass
    return []


def test_wrong_example_would_be_seen() -> None:
    """Canary: the parser does not take just any example."""
    assert faults_of_key(Transition, "at", "day") != []
    assert faults_of_key(Transition, "att", "step") != []


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("`[lr]`", Rate.model_fields["shape"].annotation),
        ("`ramp` of a state", Ramp.model_fields["shape"].annotation),
        ("`[[transition]]`", Transition.model_fields["at"].annotation),
        ("`plateau`", Plateau.model_fields["method"].annotation),
        ("Actions", ActionWord),
    ],
)
def test_words_that_are_values(heading: str, words: Any) -> None:
    """Shapes, methods, looks and actions have a row each, and there are no rows for others."""
    assert rows(heading, 2).keys() == set(words.__args__)


def test_properties_and_units() -> None:
    """So have the properties that check knows, and the units of time."""
    assert tuple(rows("`align` of `[check]`", 2)) == PROPERTIES
    assert list(rows("Amounts of time", 3)) == ["steps", "epochs", "tokens", "cost", "run", "rest"]


def test_every_shipped_file_is_listed() -> None:
    """The reference says of each shipped curriculum when to use it."""
    assert rows("The curricula in this folder", 2).keys() == shipped().keys()


def blocks(language: str) -> list[str]:
    """The examples of the reference in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_first_example() -> None:
    """The examples of the reference are curricula; the first is the one to begin with."""
    assert [loads(example).name for example in blocks("toml")] == ["my-first", "tokens"]


def test_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python example of the reference runs, and what it prints is a curriculum."""
    (example,) = blocks("python")
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102  # our own page
    assert loads(capsys.readouterr().out) == names["curriculum"]


# The schema


def test_schema_file() -> None:
    """The committed schema is the one that the models make."""
    assert (FOLDER / FILE).read_text(encoding="utf-8") == schema_text()


def nodes(node: Any) -> list[dict[str, Any]]:
    """Every table in JSON data."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return ([node] if isinstance(node, dict) else []) + [found for part in inner for found in nodes(part)]


def test_schema_is_plain() -> None:
    """The schema uses only the words of JSON Schema that editors of TOML handle, and no null, which TOML has not."""
    plain = {
        *("$schema", "$ref", "title", "description", "definitions", "properties", "patternProperties", "required"),
        *("additionalProperties", "type", "items", "enum", "const", "default", "pattern", "allOf", "anyOf", "oneOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems"),
        *("maxItems", "minProperties", "maxProperties"),
    }
    names = {
        id(table[key])
        for table in nodes(SCHEMA)
        for key in ("properties", "patternProperties", "definitions")
        if key in table
    }
    used = {key for node in nodes(SCHEMA) if id(node) not in names for key in node}
    assert used <= plain
    assert all(node.get("type") != "null" for node in nodes(SCHEMA))
    assert all(node.keys() == {"$ref"} for node in nodes(SCHEMA) if "$ref" in node and id(node) not in names)


def lint(*files: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let taplo check files against the schemas that they name."""
    command = [str(TAPLO), "lint", "--no-auto-config", "--colors", "never", *map(str, files)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not TAPLO.exists(), reason="taplo is not installed beside this Python; make setup installs it")
class TestTaplo:
    """What an editor sees."""

    def test_shipped_files(self) -> None:
        """taplo finds nothing wrong with the shipped files, each of which names the schema in its first line."""
        files = list(shipped().values())
        assert all(file.read_text(encoding="utf-8").startswith(f"#:schema ./{FILE}\n") for file in files)
        result = lint(*files, folder=FOLDER)
        assert result.returncode == 0, result.stderr

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("threshold", "treshold"),
            ("window = 50", "window = true"),
            ("min_epoch = 2", 'min_epoch = "2"'),
            ("{ min_epoch = 2 }", "{ min_epoch = 2, min_step = 1 }"),
            ("{ min_epoch = 2 }", "{}"),
            ("lr_restart", "lr_restrat"),
            ('length = "3 epochs"', 'length = "3epochs"'),
            ('shape  = "cosine"', 'shape  = "cosinus"'),
            ("peak   = 2e-4", "peak   = 0"),
            ("[knob.cutoff]", '[knob."cut off"]'),
            ('set  = { cutoff = "full" }', "set  = { cutoff = true }"),
            ('set  = { cutoff = "full" }', "set  = { cutoff = { web = true } }"),
            ("actions = [", "action = ["),
        ],
    )
    def test_faults(self, tmp_path: Path, old: str, new: str) -> None:
        """What the parser refuses about words, types and limits, the schema refuses too."""
        (tmp_path / FILE).write_text(schema_text())
        text = shipped()["plateau"].read_text(encoding="utf-8")
        assert old in text
        wrong = tmp_path / "wrong.toml"
        wrong.write_text(text.replace(old, new))
        with pytest.raises(CurriculumError):
            loads(wrong.read_bytes())
        assert lint(wrong, folder=tmp_path).returncode == 1


# Python


def test_builder() -> None:
    """What Python makes equals what the file makes, whether its parts are models or plain dicts."""
    text = """
        name = "small"
        lr = { peak = 1e-3 }
        guard.flat.plateau = { window = 20 }
        knob.cutoff = { ladder = [1, "full"] }
        state = [{ name = "low", set = { cutoff = 1 } }, { name = "high", set = { cutoff = "full" } }]
        [[transition]]
        from = "low"
        to = "next"
        guards = ["flat", { not = { min_epoch = 3 } }]
        actions = [{ lr_scale = 0.5 }, "lr_restart"]
    """
    built = Curriculum(
        name="small",
        lr=Rate(peak=1e-3),
        guard={"flat": Guard(plateau=Plateau(window=20))},
        knob={"cutoff": Knob(ladder=[1, "full"])},
        state=[State(name="low", set={"cutoff": 1}), State(name="high", set={"cutoff": "full"})],
        transition=[
            Transition(
                from_="low",
                to="next",
                guards=["flat", Guard(not_=Guard(min_epoch=3))],
                actions=[ActionTable(lr_scale=0.5), "lr_restart"],
            )
        ],
    )
    assert built == loads(text)
    assert Curriculum(**tomllib.loads(text)) == built
    assert built != loads(text.replace("0.5", "0.25"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Rate(peek=1e-3),  # type: ignore[call-arg]
            'Rate: unknown key "peek". Did you mean "peak"? [unknown-key]',
        ),
        (
            lambda: Rate(),  # type: ignore[call-arg]
            'Rate: the key "peak" is missing; expected a number above 0.',
        ),
        (lambda: State(name="a b"), 'State: name: found "a b"; expected a name of letters'),
        (
            lambda: Guard(min_epoch=1, min_step=2),
            "Guard: found the keys min_epoch, min_step; expected exactly one key.",
        ),
        (lambda: Guard(), "Guard: found an empty table; expected exactly one key [one-key]"),
        (lambda: Guard(any=[]), "Guard: any: found an empty list; expected a list with at least one item"),
        (
            lambda: Plateau(window=2.0),  # type: ignore[arg-type]
            "Plateau: window: found 2.0; expected a whole number from 1 to 1,000,000. Write 2.",
        ),
        (
            lambda: Transition(from_="a", to="b", guards=(1,)),  # type: ignore[arg-type]
            "Transition: guards: found tuple; expected a list",
        ),
        (
            lambda: Curriculum(name="x", lr=Rate(peak=1), state=[State(name="a", set={"cutoff": 1})]),
            'state "a", set.cutoff: no knob "cutoff" [unknown-knob]',
        ),
        (
            lambda: Curriculum(name="x", lr=Rate(peak=1), state=[{"name": 1}]),  # type: ignore[list-item]
            "[[state]] 1, name: found 1; expected a name",
        ),
    ],
)
def test_builder_errors(make: Any, message: str) -> None:
    """A mistake in Python is a CurriculumError that names the table and the key, with the words of a file's error."""
    with pytest.raises(CurriculumError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_models_do_not_change() -> None:
    """A curriculum that was made stays as it was checked."""
    curriculum = Curriculum(name="x", lr=Rate(peak=1), state=[State(name="a")])
    with pytest.raises(ValidationError, match="frozen"):
        curriculum.name = "y"


def test_deep_nesting_in_python() -> None:
    """Conditions nested too deep, which a file cannot hold, are refused as well, and nothing overflows."""
    guard = Guard(min_epoch=1)
    for _ in range(100):
        guard = Guard(not_=guard)
    transition = Transition(from_="a", to="next", guards=[guard])
    with pytest.raises(CurriculumError, match="nested more than 32 deep"):
        Curriculum(name="x", lr=Rate(peak=1), state=[State(name="a"), State(name="b")], transition=[transition])


def test_one_key_tables() -> None:
    """A guard or an action says its one word and what it holds, spelt as in the file."""
    guard = Guard(not_="flat")
    assert (guard.word, guard.value) == ("not", "flat")
    assert issubclass(Guard, OneKey)
    assert (
        dumps(loads('name = "a"\nlr.peak = 1\nstate = [{ name = "a" }]\nguard.x.not = { min_epoch = 1 }\n')).count(
            "not"
        )
        == 1
    )
