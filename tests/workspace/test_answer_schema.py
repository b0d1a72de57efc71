"""The JSON Schema of a structured answer: what it lets pass, and what the model is told."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.workspace import AnswerSchema
from tests.workspace.documents import ANSWER_SCHEMA

RULE = AnswerSchema.model_validate(ANSWER_SCHEMA)
FITTING = {"name": "leave", "days": 14, "notes": ["ask early"]}

FAULTS: list[tuple[Any, list[str]]] = [
    (FITTING, []),
    ({"name": "travel"}, []),
    ([], ["answer: must be a mapping, found a list"]),
    ({}, ["answer.name: is required; give text"]),
    ({"name": "leave", "days": 14.5}, ["answer.days: must be a whole number, found 14.5"]),
    ({"name": "leave", "days": True}, ["answer.days: must be a whole number, found true"]),
    ({"name": "leave", "days": None}, ["answer.days: must be a whole number, found nothing (null)"]),
    ({"name": "lunch"}, ['answer.name: found "lunch"; allowed: "leave", "travel"']),
    ({"name": "leave", "notes": ["a", 1]}, ["answer.notes[1]: must be text, found 1"]),
    ({"name": "leave", "day": 1}, ["answer.day: unknown key. Did you mean days?"]),
]


@pytest.mark.parametrize(("value", "problems"), FAULTS, ids=lambda value: str(value)[:30])
def test_a_value_that_does_not_fit_is_told_with_its_place(value: Any, problems: list[str]) -> None:
    assert list(RULE.faults(value)) == problems


def test_the_model_is_told_a_closed_schema_with_every_keyword() -> None:
    assert RULE.json_schema() == ANSWER_SCHEMA
    nested = AnswerSchema.model_validate({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}})
    assert nested.json_schema()["properties"]["a"] == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
    jsonschema.Draft202012Validator.check_schema(RULE.json_schema())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["leave", "travel", "lunch", 5]),
            "days": st.integers(-5, 400) | st.floats(allow_nan=False, allow_infinity=False) | st.none(),
            "notes": st.lists(st.text(max_size=3) | st.integers(), max_size=7),
            "more": st.booleans(),
        },
    )
)
def test_what_passes_here_passes_json_schema(value: dict[str, Any]) -> None:
    """And what fails there fails here. Here is a little stricter: 5.0 is not a whole number."""
    official = jsonschema.Draft202012Validator(RULE.json_schema())
    value = json.loads(json.dumps(value))
    if not list(RULE.faults(value)):
        official.validate(value)
    elif official.is_valid(value):
        assert isinstance(value["days"], float)
