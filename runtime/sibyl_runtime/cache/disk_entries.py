"""What is asked of the SQLite file of the disk level. No I/O but the connection's, and no thread of its own."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PAGE: Final = 4096
JOURNAL_PAGES: Final = 500
"""The journal is written back to the file from this length on."""
RESERVE: Final = 6_500_000
"""Bytes that the journal and its index may take beside the file."""
LARGEST: Final = 2**20
"""Bytes of the largest value that is kept: one change must not outgrow the journal."""
# Where the journal is longer, nothing is added until it has been written back. A change adds 3.4 MB at most: the value,
# four pages for each entry that goes, three for each use.
_LONGEST_JOURNAL: Final = 3_000_000

_FORM: Final = 1
# What one change may do to other entries, so that it stays short: remove those that have ended; those unused longest, a
# few and then more of them; and write down uses.
_ENDED: Final = 8
_UNUSED: Final = (1, 2, 4, 8, 16, 32, 64)
_USES: Final = 32
# A use is written down at most this often for each entry, in seconds, and with the next change: reading never writes.
_USED_STEP: Final = 60.0
_MOST_UNWRITTEN: Final = 1000
# Pages beside those of the value itself: of the indexes, and of pages that are split.
_MARGIN: Final = 64

# `value` comes last: what stands before it is read without it. Figures are kept by triggers, as counting takes long.
_TABLES: Final = """
CREATE TABLE owners (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    entries INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, owner INTEGER NOT NULL, size INTEGER NOT NULL,
    expires REAL NOT NULL, used REAL NOT NULL, value BLOB NOT NULL
);
CREATE INDEX by_use ON entries (used);
CREATE INDEX by_end ON entries (expires);
CREATE TRIGGER kept AFTER INSERT ON entries BEGIN
    UPDATE owners SET entries = entries + 1, bytes = bytes + NEW.size WHERE id = NEW.owner;
END;
CREATE TRIGGER gone AFTER DELETE ON entries BEGIN
    UPDATE owners SET entries = entries - 1, bytes = bytes - OLD.size WHERE id = OLD.owner;
END;
"""


class WrongForm(sqlite3.DatabaseError):
    """The file is broken, was made by another version, or is larger than it may be now."""


class Entries:
    """The entries in one open database that has at most `pages` pages. Every method raises sqlite3.Error."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        pages: int,
        journal_bytes: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        """Makes the tables in a new file. `journal_bytes` tells the size of the journal's file. Raises WrongForm."""
        self._connection = connection
        self._pages = pages
        self._journal_bytes = journal_bytes
        self._clock = clock
        self._used: dict[bytes, float] = {}
        for setting in (
            f"page_size = {PAGE}",
            "journal_mode = WAL",
            # The last entries may be lost with the power, the file never.
            "synchronous = NORMAL",
            f"wal_autocheckpoint = {JOURNAL_PAGES}",
            f"journal_size_limit = {JOURNAL_PAGES * PAGE}",
            # Some builds overwrite whatever is deleted, which makes room for nothing and fills the journal.
            "secure_delete = FAST",
        ):
            connection.execute(f"PRAGMA {setting}")
        form = self._figure("user_version")
        if form not in (0, _FORM) or self._figure("page_size") != PAGE or self._figure("page_count") > pages:
            raise WrongForm("it was made by another version, or is larger than max_size_gb")
        if form == 0:
            self._make_tables()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def find(self, key: bytes) -> bytes | None:
        """The value that has not ended. Writes nothing, so that a disk that is full, or busy, can still be read."""
        now = self._clock()
        # Cast: in a file that somebody else has changed, anything may stand in any column.
        row = self._connection.execute(
            "SELECT CAST(expires AS REAL), CAST(used AS REAL), CAST(value AS BLOB) FROM entries WHERE key = ?", (key,)
        ).fetchone()
        if row is None or row[0] <= now:
            return None
        if now - row[1] > _USED_STEP and len(self._used) < _MOST_UNWRITTEN:
            self._used[key] = now
        return bytes(row[2] or b"")

    def keep(self, key: bytes, owner: str, value: bytes, life: float) -> Counter[str]:
        """Keep a value for `life` seconds, if there is room. Returns how many others made room, by owner."""
        if self._journal_bytes() > _LONGEST_JOURNAL:
            # Another process that reads, or writes, has kept SQLite from beginning the journal again from its start.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        now = self._clock()
        evicted: Counter[str] = Counter()
        wanted = len(value) // PAGE + _MARGIN
        uses = list(self._used.items())[:_USES]
        with self._change():
            # Nobody else adds to it from here on.
            if self._journal_bytes() > _LONGEST_JOURNAL:
                return evicted
            self._connection.executemany("UPDATE entries SET used = ? WHERE key = ?", [(at, used) for used, at in uses])
            self._remove("expires <= ? ORDER BY expires", _ENDED, now)
            self._connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            evicted = self._make_room(wanted)
            if self._room() >= wanted:
                self._insert(key, owner, value, now + life, now)
        for used, _ in uses:
            del self._used[used]
        return evicted

    def _insert(self, key: bytes, owner: str, value: bytes, expires: float, used: float) -> None:
        self._connection.execute("INSERT OR IGNORE INTO owners (name) VALUES (?)", (owner,))
        self._connection.execute(
            "INSERT INTO entries (key, owner, size, expires, used, value) "
            "SELECT ?, id, ?, ?, ?, ? FROM owners WHERE name = ?",
            (key, len(value), expires, used, value, owner),
        )

    def drop(self, key: bytes) -> None:
        """Remove a value that is not what was kept."""
        self._connection.execute("DELETE FROM entries WHERE key = ?", (key,))

    def totals(self, owner: str) -> tuple[int, int]:
        """Entries of the owner, and the bytes of their values; those that have ended count until they are removed."""
        row = self._connection.execute(
            "SELECT CAST(entries AS INTEGER), CAST(bytes AS INTEGER) FROM owners WHERE name = ?", (owner,)
        ).fetchone()
        return (0, 0) if row is None else (row[0], row[1])

    def try_out(self) -> None:
        """Write what is there already."""
        with self._change():
            self._connection.execute(f"PRAGMA user_version = {_FORM}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _make_tables(self) -> None:
        with self._change():
            # Another process may have made them while this one waited.
            if self._figure("user_version") == 0:
                if self._figure("page_count") > 1:
                    raise WrongForm("it was made by another program")
                for statement in _statements(_TABLES):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_FORM}")

    def _make_room(self, wanted: int) -> Counter[str]:
        """Remove others for so many pages, or as many as may go at once: the rest goes with the next changes."""
        evicted: Counter[str] = Counter()
        for most in _UNUSED:
            if self._room() >= wanted:
                break
            evicted += self._remove("TRUE ORDER BY used", most)
        return evicted

    def _room(self) -> int:
        return self._pages - self._figure("page_count") + self._figure("freelist_count")

    def _remove(self, which: str, most: int, *values: float) -> Counter[str]:
        rows = self._connection.execute(
            f"DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE {which} LIMIT {most}) "
            "RETURNING (SELECT CAST(name AS BLOB) FROM owners WHERE owners.id = entries.owner)",
            values,
        )
        return Counter(bytes(name or b"").decode(errors="replace") for (name,) in rows.fetchall())

    def _figure(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    @contextmanager
    def _change(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> Iterator[str]:
    """The statements one by one: `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
