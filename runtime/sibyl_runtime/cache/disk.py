"""The cache level that survives a restart: one SQLite file for all kinds, never larger than it may be.

A disk that is full, slow or broken is a miss, never an error; a file that is no database any more is begun anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.protocol import Jitter, LevelStats, spread
from sibyl_runtime.errors import StartupError

logger = logging.getLogger(__name__)

FILE_NAME: Final = "sibyl-cache.sqlite3"
TIMEOUT: Final = 0.25
PLACE: Final = "shops.infrastructure.config.caching.disk"
_PAGE: Final = 4096
# The journal that stands beside the file is written back at this many pages, and so stays below about 4 MB.
_JOURNAL_PAGES: Final = 1000
# Entries make room before the file is full, so that a write needs no second try.
_FULLEST: Final = 0.9
_ROOM: Final = 0.1
# Reading moves an entry to the end of the line at most this often: a read is not a write.
_USED_STEP: Final = 60.0
_SEAL_BYTES: Final = 16
_BUSY_SECONDS: Final = 0.2

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL, used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON entries (used);
CREATE INDEX IF NOT EXISTS by_end ON entries (expires);
"""


class DiskFile:
    """One file of entries in a directory, for every kind of entry of a process; several processes may share it.

    All methods but `run` are called by its one thread. `max_bytes` bounds the file and its journal together.
    """

    def __init__(self, directory: Path, *, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        """Raises StartupError for a directory that cannot be made or written."""
        self._path = directory / FILE_NAME
        self._pages = max(max_bytes // _PAGE - _JOURNAL_PAGES, _JOURNAL_PAGES)
        self._clock = clock
        self._breaker = CircuitBreaker()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-disk")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = self._thread.submit(self._opened).result()
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown()
            raise StartupError(
                f"`{PLACE}.path` is {directory}, where nothing can be written ({error}); name a directory that "
                "this process may write to"
            ) from error

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """The result of `work` in the thread of the file; None, and a warning, for a fault of the disk."""
        if not self._breaker.allows():
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                result = await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            if self._breaker.failure():
                reason = " ".join(str(error).split()) or f"no answer within {TIMEOUT * 1000:.0f} ms"
                logger.warning("the cache in %s is bypassed: %s", self._path.parent, reason)
            raise CacheFault from error
        if self._breaker.success():
            logger.info("the cache in %s is in use again", self._path.parent)
        return result

    def read(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        """The value that was kept whole and has not ended."""
        now = self._clock()
        row = connection.execute(
            "SELECT CAST(value AS BLOB), expires, used FROM entries WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        value = _unsealed(key, row[0])
        if value is None or row[1] <= now:
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            return None
        if now - row[2] > _USED_STEP:
            connection.execute("UPDATE entries SET used = ? WHERE key = ?", (now, key))
        return value

    def write(self, connection: sqlite3.Connection, key: str, value: bytes, life: float) -> None:
        """Keep the value for `life` seconds. What has ended makes room, then what was unused longest."""
        now = self._clock()
        if len(value) > self._pages * _PAGE * _ROOM:
            return
        if self._filled(connection) > _FULLEST:
            connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
        while self._filled(connection) > _FULLEST:
            least_used = "SELECT key FROM entries ORDER BY used LIMIT max(1, (SELECT count(*) FROM entries) / 10)"
            if not connection.execute(f"DELETE FROM entries WHERE key IN ({least_used})").rowcount:
                break
        connection.execute(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (key, _seal(key, value) + value, now + life, now)
        )

    async def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            return self._begun_anew(error)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            # A cache may lose its last entries with the power, never its form.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_PAGES * _PAGE}")
            connection.executescript(_SCHEMA)
            self._shrunk(connection)
            connection.execute(f"PRAGMA max_page_count = {self._pages}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _shrunk(self, connection: sqlite3.Connection) -> None:
        """A file that is larger than it may be now is begun anew: it is a cache."""
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if pages > self._pages:
            connection.execute("DELETE FROM entries")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _begun_anew(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        logger.warning("the cache file %s is broken and begun anew: %s", self._path, error)
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return self._connected()

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._connection.close()
            self._connection = self._begun_anew(error)
            raise

    def _filled(self, connection: sqlite3.Connection) -> float:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        return float(pages - free) / self._pages


class CacheFault(Exception):
    """The disk did not do what it was asked: a miss."""


class DiskCache:
    """The entries of one kind in a file, each for about `ttl` seconds. `prefix` keeps kinds and workspaces apart."""

    def __init__(self, file: DiskFile, *, namespace: str, kind: str, ttl: float, jitter: Jitter = spread) -> None:
        self._file = file
        self._prefix = f"{namespace}:{kind}:"
        self._ttl = ttl
        self._jitter = jitter
        self._hits = 0
        self._misses = 0
        self._errors = 0

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        value = await self._attempt(lambda connection: self._file.read(connection, self._prefix + key))
        if value is None:
            self._misses += 1
        else:
            self._hits += 1
        return value

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value."""
        life = self._jitter(self._ttl)
        await self._attempt(lambda connection: self._file.write(connection, self._prefix + key, value, life))

    def stats(self) -> dict[str, LevelStats]:
        """Counts of this level, as this process saw them."""
        return {"disk": LevelStats(self._hits, self._misses, errors=self._errors)}

    async def close(self) -> None:
        """The file is closed by who opened it."""

    async def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return await self._file.run(work)
        except CacheFault:
            self._errors += 1
            return None


def _seal(key: str, value: bytes) -> bytes:
    """Ties a value to its key, whole: what lies on a disk may be cut off or somebody else's."""
    return hashlib.blake2b(key.encode() + b"\0" + value, digest_size=_SEAL_BYTES).digest()


def _unsealed(key: str, stored: bytes) -> bytes | None:
    value = bytes(stored[_SEAL_BYTES:])
    return value if hmac.compare_digest(bytes(stored[:_SEAL_BYTES]), _seal(key, value)) else None
