"""Spans on their way to the collector: by a thread of their own, from a bounded queue, and never in a caller's way.

The standard OTEL_* variables are read by the SDK itself; what the document says goes before them.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from sibyl_runtime import __version__
from sibyl_runtime.errors import StartupError
from sibyl_runtime.workspace import Tracing, Workspace

logger = logging.getLogger("sibyl.tracing")
TRACES_PATH = "/v1/traces"
CLOSE_SECONDS = 5.0
"""For sending what is left: a collector that is away must not hold up a pod that is told to stop."""
# They tell each batch that fails, and the collector's address; told once is enough (ToldOnce).
_CHATTY = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal", "opentelemetry.sdk.trace.export")


def open_provider(workspace: Workspace, settings: Tracing) -> TracerProvider:
    """A provider of this workspace's own: the process's global one is left as it is, so that no library sends spans."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    provider = TracerProvider(sampler=_sampler(settings), resource=_resource(workspace), shutdown_on_exit=False)
    try:
        exporter = OTLPSpanExporter(endpoint=_endpoint(settings))
        provider.add_span_processor(BatchSpanProcessor(ToldOnce(exporter, _collector(settings))))
    except ValueError as error:
        # The document's endpoint is judged when the document is read; what is left is of the environment.
        raise StartupError(f"observability.tracing: an OTEL_* variable cannot be used: {error}") from error
    return provider


def close_provider(provider: TracerProvider) -> threading.Thread:
    """Begin to send what is left. A daemon: what a silent collector keeps waiting does not keep the process."""
    thread = threading.Thread(target=provider.shutdown, name="sibyl-tracing-close", daemon=True)
    thread.start()
    return thread


class ToldOnce(SpanExporter):
    """An exporter whose failures are told once, until it works again."""

    def __init__(self, inner: SpanExporter, collector: str) -> None:
        """`collector` is its host and port, for the log."""
        self._inner = inner
        self._collector = collector
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter."""
        result = self._inner.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            logger.warning(
                "the collector at %s took no spans: they are lost, and those that follow, until it takes them again; "
                "calls are answered all the same. Check observability.tracing.endpoint or OTEL_EXPORTER_OTLP_ENDPOINT",
                self._collector,
            )
        elif self._failing and not failed:
            logger.info("spans are sent again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """See SpanExporter."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See SpanExporter."""
        return self._inner.force_flush(timeout_millis)


def _sampler(settings: Tracing) -> Sampler | None:
    """None leaves it to OTEL_TRACES_SAMPLER, and without that to a caller, else to always."""
    sampling = settings.sampling
    if sampling is None:
        return None
    return ParentBased(ALWAYS_ON if sampling.type == "always_on" else TraceIdRatioBased(sampling.rate))


def _resource(workspace: Workspace) -> Resource:
    """Who sends. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what is known here."""
    known = {
        "service.name": workspace.name,
        "service.version": __version__,
        "service.instance.id": socket.gethostname(),
    }
    return Resource.create(known).merge(OTELResourceDetector().detect())


def _collector(settings: Tracing) -> str:
    """Host and port, without credentials, of the address that the SDK sends to."""
    named = (os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("TRACES_", ""))
    address = settings.endpoint or next((one for one in named if one), "http://localhost:4318")
    return urlsplit(address).netloc.rpartition("@")[2] or "an address without a host"


def _endpoint(settings: Tracing) -> str | None:
    """The address of the traces below that of the collector, as with OTEL_EXPORTER_OTLP_ENDPOINT."""
    if settings.endpoint is None:
        return None
    base = settings.endpoint.rstrip("/")
    return base if base.endswith(TRACES_PATH) else base + TRACES_PATH
