"""The table leaves no block of the guide out, names every key of it, and is what the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.guide.running import with_guide
from tests.guide.table import PAGE, Row, page, rows
from tests.workspace.test_guide import WORKSPACE_KEYS, first_key, variants, yaml_blocks

UNSAID = frozenset({"kind", "use"})
"""Keys that tell what the block is about, and have no effect of their own that a row could name."""


def places() -> dict[tuple[int, int], Any]:
    """Every block of the guide, or half of one."""
    found: dict[tuple[int, int], Any] = {}
    for line, text in yaml_blocks():
        parts = variants(text) if first_key(text) in WORKSPACE_KEYS else [yaml.safe_load(text)]
        found |= {(line, number if len(parts) > 1 else 0): part for number, part in enumerate(parts, 1)}
    return found


def keys_of(value: Any) -> Iterator[str]:
    """The keys at which plain values are written."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict):
            yield from keys_of(inner)
        elif isinstance(inner, list) and any(isinstance(one, dict) for one in inner):
            for one in inner:
                yield from keys_of(one)
        else:
            yield key


@with_guide
def test_every_block_of_the_guide_has_a_row_and_every_row_a_block() -> None:
    assert {(row.line, row.part) for row in rows()} == set(places())
    assert len(places()) == 39


@with_guide
def test_the_rows_name_every_key_of_a_workspace_block() -> None:
    said: dict[tuple[int, int], set[str]] = {}
    for row in rows():
        said.setdefault((row.line, row.part), set()).update(re.findall(r"`([a-z_0-9]+)`", row.sets))
    unsaid = {
        place: missing
        for place, written in places().items()
        if set(written) <= WORKSPACE_KEYS and (missing := set(keys_of(written)) - said[place] - UNSAID)
    }
    assert unsaid == {}


def test_what_is_refused_says_so_with_a_message_and_the_rest_has_an_effect() -> None:
    assert [row for row in rows() if not row.effect and not row.refused] == []
    row = Row(7, 2, "`key`", "And so on.", ("key: `key` is not available",), "test_x.py::test_y")
    assert row.place == "7, second half"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run make generate"
