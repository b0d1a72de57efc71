"""A real Redis for the figures of a cache's levels."""

from __future__ import annotations

from tests.support.redis_server import redis_server as redis_server
from tests.support.redis_server import redis_url as redis_url
