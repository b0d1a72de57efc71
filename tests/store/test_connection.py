"""A database that is not there yet is waited for, as long as was asked for."""

from __future__ import annotations

import asyncio

import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.connection import await_server
from sibyl_runtime.store.failures import endpoint_of
from tests.support.builtin_database import servers


async def test_a_server_that_comes_up_meanwhile_is_connected_to(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with servers() as place:
        server = place.primary()
        dsn = server.dsn("sibyl", "first-app", "sibyl")
        waiting = asyncio.create_task(await_server(dsn, endpoint_of(dsn), 60))
        await asyncio.to_thread(server.prepare, "prepare-primary.sh")
        await asyncio.to_thread(server.serve)
        connection = await waiting
        assert (await (await connection.execute("SELECT current_user")).fetchone()) == ("sibyl",)
        await connection.close()
    assert "waiting for the database: cannot connect to PostgreSQL at host 127.0.0.1" in caplog.text
    assert "first-app" not in caplog.text


@pytest.mark.parametrize("wait", [0.0, 0.1])
async def test_who_does_not_wait_is_told_at_once(wait: float) -> None:
    dsn = "postgresql://sibyl:secret-word@127.0.0.1:1/sibyl"
    with pytest.raises(StartupError, match=r"cannot connect to .* host 127\.0\.0\.1, port 1,") as refused:
        await await_server(dsn, endpoint_of(dsn), wait)
    assert "secret-word" not in refused.value.message
