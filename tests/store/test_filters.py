from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.store.filters import encode_filters


@pytest.mark.parametrize("filters", [None, {}])
def test_nothing_asked_is_no_filter(filters: dict[str, Any] | None) -> None:
    assert encode_filters(filters) is None


def test_equal_filters_encode_alike_whatever_their_order() -> None:
    assert encode_filters({"b": 1, "a": "x"}) == encode_filters({"a": "x", "b": 1}) == b'{"a":"x","b":1}'


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"year": [2020]}, r"`filters\.year` is a list; filters test equality"),
        ({"range": {"gte": 1}}, r"`filters\.range` is a dict"),
        ({"gone": None}, r"`filters\.gone` is a NoneType"),
        ({"score": float("nan")}, r"`filters\.score` is nan; use a finite number"),
        ({"score": float("-inf")}, r"`filters\.score` is -inf"),
        ({1: "x"}, r"key 1; keys are text"),
        ({"a\x00": "x"}, r"NUL character at key 'a\\x00'"),
        ({"a": "x\x00"}, r"NUL character at key 'a'"),
        ({"a": "\ud800"}, r"`filters` cannot be compared"),
        ({"a": 2**70}, r"`filters` cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_key(filters: dict[Any, Any], message: str) -> None:
    with pytest.raises(InvalidParameters, match=message):
        encode_filters(filters)
