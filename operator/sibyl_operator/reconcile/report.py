"""Writes what a pass found: status only when it says something new, Events only for transitions."""

from __future__ import annotations

import logging
import time
from typing import Any

from sibyl_operator.api.group import KIND
from sibyl_operator.kube import KubeApi, KubeError, Manifest, NotFound
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.telemetry import Telemetry
from sibyl_operator.reconcile.transitions import EventFilter, transitions

logger = logging.getLogger(__name__)


class Reporter:
    """Remembers per workspace what was written last; losing that costs one write at most."""

    def __init__(self, api: KubeApi, telemetry: Telemetry) -> None:
        self._api = api
        self._telemetry = telemetry
        self._written: dict[Key, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._filter = EventFilter(time.monotonic)

    async def report(self, key: Key, body: Manifest, status: dict[str, Any]) -> None:
        """Write the status if it differs, then tell of transitions. Raises KubeError for the status only."""
        found = status["conditions"]
        self._telemetry.conditions(key, ((condition["type"], condition["status"]) for condition in found))
        before = body.get("status") or {}
        if _comparable(status) == _comparable(before) or self._written.get(key) == (status, before):
            return
        try:
            answer = await self._api.patch_status(KIND, *key, status)
        except NotFound:
            logger.info("deleted in mid-pass", extra={"workspace": str(key)})
            return
        # A field that an older CRD does not know is dropped by the server; it would be sent again and again.
        self._written[key] = (status, answer.get("status") or {})
        # After the status, which is the truth: a crash in between loses an Event and repeats none.
        for news in self._filter.fresh(body["metadata"]["uid"], transitions(before.get("conditions") or (), found)):
            try:
                await self._api.create_event(
                    body, type=news.type, reason=news.reason, message=f"{news.condition}: {news.message}"
                )
            except KubeError as error:
                logger.warning("could not post an event: %s", error, extra={"workspace": str(key)})

    def forget(self, key: Key) -> None:
        """The workspace is gone."""
        self._written.pop(key, None)
        self._telemetry.forget(key)


def _comparable(status: dict[str, Any]) -> dict[str, Any]:
    """Conditions are a map by type: their order says nothing."""
    return {**status, "conditions": {condition["type"]: condition for condition in status.get("conditions") or ()}}
