"""Kopf as a watcher: what is registered, how it is set, and that nothing of Kopf outlives it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import kopf
import pytest

from sibyl_operator.handlers import EndlessBackoff, Watcher, forward, registry, settings
from sibyl_operator.kube import Manifest, kind_of
from sibyl_operator.kube.config import Credentials
from sibyl_operator.reconcile.children import CHILD_KINDS

NOWHERE = Credentials("http://127.0.0.1:1", None, True, None, None, None, None, None)


def ignore(event: str | None, manifest: Manifest) -> None:
    raise AssertionError(f"nobody could have sent {event} {manifest}")


async def nowhere() -> Credentials:
    return NOWHERE


def test_workspaces_and_every_kind_of_child_are_watched_and_secrets_and_pods_are_not() -> None:
    selectors = [handler.selector for handler in registry(ignore, nowhere)._watching.get_all_handlers()]
    watched = {selector.any_name for selector in selectors if selector is not None}
    assert watched == {"sibylworkspaces", *(kind_of(kind).plural for kind in CHILD_KINDS)}


def test_kopf_s_global_registry_stays_empty() -> None:
    registry(ignore, nowhere)
    assert not list(kopf.get_default_registry()._watching.get_all_handlers())


def test_children_are_filtered_by_the_api_server_and_workspaces_are_not() -> None:
    selectors = settings().watching.label_selectors
    deployments = kind_of("Deployment")
    key = (deployments.group, deployments.version, deployments.plural)
    assert selectors[key] == "app.kubernetes.io/managed-by=sibyl-operator"
    assert len(selectors) == len(CHILD_KINDS)


def test_kopf_neither_posts_nor_peers_nor_waits_for_ever() -> None:
    chosen = settings()
    assert chosen.posting.enabled is False
    assert chosen.peering.standalone is True
    assert chosen.scanning.disabled is True
    watching, networking = chosen.watching, chosen.networking
    assert (watching.server_timeout, watching.client_timeout, watching.connect_timeout) == (600, 620, 10)
    assert (networking.request_timeout, networking.connect_timeout) == (30, 10)


def test_an_outage_is_outlasted_with_growing_pauses() -> None:
    pauses = list(itertools.islice(iter(EndlessBackoff()), 100))
    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert set(pauses[7:]) == {30}


async def test_an_event_is_passed_on_with_version_and_kind() -> None:
    heard: list[tuple[str | None, Manifest]] = []
    handler = forward(kind_of("Service"), lambda event, manifest: heard.append((event, manifest)))
    await handler(event={"type": None, "object": {"metadata": {"name": "web"}}}, logger=None)
    assert heard == [(None, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}})]


async def test_a_watcher_without_an_api_server_beats_and_can_be_stopped() -> None:
    beaten = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def beat() -> None:
        loop.call_soon_threadsafe(beaten.set)

    watcher = Watcher(on_event=ignore, on_beat=beat, login=nowhere, namespaces=("team",))
    running = asyncio.create_task(watcher.run())
    await asyncio.wait_for(beaten.wait(), 10)
    running.cancel()
    await asyncio.wait({running}, timeout=15)
    assert running.cancelled()


async def test_a_watcher_that_is_stopped_before_it_began_ends() -> None:
    async def beat() -> None:
        return

    watcher = Watcher(on_event=ignore, on_beat=beat, login=nowhere, namespaces=())
    running = asyncio.create_task(watcher.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running}, timeout=15)
    assert running.cancelled()


async def test_a_failure_of_kopf_is_the_watcher_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def beat() -> None:
        return

    async def fails(**_: Any) -> None:
        raise ZeroDivisionError("a stream broke for good")

    monkeypatch.setattr(kopf, "operator", fails)
    watcher = Watcher(on_event=ignore, on_beat=beat, login=nowhere, namespaces=("team",))
    with pytest.raises(ZeroDivisionError, match="a stream broke for good"):
        await asyncio.wait_for(watcher.run(), 15)
