"""API keys: those of the document, and those of a file that changes while the server runs.

Keys are held as sha256 digests. A key is long and random, so a fast digest keeps it: there is no dictionary of keys to
try, as there is one of passwords, and a slow one would let strangers keep the processor busy.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Scope

from sibyl_runtime.errors import StartupError, Unauthorized
from sibyl_runtime.server.protection.callers import Caller
from sibyl_runtime.server.request import header
from sibyl_runtime.workspace import Authentication, KeyMetadata, is_key_digest

logger = logging.getLogger("sibyl.server")
LOOK_SECONDS = 1.0
"""How often the file is looked at: the longest that a key which was taken out of it goes on working."""
LONGEST_FILE = 1 << 20
_SHOWN_DIGITS = 12
_EMPTY = hashlib.sha256(b"").digest()


class KeyFileInvalid(Exception):
    """The file cannot be read, or holds a line that is no key."""


@dataclass(frozen=True)
class KnownKey:
    """One key that is let in, and its holder."""

    digest: bytes
    caller: Caller


def document_keys(authentication: Authentication, written: list[str]) -> tuple[KnownKey, ...]:
    """The keys of `mcp.authentication.keys`; `written` is the same list with its references in place.

    Raises StartupError for a key that would let everybody in.
    """
    keys = []
    for key, reference in zip(authentication.keys, written, strict=True):
        digest = bytes.fromhex(key.partition(":")[2]) if is_key_digest(key) else _digest(key.encode())
        keys.append(_known(digest, authentication.key_metadata.get(reference), None))
    if any(known.digest == _EMPTY for known in keys):
        raise StartupError(
            "mcp.authentication.keys: an empty key would let everybody in. "
            "Give each key a value, or remove mcp.authentication to serve without keys."
        )
    return tuple(keys)


def file_keys(text: str, metadata: Mapping[str, KeyMetadata]) -> tuple[KnownKey, ...]:
    """The keys of a file: `sha256:...` and a name on each line, # starts a comment. Raises KeyFileInvalid."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if not is_key_digest(words[0]) or len(words) > 2 or words[0] == f"sha256:{_EMPTY.hex()}":
            raise KeyFileInvalid(f"line {number} must be a digest as `sibyl key new` prints it, and a name of one word")
        name = words[1] if len(words) > 1 else None
        keys.append(_known(bytes.fromhex(words[0].partition(":")[2]), metadata.get(name or ""), name))
    return tuple(keys)


def _known(digest: bytes, metadata: KeyMetadata | None, name: str | None) -> KnownKey:
    identity = f"key:{digest.hex()[:_SHOWN_DIGITS]}"
    if metadata is None:
        return KnownKey(digest, Caller(identity, name))
    caller = Caller(identity, metadata.name or name, tuple(metadata.permissions), metadata.rate_limit)
    return KnownKey(digest, caller)


class KeyFile:
    """A file of keys that is read again when it changed; one that cannot be read then leaves the keys as they were."""

    def __init__(self, path: Path, metadata: Mapping[str, KeyMetadata], clock: Callable[[], float]) -> None:
        """Raises StartupError when the file cannot be read, or holds a line that is no key."""
        self._path = path
        self._metadata = metadata
        self._clock = clock
        self._state: object = None
        self.keys: tuple[KnownKey, ...] = ()
        try:
            self._read()
        except KeyFileInvalid as error:
            raise StartupError(f"mcp.authentication.keys_file: {path}: {error}") from None
        self._looked = clock()

    async def look(self) -> None:
        """Read the file again when it is time to look, and it changed."""
        if self._clock() - self._looked < LOOK_SECONDS:
            return
        self._looked = self._clock()
        try:
            if await asyncio.to_thread(self._read):
                logger.info("API keys read again", extra={"fields": {"file": str(self._path), "keys": len(self.keys)}})
        except KeyFileInvalid as error:
            logger.error("%s: %s; the keys that were read before stay in force", self._path, error)

    def _read(self) -> bool:
        try:
            state = os.stat(self._path)
            # A Secret's volume swaps a link, so the file is another one; an editor writes the same one anew.
            now = (state.st_mtime_ns, state.st_ino, state.st_size)
            if now == self._state:
                return False
            self._state = now
            if state.st_size > LONGEST_FILE:
                raise KeyFileInvalid(f"holds {state.st_size:,} bytes; at most {LONGEST_FILE:,} are read")
            text = self._path.read_text(encoding="utf-8")
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            if self._state == reason:
                return False  # told already: once a second would fill the log
            self._state = reason
            raise KeyFileInvalid(reason) from None
        except UnicodeDecodeError:
            raise KeyFileInvalid("is not UTF-8 text") from None
        self.keys = file_keys(text, self._metadata)
        return True


class ApiKeys:
    """Tells callers by the key in a header. `header_name` as the workspace writes it."""

    def __init__(self, header_name: str, keys: tuple[KnownKey, ...], file: KeyFile | None = None) -> None:
        """Raises StartupError when there is no key at all."""
        self.header_name = header_name
        self._header = header_name.lower().encode("latin-1")
        self._keys = keys
        self._file = file
        if not keys and (file is None or not file.keys):
            raise StartupError(
                "mcp.authentication: there is no key, so nobody could call. Add one to keys or to the file of "
                "keys_file (`sibyl key new` makes one), or remove mcp.authentication to serve without keys."
            )

    @property
    def challenge(self) -> str:
        """Which header to send."""
        return f'ApiKey header="{self.header_name}"'

    async def identify(self, scope: Scope) -> Caller:
        """The holder of the key. Raises Unauthorized."""
        if self._file is not None:
            await self._file.look()
        return self.holder(header(scope, self._header))

    async def close(self) -> None:
        """Nothing is open."""

    def holder(self, presented: bytes | None) -> Caller:
        """The same, of a key. Takes the same time whichever key matches, and however much of one."""
        if presented is None:
            raise Unauthorized(f"This server needs an API key: send it in the header {self.header_name}.")
        digest = _digest(presented)
        found: Caller | None = None
        for known in (*self._keys, *(self._file.keys if self._file is not None else ())):
            if hmac.compare_digest(digest, known.digest):
                found = known.caller
        if found is None:
            raise Unauthorized("The API key that was sent is not one that this server knows.")
        return found


def api_keys(
    authentication: Authentication, written: list[str], clock: Callable[[], float] = time.monotonic
) -> ApiKeys:
    """The keys of a workspace. `written`: `keys` with its references in place. Raises StartupError."""
    path = authentication.keys_file
    file = KeyFile(Path(path), authentication.key_metadata, clock) if path is not None else None
    return ApiKeys(authentication.header, document_keys(authentication, written), file)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
