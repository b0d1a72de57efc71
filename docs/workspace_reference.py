"""Write docs/workspace.md from the models, so that the reference cannot differ from what is accepted."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sibyl_runtime.workspace import PLANNED, PLANNED_VALUES, TECHNIQUES, Caching, Workspace

PAGE = Path(__file__).with_name("workspace.md")
INTRODUCTION = """# The workspace document

This page is generated from the models. Keys that are known but have no effect in this version are refused by name;
they are listed at the end of each table.

`${NAME}` in capitals is taken from the environment, with `${NAME:-value}` as a default. `${name}` in small letters is a
parameter of the pipeline. `${step.field}` in a condition is a result of an earlier step.
"""


def page() -> str:
    """The whole page."""
    sections = [INTRODUCTION]
    for title, model in _models(Workspace, "document"):
        sections.append(f"## `{title}`\n\n{_sentence(model)}\n\n{_table(model)}")
    sections.append(f"## `shops.infrastructure.config.caching`\n\n{_sentence(Caching)}\n\n{_table(Caching)}")
    for title, model in _models(Caching, "shops.infrastructure.config.caching"):
        if model is not Caching:
            sections.append(f"## `{title}`\n\n{_sentence(model)}\n\n{_table(model)}")
    sections.append("# Techniques\n")
    for spec in TECHNIQUES.values():
        if spec.available:
            results = ", ".join(f"`{name}`" for name in sorted(spec.results))
            sections.append(f"## `{spec.id}`\n\n{_sentence(spec.config)} Results: {results}.\n\n{_table(spec.config)}")
            for title, model in _models(spec.config, spec.id):
                if model is not spec.config:
                    sections.append(f"### `{title}`\n\n{_sentence(model)}\n\n{_table(model)}")
    refused = ", ".join(f"`{spec.id}`" for spec in TECHNIQUES.values() if not spec.available)
    sections.append(f"## Not available in this version\n\n{refused}.")
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _models(model: type[BaseModel], title: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and all below it, each once, with the path at which it stands."""
    seen: set[type[BaseModel]] = set()

    def walk(current: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
        if current in seen:
            return
        seen.add(current)
        yield path, current
        for name, field in current.model_fields.items():
            if _planned(field):
                continue
            for below, kind in _below(field.annotation):
                place = f"{path}.{_key(name, field)}{kind}".removeprefix("document.")
                yield from walk(below, place.replace("vector_store.named.", "vector_store."))

    yield from walk(model, title)


def _below(annotation: Any, kind: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, kind
        return
    origin = get_origin(annotation)
    suffix = ".<name>" if origin is dict else "[]" if origin in (list, tuple) else ""
    for part in get_args(annotation):
        yield from _below(part, kind + suffix)


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if not _planned(field):
            rows.append(f"| `{_key(name, field)}` | {_type(field)} | {_default(field)} | {_meaning(field)} |")
    refused = ", ".join(f"`{_key(n, f)}`" for n, f in model.model_fields.items() if _planned(f))
    return "\n".join(rows) + (f"\n\nRefused in this version: {refused}." if refused else "")


def _type(field: FieldInfo) -> str:
    return _words(field.annotation, _extra(field).get(PLANNED_VALUES, []))


def _words(annotation: Any, refused: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _words(get_args(annotation)[0], refused)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation) if value not in refused)
    if origin in (Union, types.UnionType):
        parts = [_words(part, refused) for part in get_args(annotation) if part is not type(None)]
        return " or ".join(dict.fromkeys(parts))
    if origin is dict:
        return "map"
    if origin in (list, tuple):
        return "list"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "map"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", dict: "map"}
    return names.get(annotation, "any")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ({}, [], ()):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if len(text) < 40 and "\n" not in text else "built in"


def _meaning(field: FieldInfo) -> str:
    return (field.description or "").replace("|", "\\|")


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _planned(field: FieldInfo) -> bool:
    return bool(_extra(field).get(PLANNED))


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


if __name__ == "__main__":
    PAGE.write_text(page())
