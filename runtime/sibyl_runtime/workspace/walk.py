"""Walking raw values: every text within nested mappings and lists, with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sibyl_runtime.workspace.errors import Location


def texts_in(value: Any, at: Location = ()) -> Iterator[tuple[Location, str]]:
    """The place and the text of everything that is text, in the order of the document. Keys are not looked at."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts_in(inner, (*at, str(key)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from texts_in(inner, (*at, index))


def map_texts(value: Any, visit: Callable[[str, Location], Any], at: Location = ()) -> Any:
    """A copy of `value` with every text replaced by what `visit` makes of it."""
    if isinstance(value, str):
        return visit(value, at)
    if isinstance(value, Mapping):
        return {key: map_texts(inner, visit, (*at, str(key))) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [map_texts(inner, visit, (*at, index)) for index, inner in enumerate(value)]
    return value
