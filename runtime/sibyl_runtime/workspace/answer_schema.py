"""The JSON Schema of a structured answer: the keywords that are checked, and no others.

A closed part of JSON Schema, so that every keyword of a document takes effect. Values are checked as the arguments of
tools are: the same rules, the same messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sibyl_runtime.workspace.base import StrictModel, fail_field
from sibyl_runtime.workspace.errors import format_path, nearest
from sibyl_runtime.workspace.parameters import ParameterType, ToolParameter, argument_faults
from sibyl_runtime.workspace.text import Text


class AnswerSchema(StrictModel):
    """What one value of the answer must be, in JSON Schema's own key names."""

    type: ParameterType = Field(description="Kind of value.")
    title: str | None = Field(None, description="Name of the value, for the model.")
    description: str | None = Field(None, description="What the value means, for the model.")
    enum: list[Any] | None = Field(None, min_length=1, description="The only values allowed.")
    minimum: float | None = Field(None, description="Least number.")
    maximum: float | None = Field(None, description="Greatest number.")
    minLength: int | None = Field(None, ge=0, description="Shortest text, in characters.")
    maxLength: int | None = Field(None, ge=0, description="Longest text, in characters.")
    pattern: Text | None = Field(None, description="Regular expression that the text must contain a match of.")
    items: AnswerSchema | None = Field(None, description="What each element must be.")
    minItems: int | None = Field(None, ge=0, description="Fewest elements.")
    maxItems: int | None = Field(None, ge=0, description="Most elements.")
    properties: dict[str, AnswerSchema] | None = Field(
        None, description="The keys of the object; no others may occur. None: any."
    )
    required: list[str] | None = Field(None, description="Keys that must be there.")
    additionalProperties: Literal[False] | None = Field(
        None, description="false, as in any case where properties are given."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name in ("required", "additionalProperties"):
            if getattr(self, name) is not None and self.properties is None:
                fail_field(name, "has no effect without properties; add them, or remove it")
        for name in self.required or ():
            if name not in (self.properties or {}):
                near = nearest(name, self.properties or {})
                hint = f"; did you mean {near}?" if near else ""
                fail_field("required", f'names "{name}", which is not among the properties{hint}')
        try:
            self._checked(required=False)
        except ValidationError as error:
            context = error.errors()[0].get("ctx", {})
            fail_field(str(context.get("field", "type")), str(context.get("message", error)))
        others = self.model_copy(update={"enum": None})
        for value in self.enum or ():
            for fault in others.faults(value):
                fail_field("enum", f"holds a value that no answer can have: {fault.removeprefix('answer: ')}")
        return self

    def faults(self, value: Any) -> Iterator[str]:
        """Everything in which `value` does not fit, each with its place, such as `answer.items[0].price`."""
        for at, message in argument_faults(value, self._checked(required=False), ("answer",)):
            yield f"{format_path(at)}: {message}"

    def json_schema(self) -> dict[str, Any]:
        """The schema as a model is told it: what is left open stands as closed as it is."""
        schema = self.model_dump(exclude_none=True, exclude={"items", "properties", "additionalProperties"})
        if self.items is not None:
            schema["items"] = self.items.json_schema()
        if self.properties is not None:
            schema["properties"] = {name: inner.json_schema() for name, inner in self.properties.items()}
            schema["additionalProperties"] = False
        return schema

    def _checked(self, *, required: bool) -> ToolParameter:
        """The same as a parameter, against which values are checked."""
        kept = self.model_dump(
            exclude_none=True, exclude={"title", "required", "items", "properties", "additionalProperties"}
        )
        needed = set(self.required or ())
        inner = {name: one._checked(required=name in needed) for name, one in (self.properties or {}).items()}
        return ToolParameter(
            **kept,
            required=required,
            items=None if self.items is None else self.items._checked(required=False),
            properties=None if self.properties is None else inner,
        )
