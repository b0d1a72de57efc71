"""YAML as people read it, and as machines read it back."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sibyl_operator.yaml_text import dump, dump_all

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert yaml.safe_load(dump(value)) == value


def test_lines_are_kept_whole_and_texts_of_several_lines_are_blocks() -> None:
    assert dump({"a": "word " * 60 + "end"}).count("\n") == 1
    assert dump({"a": "one\ntwo\n"}) == "a: |\n  one\n  two\n"


def test_nothing_is_abbreviated_by_an_alias() -> None:
    shared = {"x": 1}
    assert dump({"a": shared, "b": shared}) == "a:\n  x: 1\nb:\n  x: 1\n"


def test_documents_keep_the_order_of_their_keys() -> None:
    assert dump_all([{"b": 1, "a": 2}, {"c": 3}]) == "b: 1\na: 2\n---\nc: 3\n"
