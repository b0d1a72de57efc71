"""The model that every part of the custom resource derives from, with its rules beside its fields.

A `Rule` says one thing twice: in CEL, for the API server, and in Python, for a reader without one. A model lists its
rules in `rules`; the schema converter writes the CEL half into the CRD, and validation runs the Python half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

VALIDATIONS: Final = "x-kubernetes-validations"
RULES_BROKEN: Final = "rules_broken"


@dataclass(frozen=True)
class Rule:
    """One constraint over several fields.

    `cel` is true for a good object. `message` is what a breach says; `message_expression` is CEL that says the same
    with the values found. `check` answers None, or the sentence of the breach. `field` (camelCase) is the
    field to blame. A transition rule, whose `cel` reads `oldSelf`, has no `check`: only the API server knows the old.
    """

    cel: str
    message: str
    check: Callable[[Any], str | None] | None
    message_expression: str | None = None
    field: str | None = None

    def validation(self) -> JsonDict:
        """The entry of `x-kubernetes-validations`."""
        entry: JsonDict = {"rule": self.cel, "message": self.message}
        if self.message_expression is not None:
            entry["messageExpression"] = self.message_expression
        if self.field is not None:
            entry["fieldPath"] = f".{self.field}"
        return entry


def _write_rules(schema: JsonDict, model: type[Any]) -> None:
    if model.rules:
        schema[VALIDATIONS] = [rule.validation() for rule in model.rules]


class ApiModel(BaseModel):
    """A strict object of the custom resource: camelCase outside, no unknown keys, nothing mutable."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        json_schema_extra=_write_rules,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_the_rules(self) -> Self:
        broken = [
            (rule.field, sentence)
            for rule in self.rules
            if rule.check is not None and (sentence := rule.check(self)) is not None
        ]
        if broken:
            raise PydanticCustomError(RULES_BROKEN, "{sentences}", {"sentences": _joined(broken), "broken": broken})
        return self


def _joined(broken: list[tuple[str | None, str]]) -> str:
    return "; ".join(sentence for _, sentence in broken)
