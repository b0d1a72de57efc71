"""Looking at an installation from outside: what is good, what is not, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from sibyl_operator.process.check import Finding, check
from sibyl_operator.process.health import Health, HealthServer
from sibyl_operator.process.metrics import OperatorMetrics

CRD = "sibylworkspaces.sibyl.dev"


def nothing() -> None:
    """What most requests cause."""


@dataclass
class Api:
    """An API server that lists workspaces, refuses, or has never heard of them."""

    status: int = 200
    message: str = ""
    asked: list[str] = field(default_factory=list)
    server: str = ""
    kubeconfig: str = ""
    on_request: Callable[[], None] = nothing

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.on_request()
        body: dict[str, Any] = {"items": []} if self.status == 200 else {"message": self.message}
        return web.json_response(body, status=self.status)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    made = Api()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": made.server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    made.kubeconfig = str(tmp_path / "kubeconfig")
    await asyncio.to_thread((tmp_path / "kubeconfig").write_text, yaml.safe_dump(config))
    yield made
    await runner.cleanup()


@dataclass(frozen=True)
class Operator:
    """The operator's own answers, and what they are made of."""

    url: str
    health: Health


@pytest.fixture
def operator() -> Iterator[Operator]:
    health, metrics = Health(), OperatorMetrics()
    with HealthServer("127.0.0.1", 0, health, metrics.exposition) as server:
        health.become("leading")
        yield Operator("http://{}:{}".format(*server.address), health)


async def test_a_good_installation_has_no_problem(api: Api, operator: Operator) -> None:
    findings = await check(operator.url + "/", (), kubeconfig=api.kubeconfig)
    assert [str(finding) for finding in findings] == [
        f"ok      {operator.url}/readyz",
        f"ok      {operator.url}/metrics",
        f"ok      {CRD} in all namespaces",
    ]
    assert api.asked == ["/apis/sibyl.dev/v1alpha1/sibylworkspaces"]


async def test_with_namespaces_only_these_are_asked_for(api: Api, operator: Operator) -> None:
    findings = await check(operator.url, ("a", "b"), kubeconfig=api.kubeconfig)
    assert [finding.subject for finding in findings[2:]] == [f"{CRD} in a", f"{CRD} in b"]
    assert api.asked == [f"/apis/sibyl.dev/v1alpha1/namespaces/{name}/sibylworkspaces" for name in ("a", "b")]


@pytest.mark.parametrize(("status", "message"), [(404, "the server could not find it"), (403, "may not list")])
async def test_a_kind_that_is_not_served_to_us_is_a_problem(
    api: Api, operator: Operator, status: int, message: str
) -> None:
    api.status, api.message = status, message
    findings = await check(operator.url, (), kubeconfig=api.kubeconfig, timeout=0)
    assert [finding.problem for finding in findings] == [None, None, message]


async def test_an_operator_that_is_not_ready_is_a_problem_with_its_own_words(api: Api, operator: Operator) -> None:
    operator.health.become("syncing")
    ready, metrics, served = await check(operator.url, (), kubeconfig=api.kubeconfig, timeout=0)
    assert str(ready) == f"FAILED  {operator.url}/readyz: answered 503: syncing"
    assert (metrics.problem, served.problem) == (None, None)


async def test_it_looks_again_until_everything_is_good(api: Api, operator: Operator) -> None:
    operator.health.become("syncing")
    api.on_request = lambda: operator.health.become("leading")
    findings = await check(operator.url, (), kubeconfig=api.kubeconfig, timeout=30)
    assert all(finding.problem is None for finding in findings)
    assert len(api.asked) == 2


async def test_another_program_under_that_address_is_not_taken_for_the_operator(api: Api) -> None:
    findings = await check(api.server, (), kubeconfig=api.kubeconfig, timeout=0)
    assert "is this the operator's address?" in str(findings[1].problem)


async def test_nobody_there_and_no_credentials_are_findings_too(tmp_path: Path) -> None:
    missing = tmp_path / "kubeconfig"
    ready, metrics, served = await check("http://127.0.0.1:9", (), kubeconfig=str(missing), timeout=0)
    assert all(isinstance(finding, Finding) and finding.problem for finding in (ready, metrics, served))
    assert str(missing) in str(served.problem)
