"""The three forms of the chart's values, all from one model: commented YAML, a closed JSON schema, a table."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sibyl_operator.install.base import Values
from sibyl_operator.install.values import ChartValues
from sibyl_operator.yaml_text import dump

WIDTH: Final = 110
INDENT: Final = "  "
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# Helm hands every chart the values that a parent shares: a closed schema that forgot them could not be a subchart.
GLOBAL: Final = {"type": "object", "description": "Values shared by a parent chart; this chart reads none."}


def default_values() -> dict[str, Any]:
    """The defaults as Helm reads them from values.yaml."""
    return ChartValues().model_dump(mode="json", by_alias=True, exclude_none=True)


def values_yaml() -> str:
    """`values.yaml`: every value with its default and its meaning as a comment."""
    return "\n".join(_yaml_lines(ChartValues(), "")).rstrip("\n") + "\n"


def _yaml_lines(values: Values, indent: str) -> Iterator[str]:
    for name, field in type(values).model_fields.items():
        value, group = getattr(values, name), _group(field)
        if not indent:
            yield ""
        yield from _comment(_meaning(field), indent)
        if group is not None:
            yield f"{indent}{field.alias}:"
            yield from _yaml_lines(value, indent + INDENT)
        else:
            yield from textwrap.indent(dump({field.alias: _plain(value)}, sort_keys=False), indent).splitlines()


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def values_schema() -> str:
    """`values.schema.json`: closed at every level, so that a key that would have no effect is refused by Helm."""
    schema = _tidy(ChartValues.model_json_schema(by_alias=True))
    properties = {**schema.pop("properties"), "global": GLOBAL}
    definitions = dict(sorted(schema.pop("$defs").items()))
    whole = {"$schema": DIALECT, **schema, "properties": properties, "$defs": definitions}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any, *, names: bool = False) -> Any:
    """Without titles, without nulls that only stand for "not given", without defaults of more than one line.

    `names` is true below `properties` and `$defs`, where the keys are names of ours and no words of JSON Schema.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _tidy(value) for key, value in node.items()}
    tidied = {
        key: _tidy(value, names=key in ("properties", "$defs"))
        for key, value in node.items()
        if key != "title" and not (key == "default" and (value is None or isinstance(value, dict | list)))
    }
    choices = [choice for choice in tidied.pop("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **tidied}
    return {**tidied, "anyOf": choices} if choices else tidied


def values_table() -> str:
    """The values as a Markdown table: path, default, meaning."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, default, meaning in _rows(ChartValues(), ""):
        rows.append(f"| `{path}` | `{json.dumps(default)}` | {meaning} |".replace('`""`', "empty"))
    return "\n".join(rows) + "\n"


def _rows(values: Values, prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, field in type(values).model_fields.items():
        path, value = f"{prefix}{field.alias}", getattr(values, name)
        if _group(field) is not None:
            yield from _rows(value, f"{path}.")
        else:
            yield path, _plain(value), _meaning(field)


def _group(field: FieldInfo) -> type[Values] | None:
    """The model below a field, where its own fields are described: Kubernetes' own objects are single values here."""
    kind = field.annotation
    if not (isinstance(kind, type) and issubclass(kind, Values)):
        return None
    return kind if all(_described(each) for each in kind.model_fields.values()) else None


def _described(field: FieldInfo) -> bool:
    kind = field.annotation
    return bool(field.description) or (isinstance(kind, type) and issubclass(kind, Values) and bool(kind.__doc__))


def _meaning(field: FieldInfo) -> str:
    kind = field.annotation
    documented = kind.__doc__ if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return " ".join((field.description or documented or "").split())


def _plain(value: Any) -> Any:
    """A value as YAML and JSON have it; whole seconds without a fraction."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
