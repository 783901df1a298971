"""The JSON schema that editors use says the same as the program, as far as a schema can."""

import re
from typing import Any

import pytest

from sweep_samples import FAULTS_OF_FORM, VALID
from windtunnel.spec.attention_sweep import AttentionSweep
from windtunnel.spec.sweep import Sweep, sweep_schema

SCHEMA = sweep_schema()
ANNOTATIONS = {"title", "description", "default", "$defs"}
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Validate `value` by the part of JSON Schema that our schema uses; any other keyword is an error."""
    checks = {
        "$ref": lambda ref: accepts(SCHEMA["$defs"][ref.removeprefix("#/$defs/")], value),
        "anyOf": lambda choices: any(accepts(choice, value) for choice in choices),
        "type": lambda name: isinstance(value, TYPES[name]) and isinstance(value, bool) == (name == "boolean"),
        "enum": lambda known: value in known,
        "const": lambda only: value == only,
        "pattern": lambda pattern: re.search(pattern, value) is not None,
        "minimum": lambda bound: value >= bound,
        "maximum": lambda bound: value <= bound,
        "exclusiveMinimum": lambda bound: value > bound,
        "exclusiveMaximum": lambda bound: value < bound,
        "minLength": lambda bound: len(value) >= bound,
        "minItems": lambda bound: len(value) >= bound,
        "uniqueItems": lambda _: len(set(map(str, value))) == len(value),
        "items": lambda inner: all(accepts(inner, item) for item in value),
        "required": lambda names: all(name in value for name in names),
        "properties": lambda inner: all(accepts(inner[name], item) for name, item in value.items() if name in inner),
        "additionalProperties": lambda inner: all(
            inner and accepts(inner, item) for name, item in value.items() if name not in schema.get("properties", {})
        ),
    }
    keywords = schema.keys() - ANNOTATIONS
    ordered = sorted(keywords, key=list(checks).index)  # the type before what only this type has
    return all(checks[keyword](schema[keyword]) for keyword in ordered)


@pytest.mark.parametrize("fields", VALID, ids=str)
def test_the_schema_accepts_every_sound_sweep(fields: dict[str, Any]):
    assert accepts(SCHEMA, fields)


@pytest.mark.parametrize("fields", [fields for fields, _ in FAULTS_OF_FORM], ids=str)
def test_the_schema_refuses_every_fault_of_form(fields: dict[str, Any]):
    assert not accepts(SCHEMA, fields)


def test_the_schema_refuses_a_field_that_does_not_exist():
    assert not accepts(SCHEMA, {"size": "small", "contxt": 5})


@pytest.mark.parametrize("model", [Sweep, AttentionSweep])
def test_the_schema_explains_every_field(model: type[Sweep] | type[AttentionSweep]):
    properties = SCHEMA["$defs"][model.__name__]["properties"]

    assert properties.keys() == model.model_fields.keys()
    assert all(inner["description"] for inner in properties.values())
