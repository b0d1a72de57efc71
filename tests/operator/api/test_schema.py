"""The converter says in a CRD what pydantic says in JSON Schema, or refuses."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from sibyl_operator.api.base import ApiModel, Rule
from sibyl_operator.api.quantity import Quantity
from sibyl_operator.api.schema import Bounds, Conventions, NotStructural, structural_schema

Short = Annotated[str, Field(max_length=8)]


class Inner(ApiModel):
    """An inner object."""

    size: int = Field(2, ge=1, description="A size.")


class Recursive(ApiModel):
    """An object that holds itself."""

    again: Recursive | None = Field(None, description="Again.")


def converted(
    annotation: Any, default: Any = ..., conventions: Conventions | None = None, **extra: Any
) -> dict[str, Any]:
    """The schema of one field `x`, without its description."""
    model = create_model("Model", __base__=ApiModel, x=(annotation, Field(default, description="A field.", **extra)))
    schema = dict(structural_schema(model)["properties"]["x"])
    assert schema.pop("description")
    return schema


INNER = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1, "default": 2, "description": "A size."}},
}


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (int, ..., {"type": "integer"}),
        (bool, False, {"type": "boolean", "default": False}),
        (Short, ..., {"type": "string", "maxLength": 8}),
        (Short | None, None, {"type": "string", "maxLength": 8}),
        (Literal["a", "b"], "a", {"type": "string", "enum": ["a", "b"], "default": "a"}),
        (Literal["only"], ..., {"type": "string", "enum": ["only"]}),
        (Annotated[int, Field(gt=0, lt=9)], ..., {
            "type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": True,
        }),
        (Annotated[list[Short], Field(max_length=3)], ..., {
            "type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 8},
        }),
        (Annotated[dict[str, Short], Field(max_length=3)], ..., {
            "type": "object", "maxProperties": 3, "additionalProperties": {"type": "string", "maxLength": 8},
        }),
        (dict[str, Any], ..., {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (Any, ..., {"x-kubernetes-preserve-unknown-fields": True}),
        (Quantity | None, None, {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": "^[0-9]+(\\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
            "maxLength": 24,
            "minimum": 0,
        }),
        (Inner, ..., INNER),
        (Inner | None, None, INNER),
        (Inner, Inner(), {**INNER, "default": {"size": 2}}),
        (Inner, Inner(size=5), {**INNER, "default": {"size": 5}}),
    ],
)  # fmt: skip
def test_what_pydantic_says_is_said_structurally(annotation: Any, default: Any, expected: dict[str, Any]) -> None:
    assert converted(annotation, default) == expected


@pytest.mark.parametrize("default", [(), [], {}])
def test_a_default_that_says_nothing_is_not_stored_in_every_object(default: Any) -> None:
    assert converted(Any, default) == {"x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (str, "x: has no maxLength"),
        (list[int], "x: has no maxItems"),
        (Annotated[list[str], Field(max_length=1)], r"x.\[\]: has no maxLength"),
        (dict[str, int], "x: has no maxProperties"),
        (float, "x: floats are not for an API"),
        (int | bool, "x: anyOf"),
        (Inner | Short, "x: anyOf"),
        (Annotated[set[int], Field(max_length=3)], "x: uniqueItems"),
        (tuple[int, int], "x: prefixItems|x: maxItems|x: minItems"),
        (Recursive, "x.again: Recursive contains itself"),
        (None, "x: type 'null'"),
    ],
)
def test_what_a_crd_cannot_say_is_refused(annotation: Any, reason: str) -> None:
    with pytest.raises(NotStructural, match=reason):
        converted(annotation)


def test_a_default_from_a_factory_is_refused_because_it_would_be_lost() -> None:
    model = create_model("Model", __base__=ApiModel, x=(int, Field(default_factory=int, description="A field.")))
    with pytest.raises(NotStructural, match="default_factory"):
        structural_schema(model)


def test_a_field_without_description_is_refused() -> None:
    model = create_model("Model", __base__=ApiModel, x=(int, 1))
    with pytest.raises(NotStructural, match="x: has no description"):
        structural_schema(model)


def test_unknown_keywords_are_refused() -> None:
    with pytest.raises(NotStructural, match="x: contentEncoding"):
        converted(int, json_schema_extra={"contentEncoding": "base64"})


def test_rules_stand_with_the_object_that_they_judge() -> None:
    class Ruled(ApiModel):
        """An object with a rule."""

        low: int = Field(1, description="Low.")
        high: int = Field(2, description="High.")
        rules: ClassVar[tuple[Rule, ...]] = (
            Rule("self.low <= self.high", "low is above high", None, message_expression="'no'", field="low"),
        )

    assert structural_schema(Ruled)["x-kubernetes-validations"] == [
        {
            "rule": "self.low <= self.high",
            "message": "low is above high",
            "messageExpression": "'no'",
            "fieldPath": ".low",
        }
    ]


class Document(BaseModel):
    """A part of the document, in a dialect of its own."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("x", description="A text.")
    share: float = Field(0.5, ge=0, le=1, description="A share.")
    later: int | None = Field(None, description="Later.", json_schema_extra={"x-sibyl-planned": True})
    kind: Literal["a", "b"] = Field("a", description="A kind.", json_schema_extra={"x-sibyl-planned-values": ["b"]})


def test_a_document_keeps_no_defaults_and_hides_what_is_not_available() -> None:
    conventions = Conventions(
        defaults=False,
        floats=True,
        fallback=Bounds(text=10, items=5, entries=3),
        hidden="x-sibyl-planned",
        hidden_values="x-sibyl-planned-values",
    )
    assert structural_schema(Document, conventions) == {
        "description": "A part of the document, in a dialect of its own.",
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": 10, "description": "A text."},
            "share": {"type": "number", "minimum": 0, "maximum": 1, "description": "A share."},
            "kind": {"type": "string", "enum": ["a"], "description": "A kind."},
        },
    }
