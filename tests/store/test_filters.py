from __future__ import annotations

import operator
import string
from typing import Any

import psycopg
import psycopg.types.json
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.store.filters import EncodedFilter, encode_filters
from sibyl_runtime.workspace.filters import Condition


@pytest.mark.parametrize("filters", [None, {}, ()])
def test_nothing_asked_is_no_filter(filters: Any) -> None:
    assert encode_filters(filters) is None


def test_equal_filters_encode_alike_whatever_their_order() -> None:
    encoded = EncodedFilter(b'{"a":"x","b":1}', None, ("a", "b"))
    assert encode_filters({"b": 1, "a": "x"}) == encode_filters({"a": "x", "b": {"eq": 1}}) == encoded


def test_operators_become_one_path_beside_the_equalities() -> None:
    assert encode_filters({"lang": "en", "year": {"gte": 2020, "lt": 2024}}) == EncodedFilter(
        b'{"lang":"en"}', 'strict ($."year" >= 2020) && ($."year" < 2024)', ("lang", "year")
    )


def test_a_field_may_be_missing_where_the_operator_speaks_of_that() -> None:
    encoded = encode_filters({"a": {"ne": 1}, "b": {"exists": True}, "c": {"not_in": [1]}, "d": {"ne": 1, "gt": 0}})
    assert encoded is not None
    assert encoded.fields == ("d",)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            {"year": [2020]},
            r"`filters\.year` must be text, a number, true or false, or a mapping of operators, found a ",
        ),
        ({"score": float("-inf")}, r"`filters\.score` is -inf; use a finite number"),
        ({1: "x"}, r"`filters\.1` is no name of a field, found a number"),
        ({"a\x00": "x"}, r"NUL character at key 'a\\x00'"),
        ({"a": "x\x00"}, r"`filters\.a` holds a NUL character"),
        ({"a": "\ud800"}, r"`filters` cannot be compared"),
        ({"a": 2**70}, r"`filters` cannot be compared"),
        ({"a": {"lt": 2**70}}, r"`filters` cannot be compared"),
        ({"a": {"gt": float("nan")}}, r"`filters\.a\.gt` is nan; use a finite number"),
        ({"a": {"lte": "\x00"}}, r"`filters\.a\.lte` holds a NUL character"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_key(filters: dict[Any, Any], message: str) -> None:
    with pytest.raises(InvalidParameters, match=message):
        encode_filters(filters)


_PLAIN = some.one_of(
    some.booleans(),
    some.integers(-3, 3),
    some.sampled_from([0.5, -0.5, 2.0]),
    some.text(alphabet=string.printable + "äß\u2028😀'\"\\", max_size=3),
)
_NAMES = some.sampled_from(["a", 'b"', "c\\", "$.a", "", "d'", "@ ? (x)"])
_METADATA = some.dictionaries(_NAMES, some.one_of(_PLAIN, some.none(), some.lists(_PLAIN, max_size=2)))
_ORDERED = some.one_of(some.integers(-3, 3), some.text(alphabet="abB ", max_size=2))
_CONDITIONS = some.one_of(
    some.builds(Condition, _NAMES, some.sampled_from(["eq", "ne"]), _PLAIN),
    some.builds(Condition, _NAMES, some.sampled_from(["gt", "gte", "lt", "lte"]), _ORDERED),
    some.builds(
        Condition, _NAMES, some.sampled_from(["in", "not_in"]), some.lists(_PLAIN, min_size=1, max_size=3).map(tuple)
    ),
    some.builds(Condition, _NAMES, some.just("exists"), some.booleans()),
)


def _kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _equal(one: Any, other: Any) -> bool:
    return _kind(one) == _kind(other) and bool(one == other)


def _holds(condition: Condition, metadata: dict[str, Any]) -> bool:
    """What the documentation says of each operator, in Python."""
    there = condition.field in metadata
    value: Any = metadata.get(condition.field)
    wanted: Any = condition.value
    match condition.operator:
        case "exists":
            return there is wanted
        case "eq" | "ne":
            return (there and _equal(value, wanted)) is (condition.operator == "eq")
        case "in" | "not_in":
            return (there and any(_equal(value, one) for one in wanted)) is (condition.operator == "in")
    if not there or _kind(value) != _kind(wanted):
        return False
    compare = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}[condition.operator]
    return bool(compare(value, wanted))


@pytest.fixture(scope="module")
def connection(postgres_server: Any) -> Any:
    """A connection that asks the real operators."""
    with psycopg.connect(postgres_server.dsn, autocommit=True) as opened:
        yield opened


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=_METADATA, asked=some.lists(_CONDITIONS, min_size=1, max_size=4))
def test_postgresql_decides_as_the_documentation_says(
    connection: psycopg.Connection[Any], metadata: dict[str, Any], asked: list[Condition]
) -> None:
    encoded = encode_filters(asked)
    assert encoded is not None
    row = connection.execute(
        "SELECT (%(contains)s::jsonb IS NULL OR m @> %(contains)s::jsonb)"
        " AND (%(path)s::text IS NULL OR coalesce(m @@ %(path)s::text::jsonpath, false))"
        " FROM (SELECT %(metadata)s::jsonb) AS t (m)",
        {
            "contains": None if encoded.contains is None else encoded.contains.decode(),
            "path": encoded.path,
            "metadata": psycopg.types.json.Jsonb(metadata),
        },
    ).fetchone()
    assert row == (all(_holds(condition, metadata) for condition in asked),)
