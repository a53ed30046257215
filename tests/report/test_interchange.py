"""JSON keeps to its published schema, and comes back as it was."""

import json
from dataclasses import replace

import pytest

from portable_nn.errors import FormatError
from portable_nn.report import SCHEMA, from_json, to_json

jsonschema = pytest.importorskip("jsonschema", reason="the oracle of JSON schemas: pip install jsonschema")


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_it_validates(comparison, validator):
    record = json.loads(to_json(comparison))
    validator.validate(record)
    assert record["holds"] is False
    assert [row["state"] for row in record["rows"]] == ["agrees", "agrees", "differs", "differs", "failed"]
    labels = record["rows"][0]["labels"]
    assert labels["accuracy"] == labels["correct"] / labels["total"] == comparison.rows[0].labels.accuracy


def test_the_schema_is_strict(comparison, validator):
    record = json.loads(to_json(comparison))
    record["rows"][0]["surprise"] = 1
    record["rows"][1]["state"] = "perhaps"
    del record["environment"]["python"]
    assert len(list(validator.iter_errors(record))) == 3


def test_it_comes_back(comparison):
    assert from_json(to_json(comparison)) == comparison


@pytest.mark.parametrize("classes", [("cat", "dog"), (3, -1)])
def test_classes_come_back(comparison, validator, classes):
    named = replace(comparison, classes=classes)
    validator.validate(json.loads(to_json(named)))
    assert from_json(to_json(named)) == named


def test_infinity_becomes_null_and_comes_back(comparison, validator):
    row = comparison.rows[0]
    broken = replace(row, parity=replace(row.parity, max_abs_error=float("inf")))
    broken = replace(comparison, rows=(broken,))
    record = json.loads(to_json(broken))
    validator.validate(record)
    assert record["rows"][0]["parity"]["max_abs_error"] is None
    assert from_json(to_json(broken)) == broken


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}', '{"schema_version": 99}'])
def test_what_is_none_is_refused(text):
    with pytest.raises(FormatError, match="portable-nn compare --json"):
        from_json(text)
