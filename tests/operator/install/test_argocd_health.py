"""Argo CD's view of a workspace, by running the script that it runs, in the Lua version that it has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from sibyl_operator.api.conditions import conditions
from sibyl_operator.api.status import status as status_of
from sibyl_operator.install.generate import ARGOCD_FILE
from tests.operator.api.facts import ROOT, observed

CONFIG = yaml.safe_load((ROOT / ARGOCD_FILE).read_text())
(SCRIPT,) = CONFIG["data"].values()
# With nothing but what the script may use.
RUN = "function(script, obj) local f = loadstring(script); setfenv(f, {obj = obj, ipairs = ipairs}); return f() end"
GENERATION = 3


def health(resource: dict[str, Any]) -> tuple[str, str]:
    """Status and message, as Argo CD takes them: `obj` is the resource, the result a table."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    run = lua.eval(RUN)
    found = run(SCRIPT, lua.table_from(resource, recursive=True))
    return found["status"], found["message"]


def condition(kind: str, status: str = "True", reason: str = "Why", message: str = "what to do") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY, NOT_READY = condition("Ready"), condition("Ready", "False", "DatabaseUnreachable", "check the Secret")
WORKSPACE = {"metadata": {"name": "docs", "generation": GENERATION}}


def judged(*found: dict[str, str], generation: int = GENERATION) -> dict[str, Any]:
    return {**WORKSPACE, "status": {"observedGeneration": generation, "conditions": list(found)}}


def deleted(resource: dict[str, Any]) -> dict[str, Any]:
    return {**resource, "metadata": {**resource["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


TABLE = {
    "no status yet": (WORKSPACE, "Progressing", "waiting for the operator"),
    "an empty status": ({**WORKSPACE, "status": {}}, "Progressing", "waiting for the operator"),
    "ready": (judged(READY), "Healthy", "Why: what to do"),
    "ready, but with an older spec": (
        judged(READY, generation=GENERATION - 1), "Progressing", "waiting for the operator to read the latest spec",
    ),
    "stalled on an older spec, which says nothing of this one": (
        judged(NOT_READY, condition("Stalled"), generation=1),
        "Progressing", "waiting for the operator to read the latest spec",
    ),
    "conditions without an observed generation": (
        {**WORKSPACE, "status": {"conditions": [READY]}},
        "Progressing", "waiting for the operator to read the latest spec",
    ),
    "rolling out": (
        judged(NOT_READY, condition("Reconciling", reason="Rolling", message="1 of 2 pods")),
        "Progressing", "Rolling: 1 of 2 pods",
    ),
    "not ready and nothing more is said": (judged(NOT_READY), "Progressing", "DatabaseUnreachable: check the Secret"),
    "Ready unknown": (judged(condition("Ready", "Unknown")), "Progressing", "Why: what to do"),
    "stalled": (
        judged(NOT_READY, condition("Stalled", reason="ConfigInvalid", message="spec.a: unknown")),
        "Degraded", "ConfigInvalid: spec.a: unknown",
    ),
    "a condition that no longer holds": (judged(READY, condition("Stalled", "False")), "Healthy", "Why: what to do"),
    "suspended while ready": (judged(READY, condition("Paused", message="on hold")), "Suspended", "Why: on hold"),
    "suspended while it is not ready": (judged(NOT_READY, condition("Paused")), "Suspended", "Why: what to do"),
    "no conditions": (judged(), "Progressing", "waiting for the operator"),
    "being deleted": (deleted(judged(READY)), "Progressing", "being deleted"),
    "being deleted before it had a status": (deleted(WORKSPACE), "Progressing", "being deleted"),
}  # fmt: skip


@pytest.mark.parametrize(("resource", "status", "message"), TABLE.values(), ids=TABLE.keys())
def test_health_follows_the_conditions_of_the_latest_generation(
    resource: dict[str, Any], status: str, message: str
) -> None:
    assert health(resource) == (status, message)


def test_what_the_operator_writes_is_understood() -> None:
    seen = observed()
    written = status_of(seen, conditions(seen), datetime(2026, 1, 1, tzinfo=UTC))
    generation = written["observedGeneration"]
    assert health({"metadata": {"generation": generation}, "status": written})[0] == "Healthy"
    assert health({"metadata": {"generation": generation + 1}, "status": written})[0] == "Progressing"
