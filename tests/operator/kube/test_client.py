"""The client against a server that misbehaves in ways a real API server does only under load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from blockbuster import blockbuster_ctx
from kubernetes.aio.client.configuration import Configuration

from sibyl_operator.kube import Forbidden, Manifest, TooManyRequests, Unauthorized, Unavailable
from sibyl_operator.kube.client import KubeClient, event_manifest
from sibyl_operator.kube.config import KubeconfigError

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Answers each request with the next answer; the last one stays."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, str, str, float]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        self.requests.append((request.method, request.path_qs, request.headers.get("Authorization", ""), now))
        return await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)


def answer(status: int = 200, body: Any = None, **headers: str) -> Answer:
    async def handler(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps({} if body is None else body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, content_type="application/json", headers=names)

    return handler


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def client(server: Server, timeout: float = 5.0) -> KubeClient:
    logins = iter(range(100))

    async def configure() -> Any:
        configuration = Configuration(host=server.url)
        configuration.api_key["BearerToken"] = f"bearer token-{next(logins)}"
        return configuration

    return KubeClient(configure, timeout=timeout)


async def test_a_shedding_server_is_left_alone_by_everybody_for_as_long_as_it_asks(server: Server) -> None:
    server.answers = [answer(429, {"message": "slow down"}, Retry_After="1"), answer(200, {"items": []})]
    async with client(server) as api:
        with pytest.raises(TooManyRequests, match="slow down") as refused:
            await api.get("Pod", "team", "one")
        assert refused.value.retry_after == 1.0
        await asyncio.gather(api.list("Pod", "team"), api.list("Secret", "team"))
    times = [at for *_, at in server.requests]
    assert all(at - times[0] >= 0.99 for at in times[1:])


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (answer(503, {"message": "apiserver is shutting down"}), "shutting down"),
        (answer(502, "<html>bad gateway</html>"), "bad gateway"),
        (answer(500, "[]"), r"\[\]"),
        (hang_up, "GET /api/v1/namespaces/team/pods/one"),
        (hang, "no answer within 0.2 s"),
    ],
)
async def test_a_server_that_fails_is_unavailable_and_says_how(server: Server, handler: Answer, words: str) -> None:
    server.answers = [handler]
    async with client(server, timeout=0.2) as api:
        with pytest.raises(Unavailable, match=words):
            await api.get("Pod", "team", "one")


async def test_a_refused_login_is_tried_anew_with_fresh_credentials(server: Server) -> None:
    server.answers = [answer(401, {"message": "Unauthorized"}), answer(200, {"kind": "Pod"})]
    async with client(server) as api:
        with pytest.raises(Unauthorized):
            await api.get("Pod", "team", "one")
        assert await api.get("Pod", "team", "one") == {"kind": "Pod"}
    assert [token for _, _, token, _ in server.requests] == ["bearer token-0", "bearer token-1"]


async def test_credentials_that_have_vanished_are_a_refused_login(server: Server) -> None:
    found = [True, False]

    async def configure() -> Any:
        if not found.pop(0):
            raise KubeconfigError("the token is gone")
        return Configuration(host=server.url)

    server.answers = [answer(401)]
    async with KubeClient(configure) as api:
        for words in ("401", "the token is gone"):
            with pytest.raises(Unauthorized, match=words):
                await api.get("Pod", "team", "one")


async def test_a_request_names_its_manager_and_asks_for_strictness(server: Server) -> None:
    server.answers = [answer()]
    manifest: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "team"}}
    async with client(server) as api:
        await api.apply(manifest)
        await api.apply(manifest, field_manager="other", force=False)
        await api.list("Pod", None, labels={"b": "2", "a": "1"})
    asked = [path for _, path, _, _ in server.requests]
    assert asked == [
        "/api/v1/namespaces/team/secrets/a?fieldManager=sibyl-operator&force=true&fieldValidation=Strict",
        "/api/v1/namespaces/team/secrets/a?fieldManager=other&force=false&fieldValidation=Strict",
        "/api/v1/pods?limit=500&labelSelector=a%3D1,b%3D2",
    ]


@pytest.mark.parametrize("header", ["soon", "nan", "-1", "Wed, 21 Oct 2030 07:28:00 GMT"])
async def test_a_pause_that_is_no_number_is_no_pause(server: Server, header: str) -> None:
    server.answers = [answer(403, {"message": "no"}, Retry_After=header)]
    async with client(server) as api:
        with pytest.raises(Forbidden) as refused:
            await api.get("Pod", "team", "one")
    assert refused.value.retry_after is None


def test_an_event_fits_what_the_api_allows() -> None:
    involved: Manifest = {
        "apiVersion": "sibyl.dev/v1alpha1",
        "kind": "SibylWorkspace",
        "metadata": {"name": "d" * 253, "namespace": "team", "uid": "u"},
    }
    made = event_manifest(involved, "Normal", "R" * 200, "ä" * 2000, "i" * 200, datetime(2030, 1, 1, tzinfo=UTC))
    assert len(made["note"].encode()) <= 1024
    assert (len(made["reason"]), len(made["reportingInstance"])) == (128, 128)
    assert len(made["metadata"]["name"]) <= 253
    assert made["eventTime"] == "2030-01-01T00:00:00.000000Z"
    assert made["regarding"]["uid"] == "u"


async def test_a_request_blocks_nobody(server: Server) -> None:
    server.answers = [answer(200, {"items": []})]
    async with client(server) as api:
        with blockbuster_ctx():
            await api.list("Pod", "team")
            await api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "team"}})
    assert len(server.requests) == 2
