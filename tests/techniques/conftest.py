"""The real PostgreSQL and the real model, shared by the run."""

from __future__ import annotations

from tests.support.parts import embedder as embedder
from tests.support.parts import parts as parts
from tests.support.postgres import database_dsn as database_dsn
from tests.support.postgres import postgres_server as postgres_server
