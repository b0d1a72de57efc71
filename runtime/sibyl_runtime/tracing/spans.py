"""A span around a stretch of work: current for what runs inside, and marked when that fails.

Errors are told by their code alone. Their messages, and what OpenTelemetry would record of an exception, may quote a
question or a document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sibyl_runtime.errors import SibylError
from sibyl_runtime.providers.outgoing import OUTGOING

ERROR_TYPE: Final = "error.type"
CANCELLED: Final = "cancelled"
"""Broken off: the deadline passed, or the client left."""
_W3C: Final = TraceContextTextMapPropagator()
Attributes = Mapping[str, Any]


class Spans:
    """Spans below the current one. Where none is current nothing is recorded: probes and ingests are no tool calls."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def root(self, name: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """The span of a call, below the one that its `headers` name."""
        parent = _W3C.extract(headers, context=Context())
        span = self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER)
        with ended(span), inside(span):
            yield span

    @contextmanager
    def child(self, name: str, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL) -> Iterator[Span]:
        """A part of the call."""
        span = self.begin(name, attributes, kind)
        with ended(span), inside(span):
            yield span

    def begin(self, name: str, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        """A part of the call that is not current by itself; to be ended by `ended`."""
        current = trace.get_current_span().get_span_context()
        # FastAPI makes a caller's own span the current one where there is none of ours.
        if not current.is_valid or current.is_remote:
            return trace.INVALID_SPAN
        return self._tracer.start_span(name, kind=kind, attributes=dict(attributes))


@contextmanager
def inside(span: Span) -> Iterator[None]:
    """`span` is the current one, for parts below it and for requests to other servers.

    A generator must leave it before it yields: what is current belongs to whoever runs it.
    """
    token = attach(trace.set_span_in_context(span))
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    outgoing = OUTGOING.set(headers)
    try:
        yield
    finally:
        OUTGOING.reset(outgoing)
        detach(token)


@contextmanager
def ended(span: Span) -> Iterator[None]:
    """Ends `span` with the work inside; a failure is marked by its code."""
    try:
        yield
    except SibylError as error:
        failed(span, error.code)
        raise
    except (asyncio.CancelledError, GeneratorExit):
        failed(span, CANCELLED)
        raise
    except Exception as error:
        failed(span, type(error).__name__)
        raise
    finally:
        span.end()


def failed(span: Span, kind: str) -> None:
    """Mark `span` as failed."""
    span.set_attribute(ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR))
