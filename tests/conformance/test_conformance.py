"""The endpoint /mcp under the protocol's own conformance suite, for both eras of the wire."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from starlette.applications import Starlette

from sibyl_runtime.server.app import Applications
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.server.instrumentation import metrics_for
from sibyl_runtime.server.process import Draining, Listeners, StopSignal, serve
from sibyl_runtime.server.sockets import bind, url_of
from tests.conformance.everything_server import application
from tests.conformance.suite import EXPECTED_FAILURES, Suite, Unavailable, installed
from tests.server.served import scripted

REVISIONS = ("2025-11-25", "2026-07-28")
MUST_PASS = {"dns-rebinding-protection", "tools-list", "tools-call-simple-text", "tools-call-error"}


@pytest.fixture(scope="module")
def suite() -> Suite:
    try:
        return installed()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.timeout(420)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_scenario_passes_but_those_that_are_listed(suite: Suite, revision: str) -> None:
    listeners = Listeners(bind("127.0.0.1", 0, setting="test"), None)
    stop, ready = StopSignal(), asyncio.Event()
    applications = Applications(application(metrics_for(scripted().workspace)), Starlette())
    task = asyncio.create_task(
        serve(applications, listeners, Lifecycle(), stop, draining=Draining(0, 5), on_ready=lambda _: ready.set())
    )
    try:
        await asyncio.wait({task, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        code, output = await suite.run(f"{url_of(listeners.api)}/mcp", revision)
    finally:
        stop.asked.set()
        await task
        listeners.close()
    assert code == 0, output
    passed = set(re.findall(r"^✓ ([a-z0-9-]+): [1-9]\d* passed, 0 failed", output, re.MULTILINE))
    assert passed >= MUST_PASS, output


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_must_hold_is_not_among_the_expected_failures(revision: str) -> None:
    listed = yaml.safe_load((EXPECTED_FAILURES / f"{revision}.yaml").read_text())["server"]
    assert len(listed) == len(set(listed))
    assert not MUST_PASS & set(listed)


def test_a_machine_without_npm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="npm is not installed"):
        installed()
