"""The observer against real HTTP servers and, where no database listens, a real refused connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from sibyl_operator.observe import Observer
from sibyl_operator.observe.pods import Answers, pod_facts
from sibyl_operator.observed import DatabaseFacts, TargetFacts
from sibyl_runtime.workspace import Kpi

METRICS = """# TYPE sibyl_mcp_tool_duration_seconds histogram
sibyl_mcp_tool_duration_seconds_bucket{tool="s",le="1.0"} %d
sibyl_mcp_tool_duration_seconds_bucket{tool="s",le="+Inf"} %d
# TYPE sibyl_mcp_tool_calls_total counter
sibyl_mcp_tool_calls_total{tool="s",status="success"} %d
"""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def runtime(calls: list[int], *, hang: bool = False, config: Handler | None = None) -> AsyncIterator[int]:
    async def metrics(_: web.Request) -> web.Response:
        if hang:
            await asyncio.Event().wait()
        now = calls.pop(0) if len(calls) > 1 else calls[0]
        return web.Response(text=METRICS % (now, now, now))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/config", config or _answer({"hash": "v1-abc"}))
    app.router.add_get("/secret", _answer({"hash": "secret"}))
    app.router.add_get("/health", _answer({"status": "healthy"}))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(body: object) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body)

    return handler


def pod(port: int, *, ready: bool = True, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "docs-1", "uid": "u1", "annotations": {"sibyl.dev/config-hash": "v1-new"}},
        "spec": {"containers": [{"name": "runtime", "ports": [{"name": "metrics", "containerPort": port}]}]},
        "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": str(ready)}], **status},
    }


async def test_a_pod_is_asked_what_it_loaded_and_what_it_counted() -> None:
    now, wanted = [1000.0], [Kpi(name="requests_per_second", target=2.0)]
    async with runtime([10, 40]) as port, Observer(wall_clock=lambda: now[0]) as observer:
        await observer.pods("ns", "docs", [pod(port)])
        observer.kpis("ns", "docs", wanted)
        now[0] += 10
        (facts,) = await observer.pods("ns", "docs", [pod(port)])
        kpis = observer.kpis("ns", "docs", wanted)
    assert (facts.loaded_hash, facts.template_hash, facts.ready, facts.error) == ("v1-abc", "v1-new", True, None)
    assert kpis is not None
    assert kpis.targets == (TargetFacts("requests_per_second", 2.0, 3.0, True),)
    assert (kpis.requests_per_second, kpis.pods_scraped, kpis.pods_expected) == (3.0, 1, 1)


async def _elsewhere(_: web.Request) -> web.Response:
    raise web.HTTPFound("/secret")


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b" " * 65536)
    return response


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (_endless, "its answer is larger than 4194304 bytes"),
        (_answer([1]), "its answer is no JSON object"),
        (_answer("text"), "its answer is no JSON object"),
        (_elsewhere, "Extra data: line 1 column 4 (char 3)"),
    ],
    ids=["endless", "list", "text", "redirect"],
)
async def test_a_pod_may_be_anything_and_harms_only_itself(config: Handler, error: str) -> None:
    async with runtime([1], config=config) as port, Observer() as observer:
        (facts,) = await observer.pods("ns", "docs", [pod(port)])
    assert facts.error == f"http://127.0.0.1:{port} does not answer: {error}"
    assert facts.loaded_hash is None


@pytest.mark.parametrize("hash_", [["v1"], "v" * 65, 7])
async def test_what_is_no_hash_is_not_shown(hash_: object) -> None:
    async with runtime([1], config=_answer({"hash": hash_})) as port, Observer() as observer:
        (facts,) = await observer.pods("ns", "docs", [pod(port)])
    assert (facts.loaded_hash, facts.error) == (None, None)


async def test_a_pod_that_hangs_is_named_and_holds_nobody_up() -> None:
    async with runtime([1], hang=True) as port, Observer(pod_timeout=0.2) as observer:
        async with asyncio.timeout(5):
            (facts,) = await observer.pods("ns", "docs", [pod(port)])
    assert facts.error == f"http://127.0.0.1:{port} does not answer: TimeoutError"
    assert facts.loaded_hash == "v1-abc"


async def test_why_a_pod_cannot_start_is_kept() -> None:
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, "restartCount": 2}
    body = pod(1, ready=False, podIP=None, containerStatuses=[waiting])
    async with Observer() as observer:
        (facts,) = await observer.pods("ns", "docs", [body])
    assert (facts.waiting_reason, facts.waiting_message, facts.restarts) == ("ErrImagePull", "no such image", 2)
    assert facts.error == "it has no address yet"


async def test_what_a_container_said_before_it_ended_is_kept() -> None:
    ended = {"terminated": {"exitCode": 3, "message": "loading\nthe model `x` was not found\n"}}
    body = pod(1, ready=False, podIP=None, containerStatuses=[{"lastState": ended, "restartCount": 4}])
    async with Observer() as observer:
        (facts,) = await observer.pods("ns", "docs", [body])
    assert (facts.last_words, facts.restarts, facts.waiting_reason) == ("the model `x` was not found", 4, None)


DONE = {"name": "prepare", "state": {"terminated": {"exitCode": 0}}, "restartCount": 2}
CRASHING = {
    "name": "prepare",
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
    "lastState": {"terminated": {"exitCode": 1, "message": "the volume is full"}},
    "restartCount": 3,
}
PENDING = {"name": "runtime", "state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 0}
KILLED = {
    "name": "runtime",
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "ready"}},
    "restartCount": 1,
}
SHUT_DOWN = """\
2026-11-26 01:03:24.738 UTC [12] LOG:  redo starts at 0/1C07848
2026-11-26 01:03:24.776 UTC [12] FATAL:  could not write to file "pg_wal/xlogtemp.12": No space left on device
2026-11-26 01:03:24.779 UTC [1] LOG:  startup process (PID 12) exited with exit code 1
2026-11-26 01:03:24.789 UTC [1] LOG:  database system is shut down
"""
POSTGRES = {
    "name": "postgres",
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "message": SHUT_DOWN}},
    "restartCount": 2,
}
NO_SPACE = 'FATAL:  could not write to file "pg_wal/xlogtemp.12": No space left on device'


@pytest.mark.parametrize(
    ("prepared", "runs", "waiting", "words", "restarts"),
    [
        (CRASHING, PENDING, "CrashLoopBackOff", "the volume is full", 3),
        (DONE, PENDING, "PodInitializing", None, 0),
        (DONE, KILLED, "CrashLoopBackOff", "it was killed because it needed more memory than its limit", 1),
        (DONE, POSTGRES, "CrashLoopBackOff", NO_SPACE, 2),
    ],
)
def test_a_pod_is_told_by_the_container_that_it_is_at(
    prepared: dict[str, Any], runs: dict[str, Any], waiting: str, words: str | None, restarts: int
) -> None:
    body = pod(1, ready=False, initContainerStatuses=[prepared], containerStatuses=[runs])
    facts = pod_facts(body, Answers())
    assert (facts.waiting_reason, facts.last_words, facts.restarts) == (waiting, words, restarts)


async def test_a_port_that_nobody_listens_on_is_named_in_few_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with Observer() as observer:
        (facts,) = await observer.pods("ns", "docs", [pod(port)])
    assert facts.error == f"http://127.0.0.1:{port} does not answer: Connect call failed ('127.0.0.1', {port})"


async def test_an_unreachable_database_is_named_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with Observer() as observer:
        facts = await observer.database("ns", "docs", f"postgresql://sibyl:s3cret@127.0.0.1:{port}/rag")
    assert not facts.reachable
    assert facts.error is not None
    assert facts.error.startswith(f"127.0.0.1:{port}/rag: ")
    assert "s3cret" not in facts.error


async def test_good_news_of_a_database_is_kept_for_a_while_and_any_other_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, asked = [1000.0], []
    good = DatabaseFacts(reachable=True, server_version="18.4", vector_version="0.8.5")
    answers = [DatabaseFacts(reachable=False, error="down"), replace(good, vector_version=None), good, good]

    async def probe(dsn: str, *, timeout: float) -> DatabaseFacts:
        asked.append(dsn)
        return answers[len(asked) - 1]

    monkeypatch.setattr("sibyl_operator.observe.observer.probe_database", probe)
    async with Observer(database_interval=15, wall_clock=lambda: now[0]) as observer:
        found = [await observer.database("ns", "docs", "postgresql://db/rag") for _ in range(5)]
        assert (found[2:], len(asked)) == ([good] * 3, 3)
        now[0] += 15
        await observer.database("ns", "docs", "postgresql://db/rag")
    assert len(asked) == 4


async def test_a_dsn_that_is_none_is_refused_without_showing_it() -> None:
    async with Observer() as observer:
        facts = await observer.database("ns", "docs", "s3cret is not a dsn")
    assert facts.error == "the DSN in the Secret cannot be parsed: ProgrammingError"
