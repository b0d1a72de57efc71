"""Requests made up from the OpenAPI document, right ones and wrong ones: none may find a fault of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok

from tests.server.hardened import HEADERS, hardened
from tests.support.postgres import PostgresServer
from tests.support.sibyl import Serving

EXAMPLES = 25
"""For each operation and each kind of request. More of them for a longer look."""
CONFIG = schemathesis.Config.from_dict({})


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    dsn = postgres_server.create_database()
    with hardened(tmp_path_factory.mktemp("fuzzed"), dsn) as running:
        yield running
    postgres_server.drop_database(dsn)


def operations(server: Serving) -> list[Any]:
    described = httpx.get(f"{server.api}/openapi.json", headers=HEADERS, timeout=30).json()
    schema = schemathesis.openapi.from_dict(described, config=CONFIG)
    schema.config.update(base_url=server.api)
    found = list(schema.get_all_operations())
    assert all(isinstance(one, Ok) for one in found)
    return [one.ok() for one in found if isinstance(one, Ok)]


@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
def test_no_request_that_can_be_made_up_is_answered_with_500(
    server: Serving, mode: schemathesis.GenerationMode
) -> None:
    statuses: set[int] = set()
    asked: set[str] = set()
    for operation in operations(server):

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            response = case.call(headers=HEADERS)
            statuses.add(response.status_code)
            asked.add(case.operation.path)
            assert response.status_code < 500, f"{case.as_curl_command()}\n{response.text}"

        # An operation that takes any text can be sent nothing that is wrong.
        with contextlib.suppress(Unsatisfiable):
            ask()
    assert {"/mcp/tools", "/documents", "/documents/prune", "/mcp/tools/search_documents"} <= asked
    assert 200 in statuses or mode is schemathesis.GenerationMode.NEGATIVE
    assert 400 in statuses or mode is schemathesis.GenerationMode.POSITIVE
    assert 429 not in statuses
    assert not [line for line in server.log if "exception" in line]
