"""A service is asked patiently while it is busy or away, and no longer than that."""

from __future__ import annotations

import socket

import pytest

from sibyl_runtime.cli.service import PATIENCE, Service, ServiceClient
from sibyl_runtime.errors import (
    DatabaseUnavailable,
    DeadlineExceeded,
    Forbidden,
    InvalidParameters,
    NotFound,
    Overloaded,
    RequestTooLarge,
    SibylError,
    StartupError,
    Unauthorized,
)
from tests.cli.scripted_service import REPORT, Reply, ScriptedService, refusal, scripted_service


class Pauses:
    """A sleep that takes no time, and remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def asked(service: ScriptedService, pauses: Pauses) -> dict[str, object]:
    async with ServiceClient(Service(service.url, None, "X-API-Key"), sleep=pauses) as client:
        return await client.post("/documents", b"{}")


PASSING = [
    (refusal(503, "overloaded", Retry_After="2"), 2.0),
    (refusal(429, "overloaded", Retry_After="7"), 7.0),
    (refusal(503, "database_unavailable", Retry_After="3600"), 15.0),
    (refusal(503, "overloaded", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), 0.5),
    (Reply(502, "<html>Bad Gateway</html>"), 0.5),
    (Reply(drop=True), 0.5),
]


@pytest.mark.parametrize(("reply", "pause"), PASSING, ids=["503", "429", "long", "date", "gateway", "dropped"])
async def test_what_passes_is_asked_again_after_the_pause_that_the_service_wants(reply: Reply, pause: float) -> None:
    pauses = Pauses()
    with scripted_service([reply]) as service:
        assert await asked(service, pauses) == REPORT
    assert len(pauses.seconds) == 1
    assert pause <= pauses.seconds[0] <= 1.25 * pause


LASTING = [
    (refusal(503, "overloaded", "All places are taken."), Overloaded, "All places are taken."),
    (refusal(503, "database_unavailable", "PostgreSQL is away."), DatabaseUnavailable, "PostgreSQL is away."),
    (Reply(502, "<html>"), StartupError, "http://127.0.0.1:{port} answered 502 Bad Gateway"),
]


@pytest.mark.parametrize(("reply", "kind", "message"), LASTING, ids=["full", "database", "gateway"])
async def test_what_lasts_is_told_when_patience_ends(reply: Reply, kind: type[SibylError], message: str) -> None:
    pauses = Pauses()
    with scripted_service([reply] * 100) as service:
        with pytest.raises(kind) as failed:
            await asked(service, pauses)
        assert failed.value.message == message.format(port=service.url.rpartition(":")[2])
    assert sum(pauses.seconds) <= PATIENCE
    assert pauses.seconds[0] < pauses.seconds[3], "pauses grow"


async def test_a_service_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with ServiceClient(Service(url, None, "X-API-Key"), sleep=Pauses()) as client:
        with pytest.raises(StartupError, match=f"cannot reach {url}: .*; is `sibyl serve` running there"):
            await client.get("/documents/settings")


FINAL = [
    (refusal(400, "invalid_parameters", "source: is required"), InvalidParameters, "source: is required"),
    (refusal(401, "unauthorized", "This server needs an API key"), Unauthorized, "This server needs an API key"),
    (refusal(404, "not_found", "There is nothing"), NotFound, "There is nothing"),
    (refusal(413, "request_too_large", "too large"), RequestTooLarge, "too large"),
    (refusal(504, "deadline_exceeded", "too slow"), DeadlineExceeded, "too slow"),
    (refusal(500, "internal_error", "The server failed"), StartupError, "The server failed"),
    (refusal(403, "forbidden", "may not"), Forbidden, "may not"),
    (Reply(403, "<html>"), Forbidden, "answered 403 Forbidden"),
    (Reply(418, "<html>"), StartupError, "answered 418"),
    (Reply(307, "", {"Location": "http://elsewhere/"}), StartupError, "answered 307 Temporary Redirect"),
    (Reply(200, "<html>"), StartupError, "does not answer as a Sibyl server: the reply is no JSON object"),
    (Reply(200, [1]), StartupError, "does not answer as a Sibyl server: the reply is no JSON object"),
]


@pytest.mark.parametrize(("reply", "kind", "message"), FINAL, ids=lambda value: str(value)[:30])
async def test_what_would_not_change_is_not_asked_again(reply: Reply, kind: type[SibylError], message: str) -> None:
    pauses = Pauses()
    with scripted_service([reply]) as service, pytest.raises(kind) as failed:
        await asked(service, pauses)
    assert message in failed.value.message
    assert pauses.seconds == []


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(InvalidParameters) as refused:
        ServiceClient(Service("localhost:8000", None, "X-API-Key"))
    assert refused.value.message == '"localhost:8000" is not the address of a server; write http://HOST:PORT'
