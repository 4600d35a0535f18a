"""The JSON Schema of curriculum files, for editors: draft 7, in the plain part that taplo and tombi understand."""

from __future__ import annotations

import json
from typing import Any

from plateau_rule.controller.language.consistency import PROPERTIES
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.values import OneKey, Table, descriptions
from plateau_rule.controller.language.vocabulary import keys_of, tables_in

FILE = "curriculum-1.schema.json"


def schema() -> dict[str, Any]:
    """The schema as JSON-able data, made from the models; every key has a description."""
    made = Curriculum.model_json_schema(ref_template="#/definitions/{model}")
    tables = _tables(Curriculum)
    for table in tables:
        keys = made if table is Curriculum else made["$defs"][table.__name__]
        for name, words in descriptions(table).items():
            key = keys["properties"][table.model_fields[name].alias or name]
            key.pop("description", None)  # so that it stands last in every key
            key["description"] = words
    definitions = {name: _plain(table) for name, table in sorted(made.pop("$defs").items())}
    for table in tables:
        if issubclass(table, OneKey):
            definitions[table.__name__] |= {"minProperties": 1, "maxProperties": 1}
    reason = definitions["Check"]["properties"]["waive"].pop("additionalProperties")
    definitions["Check"]["properties"]["waive"] |= {
        "properties": {name: {"description": f"Why {name} is not asked for.", **reason} for name in PROPERTIES},
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Plateau Rule curriculum, format 1",
        **_plain(made),
        "definitions": definitions,
    }


def schema_text() -> str:
    """The schema as the text of its file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tables(table: type[Table]) -> set[type[Table]]:
    found, todo = set[type[Table]](), [table]
    while todo:
        found.add(inner := todo.pop())
        todo += {t for kind in keys_of(inner).values() for t in tables_in(kind)} - found
    return found


def _plain(node: Any) -> Any:
    """Take out what TOML has no use for (null), what repeats itself (titles), and the corners of the standard."""
    if isinstance(node, list):
        return [_plain(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    node = {key: value for key, value in node.items() if key != "title" or not isinstance(value, str)}
    choices = [choice for choice in node.pop("anyOf", []) if choice != {"type": "null"}]
    if [choice.get("type") for choice in choices[:2]] == ["integer", "number"]:
        choices = choices[1:]
    if len(choices) == 1:
        node |= choices[0]
    elif choices:
        node["anyOf"] = choices
    if isinstance(node.get("default", 0), dict | list | None):
        node.pop("default", None)
    if "patternProperties" in node:
        node["additionalProperties"] = False
    if "$ref" in node and len(node) > 1:  # in draft 7, whatever stands beside a $ref is not read
        node["allOf"] = [{"$ref": node.pop("$ref")}]
    return {key: _plain(value) for key, value in node.items()}
