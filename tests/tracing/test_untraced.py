"""What a process without tracing pays: nothing is loaded, and nothing stands in front of any part."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest
import yaml

from sibyl_runtime.errors import StartupError
from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.pipeline.context import Services
from sibyl_runtime.server.calls import ToolCalls
from sibyl_runtime.server.instrumentation import metrics_for
from sibyl_runtime.server.traced_calls import tool_calls
from sibyl_runtime.techniques import REGISTRY
from sibyl_runtime.tracing import UNTRACED, open_tracing
from sibyl_runtime.workspace import Workspace, WorkspaceInvalid, parse_workspace
from tests.server.served import scripted

LOADED = """
import sys
from sibyl_runtime.cli.serve import serve
from sibyl_runtime.tracing import open_tracing, UNTRACED
from sibyl_runtime.workspace import parse_workspace
document = {"name": "docs", "observability": {"tracing": {"enabled": False}}}
assert open_tracing(parse_workspace(document, source="x"), {}) is UNTRACED
print(*sorted({"opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf"} & set(sys.modules)))
print(*[name for name in sys.modules if name.startswith("sibyl_runtime.tracing.")])
"""


def workspace(tracing: dict[str, Any] | None) -> Workspace:
    observability = {} if tracing is None else {"tracing": tracing}
    return parse_workspace({"name": "docs", "observability": observability}, source="workspace.yaml")


def test_what_records_and_sends_is_not_loaded() -> None:
    """FastAPI, redis and the client of MCP load the API of OpenTelemetry by themselves, which records nothing."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_nothing_stands_in_front_of_any_part() -> None:
    services = cast("Services", object())
    assert UNTRACED.services(services) is services
    assert UNTRACED.techniques(REGISTRY) is REGISTRY
    runtime = scripted()
    metrics: RuntimeMetrics = metrics_for(runtime.workspace)
    assert type(tool_calls(runtime, metrics, UNTRACED)) is ToolCalls


@pytest.mark.parametrize(
    ("tracing", "environ"),
    [(None, {}), ({"enabled": False}, {}), ({}, {"OTEL_SDK_DISABLED": "true"})],
    ids=["not asked for", "switched off", "switched off for the machine"],
)
def test_tracing_is_off_unless_the_document_asks_for_it(
    tracing: dict[str, Any] | None, environ: dict[str, str]
) -> None:
    address = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert open_tracing(workspace(tracing), {**address, **environ}) is UNTRACED


def test_without_the_extra_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    for name in [name for name in sys.modules if name.startswith("sibyl_runtime.tracing.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(StartupError) as caught:
        open_tracing(workspace({}), {})
    message = str(caught.value)
    assert message.startswith("observability.tracing needs OpenTelemetry's SDK (")
    assert "pip install 'sibyl-operator[otel]'" in message
    assert "an image that carries it" in message


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{exporter: zipkin}", '"zipkin" is not available in this version; available: otlp'),
        ("{endpoint: 'collector:4318'}", "must start with http:// or https://"),
        ("{sampling: {rate: 1.5}}", "rate"),
        ("{sampling: {type: always_on, rate: 0.5}}", "has no effect with type always_on"),
        ("{sampling: {type: sometimes}}", "always_on"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(section: str, message: str) -> None:
    with pytest.raises(WorkspaceInvalid) as caught:
        workspace(yaml.safe_load(section))
    told = "; ".join(map(str, caught.value.problems))
    assert "observability.tracing" in told
    assert message in told
