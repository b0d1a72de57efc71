"""The last refused write: remembered until one succeeds, wherever."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sibyl_runtime.errors import DatabaseUnavailable
from sibyl_runtime.store.writes import Writes

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
FULL = DatabaseUnavailable("the volume is full", details={"sqlstate": "53100"})
AWAY = DatabaseUnavailable("the connection was lost", details={"stage": "storing documents"})


def failed(writes: Writes, error: Exception) -> None:
    with pytest.raises(type(error)), writes.watched():
        raise error


def test_a_refused_write_is_remembered_with_when_and_why_until_one_succeeds() -> None:
    writes = Writes(clock=lambda: NOON)
    assert writes.remarks() == {}
    failed(writes, FULL)
    assert writes.remarks() == {
        "last_failed_write": {"at": "2030-01-01T12:00:00+00:00", "error": "the volume is full", "sqlstate": "53100"}
    }
    with writes.watched():
        pass
    assert writes.remarks() == {}


def test_what_another_process_stored_counts_as_well() -> None:
    writes = Writes(clock=lambda: NOON)
    writes.saw(2)
    failed(writes, FULL)
    # Others had moved it on before: that is no success since.
    writes.saw(4)
    writes.saw(4)
    assert writes.remarks()
    writes.saw(5)
    assert writes.remarks() == {}


@pytest.mark.parametrize("error", [AWAY, ValueError("a document that cannot be stored")])
def test_only_a_refusal_of_the_server_is_remembered(error: Exception) -> None:
    writes = Writes(clock=lambda: NOON)
    failed(writes, error)
    assert writes.remarks() == {}
