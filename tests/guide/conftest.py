"""The real parts, and a place in which blocks of the guide are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guide.running import Place
from tests.support.openai_server import OpenAIServer
from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server
from tests.support.postgres import database_dsn as database_dsn
from tests.support.postgres import postgres_server as postgres_server
from tests.support.redis_server import redis_server as redis_server
from tests.support.redis_server import redis_url as redis_url


@pytest.fixture
def place(database_dsn: str, tmp_path: Path, openai_server: OpenAIServer) -> Place:
    """An empty place."""
    return Place(database_dsn, tmp_path, openai_server)
