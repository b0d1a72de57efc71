"""From pydantic models to a structural schema, the strict subset of OpenAPI 3.0 that a CRD may hold.

pydantic writes JSON Schema 2020; the API server rejects much of that and misreads some of it without a word (a default
from a factory is lost, `additionalProperties: true` needs a schema). So the converter translates what it knows and
raises for all else: a model that cannot be said in a CRD fails when the CRD is generated, not in a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Schema = dict[str, Any]

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"

_COPIED: Final = frozenset(
    {"description", "enum", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength"}
    | {"minProperties", "minimum", "multipleOf", "nullable", "pattern"}
)
_DROPPED: Final = frozenset(
    {
        "title",  # noise that counts to the size limit
        "propertyNames",  # cannot be said; a rule or the operator's own validation checks names
    }
)
_FORMATS: Final = frozenset({"date-time", "int32", "int64"})
_INT_OR_STRING_PARTS: Final = ({"type": "integer"}, {"type": "string"})


class NotStructural(Exception):
    """A model says something that a CRD cannot; `path` leads to the field."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__(f"{'.'.join(path) or 'the model'}: {message}")


@dataclass(frozen=True)
class Bounds:
    """Largest sizes where a model gives none: characters of a text, items of a list, entries of a map."""

    text: int
    items: int
    entries: int


@dataclass(frozen=True)
class Conventions:
    """How strictly to read. The API's own models give every bound, literal defaults and no floats.

    `fallback` bounds what the models leave open; None makes an open size an error. `hidden` marks fields, by a key of
    `json_schema_extra`, that are left out; `hidden_values` names the key that lists enum values to leave out.
    """

    defaults: bool = True
    floats: bool = False
    fallback: Bounds | None = None
    hidden: str | None = None
    hidden_values: str | None = None


