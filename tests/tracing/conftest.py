"""Real parts for the tests of spans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server
from tests.support.otlp_collector import Collector, collecting
from tests.support.postgres import database_dsn as database_dsn
from tests.support.postgres import postgres_server as postgres_server


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found
