"""A collector of spans: a real HTTP server that decodes what OTLP exporters send. For tests of one process or many."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Seen:
    """One span as it arrived. Ids are hexadecimal; `parent` is empty for the first of a trace."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    resource: Mapping[str, Any]
    raw: Span


class Collector:
    """What has arrived so far. With a `status` other than 200 it refuses, and still notes what it was sent."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.spans: list[Seen] = []
        self.paths: set[str] = set()
        self.requests = 0
        self._arrived = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                collector.take(self.path, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        """Note one request."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._arrived:
            self.paths.add(path)
            self.requests += 1
            for resources in request.resource_spans:
                resource = _values(resources.resource.attributes)
                for scope in resources.scope_spans:
                    self.spans += [_seen(span, resource) for span in scope.spans]
            self._arrived.notify_all()

    def trace_of(self, request_id: str, seconds: float = 20) -> list[Seen]:
        """The spans of the call with this request id, which come after its parts."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._call(request_id) is not None, seconds), "no span has come"
            call = self._call(request_id)
            assert call is not None
            return [span for span in self.spans if span.trace == call.trace]

    def _call(self, request_id: str) -> Seen | None:
        wanted = (span for span in self.spans if span.attributes.get("sibyl.request_id") == request_id)
        return next(wanted, None)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    """A collector that listens."""
    collector = Collector(status)
    try:
        yield collector
    finally:
        collector.close()


def tree(spans: list[Seen]) -> Any:
    """The names of spans below each other, in the order of their beginning: `(name, [below])`."""
    ordered = sorted(spans, key=lambda span: span.raw.start_time_unix_nano)
    known = {span.id for span in ordered}

    def below(parent: str) -> list[Any]:
        return [(span.name, below(span.id)) for span in ordered if span.parent == parent]

    return [(span.name, below(span.id)) for span in ordered if span.parent not in known]


def _seen(span: Span, resource: Mapping[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_values(span.attributes),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        resource=resource,
        raw=span,
    )


def _values(found: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(found)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
