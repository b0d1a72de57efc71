"""The cache level that survives a restart: one SQLite file for all kinds of entries, never larger than it may be.

A disk that is full, slow, read-only or broken is a miss, never an error, and is told: once in the log, and by the
health. While nothing can be written, what lies there is still read. A file that is broken is begun anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.disk_entries import LARGEST, PAGE, RESERVE, Entries, WrongForm
from sibyl_runtime.cache.protocol import Jitter, LevelStats, spread
from sibyl_runtime.cache.seal import sealed, unsealed
from sibyl_runtime.errors import StartupError

logger = logging.getLogger(__name__)

FILE_NAME: Final = "sibyl-cache.sqlite3"
TIMEOUT: Final = 0.25
PLACE: Final = "shops.infrastructure.config.caching.disk"
_BUSY_SECONDS: Final = 0.2
_LOCK_PAUSE: Final = 0.01
_CLOSING_SECONDS: Final = 2.0
_READING: Final = "reading"
_WRITING: Final = "writing"
# SQLite's primary codes: of a file that is broken; of a place that was configured wrongly; of a file that is well.
# Every statement is ours, so that one which is wrong (SQLITE_ERROR) tells of tables that are not.
_BROKEN: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
    }
)
_WRONG_PLACE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)
_STILL_OPEN: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
)

T = TypeVar("T")


class DiskFault(Exception):
    """The disk did not do what it was asked: a miss."""


class DiskFile:
    """One file of entries in a directory, for every kind of entry of a process; several processes may share it.

    `max_bytes` bounds the file and its journal together; where processes differ, each keeps to its own.
    """

    def __init__(self, directory: Path, *, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        """Raises StartupError for a directory that cannot be made or written. A disk that is full is none."""
        self._path = directory / FILE_NAME
        self._pages = max((max_bytes - RESERVE) // PAGE, 500)
        self.largest = min(LARGEST, self._pages * PAGE // 8)
        """Bytes of the largest value that is kept."""
        self._max_bytes = max_bytes
        self._clock = clock
        self._breakers = {_READING: CircuitBreaker(), _WRITING: CircuitBreaker()}
        self._faults: dict[str, str] = {}
        self._entries: Entries | None = None
        self._identity: tuple[int, int] | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-disk")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError("it is read-only here")
            self._thread.submit(self._guarded, lambda entries: None).result()
        except (OSError, sqlite3.Error) as error:
            if _is_of_the_moment(error):
                self._failed(_WRITING, error)
                return
            self._thread.shutdown()
            raise StartupError(
                f"`{PLACE}.path` is {directory}, where nothing can be written ({error}); name a directory that "
                "this process may write to"
            ) from error

    async def read(self, work: Callable[[Entries], T]) -> T | None:
        """The result of `work` in the thread of the file; None while the disk is left alone. Raises DiskFault."""
        return await self._run(_READING, work)

    async def write(self, work: Callable[[Entries], T]) -> T | None:
        """As `read`, for what changes the file."""
        return await self._run(_WRITING, work)

    async def remarks(self) -> Mapping[str, Any]:
        """For the health: the bytes that the file takes, of how many; `error` where the disk is not in full use."""
        size: int | None = None
        with contextlib.suppress(DiskFault):
            size = await self.read(lambda _: self._taken())
            if not self._breakers[_WRITING].closed:
                await self.write(Entries.try_out)
        told = {"size_bytes": size, "max_size_bytes": self._max_bytes}
        fault = self._faults.get(_READING) or self._faults.get(_WRITING)
        return told if fault is None else {**told, "error": f"the cache on disk is not in full use: {fault}"}

    async def close(self) -> None:
        """Close the file. A disk that hangs is not waited for."""
        self._closed = True
        with contextlib.suppress(TimeoutError, RuntimeError, sqlite3.Error):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
        self._thread.shutdown(wait=False)

    async def _run(self, what: str, work: Callable[[Entries], T]) -> T | None:
        breaker = self._breakers[what]
        if self._closed or not breaker.allows():
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                result = await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            self._failed(what, error)
            raise DiskFault from error
        if breaker.success():
            self._faults.pop(what, None)
            logger.info("%s the cache in %s works again", what, self._path.parent)
        return result

    def _failed(self, what: str, error: Exception) -> None:
        reason = " ".join(str(error).split()) or f"no answer within {TIMEOUT * 1000:.0f} ms"
        self._faults[what] = reason
        if self._breakers[what].failure():
            logger.warning("%s the cache in %s fails, it is passed by: %s", what, self._path.parent, reason)

    def _guarded(self, work: Callable[[Entries], T]) -> T:
        try:
            return self._worked(work)
        except sqlite3.DatabaseError as error:
            if not _broken(error):
                raise
            self._begin_anew(error)
            return self._worked(work)

    def _worked(self, work: Callable[[Entries], T]) -> T:
        try:
            return work(self._open())
        except (TypeError, ValueError) as error:
            # Of columns that hold what they cannot hold, and of messages of SQLite that quote a broken file.
            raise WrongForm(f"it holds what was never written: {error}") from error
        except (sqlite3.Error, OSError) as error:
            # Whatever state the connection is in, the next one begins afresh.
            if _code(error) not in _STILL_OPEN:
                self._let_go()
            raise

    def _open(self) -> Entries:
        """The entries of the file that lies there now: it may have been removed, or begun anew by another process."""
        if self._entries is None or self._identity != _identity(self._path):
            self._let_go()
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                self._entries = self._connected()
        return self._entries

    def _connected(self) -> Entries:
        # Made by us, so that nobody else may read it; SQLite gives what stands beside it the same permissions.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._identity = _identity(self._path)
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            return Entries(connection, pages=self._pages, journal_bytes=self._journal_bytes, clock=self._clock)
        except BaseException:
            connection.close()
            raise

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Remove the file, unless another process has done so."""
        broken = self._identity
        self._let_go()
        with self._alone():
            if _identity(self._path) == broken:
                logger.warning("the cache file %s is begun anew: %s", self._path, error)
                for path in (self._path, *self._beside()):
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process opens or removes the file meanwhile."""
        lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            self._take_turn(lock)
            yield
        finally:
            os.close(lock)

    def _take_turn(self, lock: int) -> None:
        """Raises TimeoutError: whoever has the lock may hang, and a wait for it could not be ended."""
        ends = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= ends:
                    raise TimeoutError(f"another process holds {self._path.with_suffix('.lock').name}") from None
                time.sleep(_LOCK_PAUSE)

    def _let_go(self) -> None:
        entries, self._entries = self._entries, None
        if entries is not None:
            entries.close()

    def _journal_bytes(self) -> int:
        try:
            return self._beside()[0].stat().st_size
        except FileNotFoundError:
            return 0

    def _beside(self) -> tuple[Path, Path]:
        return self._path.with_name(f"{FILE_NAME}-wal"), self._path.with_name(f"{FILE_NAME}-shm")

    def _taken(self) -> int:
        sizes = 0
        for path in (self._path, *self._beside()):
            with contextlib.suppress(OSError):
                sizes += path.stat().st_blocks * 512
        return sizes


class DiskCache:
    """The entries of one kind in a file, each for about `ttl` seconds; other kinds and workspaces are apart."""

    def __init__(self, file: DiskFile, *, namespace: str, kind: str, ttl: float, jitter: Jitter = spread) -> None:
        self.file = file
        self._owner = orjson.dumps([namespace, kind]).decode()
        self._ttl = ttl
        self._jitter = jitter
        self._hits = 0
        self._misses = 0
        self._errors = 0
        self._totals: tuple[int, int] | None = None
        self._evictions = 0

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        place = self._place(key)
        stored, self._totals = await self._attempt(
            self.file.read(lambda entries: (entries.find(place), entries.totals(self._owner)))
        ) or (None, self._totals)
        value = None if stored is None else unsealed(place, stored)
        if stored is not None and value is None:
            await self._attempt(self.file.write(lambda entries: entries.drop(place)))
        if value is None:
            self._misses += 1
        else:
            self._hits += 1
        return value

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value, if it is not larger than what the file takes."""
        place, life = self._place(key), self._jitter(self._ttl)
        stored = sealed(place, value)
        if len(stored) > self.file.largest:
            return

        def kept(entries: Entries) -> tuple[Counter[str], tuple[int, int]]:
            return entries.keep(place, self._owner, stored, life), entries.totals(self._owner)

        done = await self._attempt(self.file.write(kept))
        if done is not None:
            # Of this kind and by this process: what others remove is counted there.
            self._evictions += done[0][self._owner]
            self._totals = done[1]

    def stats(self) -> dict[str, LevelStats]:
        """Counts of this level as this process saw them; entries and bytes as of its last look at the file."""
        entries, size = self._totals or (None, None)
        return {
            "disk": LevelStats(
                self._hits, self._misses, entries, errors=self._errors, size_bytes=size, evictions=self._evictions
            )
        }

    async def close(self) -> None:
        """The file is closed by who opened it."""

    def _place(self, key: str) -> bytes:
        return hashlib.sha256(orjson.dumps([self._owner, key])).digest()

    async def _attempt(self, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except DiskFault:
            self._errors += 1
            return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: BaseException) -> int:
    """SQLite's primary code; -1 for an error that is not SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF


def _is_of_the_moment(error: OSError | sqlite3.Error) -> bool:
    """A disk that is full, or a file that another process holds: nothing to end a start for."""
    if isinstance(error, sqlite3.Error):
        return _code(error) not in _WRONG_PLACE
    return isinstance(error, TimeoutError) or error.errno in (errno.ENOSPC, errno.EDQUOT)


def _broken(error: sqlite3.DatabaseError) -> bool:
    return isinstance(error, WrongForm) or _code(error) in _BROKEN
