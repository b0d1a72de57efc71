"""A real Redis and the real embedding model for the cache's tests."""

from __future__ import annotations

from tests.support.parts import embedder as embedder
from tests.support.redis_server import redis_server as redis_server
from tests.support.redis_server import redis_url as redis_url
