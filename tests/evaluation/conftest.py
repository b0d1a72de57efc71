"""The real PostgreSQL, shared by the run."""

from __future__ import annotations

from tests.support.postgres import postgres_server as postgres_server