class _LiteralDefaults(GenerateJsonSchema):
    """Refuses what pydantic would drop in silence."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if "default_factory" in schema:
            raise NotStructural((), "default_factory cannot be said in a CRD; give a literal default")
        return super().default_schema(schema)


def structural_schema(
    model: type[BaseModel], conventions: Conventions | None = None, amend: Callable[[Schema], None] | None = None
) -> Schema:
    """The structural schema of `model`. Raises NotStructural for what a CRD cannot say.

    `amend` may change pydantic's definitions (by class name) before they are read.
    """
    chosen = conventions or Conventions()
    generator = _LiteralDefaults if chosen.defaults else GenerateJsonSchema
    document = model.model_json_schema(mode="validation", by_alias=True, schema_generator=generator)
    definitions = document.pop("$defs", {})
    if amend is not None:
        amend(definitions)
    return _Converter(chosen, definitions).convert(document)


@dataclass
class _Converter:
    conventions: Conventions
    definitions: Mapping[str, Any]
    path: tuple[str, ...] = ()
    open_references: list[str] = field(default_factory=list)

    def convert(self, node: Mapping[str, Any]) -> Schema:
        """One node and all below it."""
        with self._resolved(node) as plain:
            schema = self._keywords(plain)
            self._bound(schema)
            return schema

    @contextmanager
    def _resolved(self, node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """`node` without $ref and without the null of an optional field; keywords beside a $ref win over its target."""
        plain, opened = dict(node), 0
        while "$ref" in plain or _is_optional(plain):
            if "$ref" in plain:
                name = plain.pop("$ref").removeprefix("#/$defs/")
                if name in self.open_references:
                    raise NotStructural(self.path, f"{name} contains itself; a CRD cannot recurse")
                self.open_references.append(name)
                opened += 1
                plain = {**self.definitions[name], **plain}
            else:
                (part,) = (part for part in plain.pop("anyOf") if part != {"type": "null"})
                plain = {**part, **plain}
        yield plain
        del self.open_references[len(self.open_references) - opened :]

    def _keywords(self, node: Mapping[str, Any]) -> Schema:
        schema: Schema = {}
        for keyword, value in node.items():
            if keyword in _COPIED or keyword.startswith("x-kubernetes-"):
                schema[keyword] = value
            elif keyword not in _DROPPED and not keyword.startswith("x-sibyl-"):
                schema.update(self._translate(keyword, value, node))
        if "type" not in schema and INT_OR_STRING not in schema:
            self._untyped(node, schema)
        return schema

    def _untyped(self, node: Mapping[str, Any], schema: Schema) -> None:
        if "enum" in schema or "anyOf" in node:
            raise NotStructural(self.path, "has no type")
        schema[PRESERVE] = True

    def _translate(self, keyword: str, value: Any, node: Mapping[str, Any]) -> Schema:
        match keyword:
            case "type":
                return self._type(value)
            case "properties":
                return self._properties(value, node.get("required", []))
            case "items":
                return {"items": self._below("[]", value)}
            case "additionalProperties":
                return self._additional(value)
            case "default":
                return self._default(value)
            case "required":
                return {}  # stands with the properties
        return self._constraint(keyword, value, node)

    def _constraint(self, keyword: str, value: Any, node: Mapping[str, Any]) -> Schema:
        match keyword:
            case "const":
                return {"enum": [value]}
            case "exclusiveMinimum" | "exclusiveMaximum":
                return {keyword.removeprefix("exclusive").lower(): value, keyword: True}
            case "format" if value in _FORMATS:
                return {"format": value}
            case "anyOf" if INT_OR_STRING in node and tuple(value) == _INT_OR_STRING_PARTS:
                return {"anyOf": value}
        raise NotStructural(self.path, f"{keyword}: {value!r} cannot be said in a CRD")

    def _type(self, value: Any) -> Schema:
        if value == "number" and not self.conventions.floats:
            raise NotStructural(self.path, "floats are not for an API; use an integer or a quantity")
        if not isinstance(value, str) or value == "null":
            raise NotStructural(self.path, f"type {value!r} cannot be said in a CRD")
        return {"type": value}

    def _properties(self, value: Mapping[str, Any], required: list[str]) -> Schema:
        shown = {name: node for name, node in value.items() if not self._is_hidden(node)}
        schema: Schema = {"properties": {name: self._property(name, node) for name, node in shown.items()}}
        needed = sorted(name for name in required if name in shown)
        return {**schema, "required": needed} if needed else schema

    def _property(self, name: str, node: Mapping[str, Any]) -> Schema:
        schema = self._below(name, self._without_hidden_values(node))
        if not schema.get("description"):
            raise NotStructural((*self.path, name), "has no description")
        return schema

    def _is_hidden(self, node: Mapping[str, Any]) -> bool:
        return self.conventions.hidden is not None and bool(node.get(self.conventions.hidden))

    def _without_hidden_values(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        hidden = node.get(self.conventions.hidden_values or "", ())
        if not hidden or "enum" not in node:
            return node
        return {**node, "enum": [value for value in node["enum"] if value not in hidden]}

    def _additional(self, value: Any) -> Schema:
        if value is False:
            return {}  # strict field validation and pruning do this
        if value is True:
            return {PRESERVE: True}
        return {"additionalProperties": self._below("*", value)}

    def _default(self, value: Any) -> Schema:
        said = _said(value) if self.conventions.defaults else None
        return {} if said is None else {"default": said}

    def _bound(self, schema: Schema) -> None:
        """Every size must have an end, or CEL has no cost bound and one object can fill the store."""
        fallback = self.conventions.fallback
        for keyword, limit in _open_sizes(schema, fallback):
            if limit is None:
                raise NotStructural(self.path, f"has no {keyword}")
            schema[keyword] = limit

    def _below(self, name: str, node: Mapping[str, Any]) -> Schema:
        outer = self.path
        self.path = (*outer, name)
        converted = self.convert(node)
        self.path = outer
        return converted


def _said(value: Any) -> Any:
    """What a default says, in full; None when it says nothing, so that objects are not stored with empty fields.

    In full, because the API server judges a default by the rules before it fills in the defaults of its fields.
    """
    if isinstance(value, Mapping):
        said = {name: found for name, held in value.items() if (found := _said(held)) is not None}
        return said or None
    return value if value != () and value != [] else None


def _is_optional(node: Mapping[str, Any]) -> bool:
    parts = node.get("anyOf", [])
    return len(parts) == 2 and {"type": "null"} in parts


def _open_sizes(schema: Schema, fallback: Bounds | None) -> Iterator[tuple[str, int | None]]:
    kind = schema.get("type")
    if kind == "string" and not {"maxLength", "enum", "format"} & schema.keys():
        yield "maxLength", None if fallback is None else fallback.text
    if kind == "array" and "maxItems" not in schema:
        yield "maxItems", None if fallback is None else fallback.items
    if "additionalProperties" in schema and "maxProperties" not in schema:
        yield "maxProperties", None if fallback is None else fallback.entries
