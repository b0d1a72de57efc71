"""Questions that the pods of a workspace tell each other of, through a Redis Stream.

A pod reads on from where it stopped, so that none is lost when a connection is; a new pod reads it all. What lies in
Redis is not trusted: an entry of another shape, or another model's, is passed over.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from redis.exceptions import RedisError

from sibyl_runtime.cache.question_index import Vector
from sibyl_runtime.cache.redis_server import RedisFault, RedisServer

PAUSE: Final = 1.0
"""Seconds between two looks for news, when the last look brought everything."""
BATCH: Final = 250
"""Entries of one look: half a megabyte, which Redis sends well within a command's time."""
LONGEST_QUESTION: Final = 8192
_SCOPE: Final = re.compile(rb"[0-9a-f]{64}")
_ID: Final = re.compile(rb"(\d{1,15})-\d{1,19}")
_START: Final = b"0-0"


@dataclass(frozen=True)
class Told:
    """A question that some pod has answered, `age` seconds ago."""

    scope: str
    question: str
    vector: Vector
    age: float


class QuestionStream:
    """The stream of one workspace, of about `max_entries` entries; gone `ttl` seconds after the last one.

    No method raises for a fault of Redis.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        namespace: str,
        model: str,
        dimension: int,
        max_entries: int,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._key = f"sibyl:{namespace}:question:stream"
        self._model = model.encode()
        self._dimension = dimension
        self._max_entries = max_entries
        self._ttl = ttl
        self._clock = clock
        self._now = now
        self._seen = _START
        self._next_look = float("-inf")

    async def tell(self, scope: str, question: str, vector: Vector) -> None:
        """Let the other pods know. Without effect for a question above LONGEST_QUESTION bytes."""
        text = question.encode("utf-8", "replace")
        if len(text) > LONGEST_QUESTION:
            return
        entry: dict[Any, Any] = {
            b"scope": scope.encode(),
            b"question": text,
            b"model": self._model,
            b"vector": vector.astype("<f4").tobytes(),
        }

        async def append(client: Any) -> Any:
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.xadd(self._key, entry, maxlen=self._max_entries, approximate=True)
                # An entry may live a tenth longer than the ttl.
                pipeline.pexpire(self._key, round(self._ttl * 1200))
                return await pipeline.execute()

        with contextlib.suppress(RedisFault):
            await self._server.run(append)

    async def news(self) -> list[Told]:
        """What was told since the last look, BATCH entries of it at most; nothing while a look would be too soon.

        One round trip. Called for each lookup, so that a new pod catches up with its first requests.
        """
        if self._clock() < self._next_look:
            return []
        # Set before the round trip: of requests that arrive together one looks.
        self._next_look = self._clock() + PAUSE
        entries = None
        with contextlib.suppress(RedisFault):
            entries = await self._server.run(self._next_entries)
        if not entries:
            return []
        self._seen = entries[-1][0]
        if len(entries) == BATCH:
            self._next_look = float("-inf")
        return [told for name, fields in entries if (told := self._read(name, fields)) is not None]

    async def _next_entries(self, client: Any) -> list[tuple[bytes, Any]]:
        """Name and fields of each. Raises RedisError for a reply that cannot be one."""
        try:
            reply = await client.xread({self._key: self._seen}, count=BATCH)
            entries = [(name, fields) for _, entries in reply for name, fields in entries]
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise RedisError("an unexpected reply") from error
        if not all(isinstance(name, bytes) and _ID.fullmatch(name) for name, _ in entries):
            raise RedisError("an unexpected reply")
        return entries

    def _read(self, name: bytes, fields: Any) -> Told | None:
        """The entry; None for one that no pod of this version and model would have written."""
        made = _ID.fullmatch(name)
        if made is None or not isinstance(fields, dict) or fields.get(b"model") != self._model:
            return None
        scope, text, numbers = (fields.get(part, b"") for part in (b"scope", b"question", b"vector"))
        if _SCOPE.fullmatch(scope) is None or len(text) > LONGEST_QUESTION or len(numbers) != 4 * self._dimension:
            return None
        try:
            question = text.decode()
        except UnicodeDecodeError:
            return None
        vector = np.frombuffer(numbers, dtype="<f4").astype(np.float32)
        return Told(scope.decode(), question, vector, max(0.0, self._now() - int(made[1]) / 1000))
