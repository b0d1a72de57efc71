"""Real parts for the load."""

from __future__ import annotations

from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server
from tests.support.postgres import database_dsn as database_dsn
from tests.support.postgres import postgres_server as postgres_server
