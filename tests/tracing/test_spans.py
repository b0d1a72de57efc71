"""What spans record of work that ends in every way, seen by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import StatusCode

from sibyl_runtime.errors import ProviderError
from sibyl_runtime.providers.outgoing import OUTGOING
from sibyl_runtime.providers.protocols import Generation, GenerationRequest, LanguageModel
from sibyl_runtime.tracing.export import ToldOnce
from sibyl_runtime.tracing.instruments import Served, TracedLanguageModel
from sibyl_runtime.tracing.spans import Spans

SECRET = "what the user asked"
REQUEST = GenerationRequest(question=SECRET, passages=(), prompt=SECRET)
ANSWER = Generation("a", "gpt-4-0613", 100, 20, "stop", attempts=2)
SERVED = Served("gpt-4", "openai", "models.example.com", 443)
CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
Parts = Callable[[], AsyncGenerator[str | Generation, None]]


@dataclass
class Recorded:
    spans: Spans
    exporter: InMemorySpanExporter

    def model(self, parts: Parts) -> TracedLanguageModel:
        class Model:
            name = "primary"

            async def generate(self, _: GenerationRequest) -> Generation:
                async for part in parts():
                    if isinstance(part, Generation):
                        return part
                raise AssertionError("no answer")

            def stream(self, _: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
                return parts()

        return TracedLanguageModel(cast("LanguageModel", Model()), SERVED, self.spans, capture_content=False)

    @property
    def chat(self) -> ReadableSpan:
        """The one span of a model; ended once."""
        (found,) = [span for span in self.exporter.get_finished_spans() if span.name == "chat gpt-4"]
        return found


def recorded(sampler: Sampler = ALWAYS_ON) -> Recorded:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Recorded(Spans(provider.get_tracer("test")), exporter)


async def answering() -> AsyncGenerator[str | Generation, None]:
    yield "one "
    yield "two"
    yield ANSWER


async def failing() -> AsyncGenerator[str | Generation, None]:
    yield "one "
    raise ProviderError(f"the server refused: {SECRET}")


async def faulty() -> AsyncGenerator[str | Generation, None]:
    yield "one "
    raise ValueError(SECRET)


async def read(model: TracedLanguageModel, most: int) -> list[str | Generation]:
    """So many parts, and then the reader closes the stream."""
    found: list[str | Generation] = []
    async with contextlib.aclosing(model.stream(REQUEST)) as parts:
        async for part in parts:
            current = trace.get_current_span().get_span_context().span_id
            assert current == CALL.get("id"), "between two parts the caller's own span is the current one"
            found.append(part)
            if len(found) == most:
                break
    return found


CALL: dict[str, int] = {}


@contextlib.contextmanager
def call(found: Recorded) -> Iterator[None]:
    with found.spans.root("tools/call", {}) as span:
        CALL["id"] = span.get_span_context().span_id
        yield


@pytest.mark.parametrize("most", [3, 99], ids=["closed after the whole", "read to the end"])
async def test_a_stream_that_was_read_is_not_a_failure(most: int) -> None:
    found = recorded()
    with call(found):
        assert await read(found.model(answering), most) == ["one ", "two", ANSWER]
    assert found.chat.status.status_code is StatusCode.UNSET
    assert found.chat.attributes is not None
    assert found.chat.attributes["gen_ai.usage.output_tokens"] == 20
    assert found.chat.attributes["sibyl.attempts"] == 2


@pytest.mark.parametrize(
    ("parts", "most", "kind", "raised"),
    [
        (answering, 1, "cancelled", None),
        (failing, 99, "provider_error", ProviderError),
        (faulty, 99, "ValueError", ValueError),
    ],
    ids=["closed by its reader", "an error on purpose", "a fault"],
)
async def test_a_stream_that_ends_early_is_marked_without_a_word_of_it(
    parts: Parts, most: int, kind: str, raised: type[Exception] | None
) -> None:
    found = recorded()
    with call(found), contextlib.nullcontext() if raised is None else pytest.raises(raised):
        await read(found.model(parts), most)
    assert found.chat.status.status_code is StatusCode.ERROR
    assert found.chat.attributes is not None
    assert found.chat.attributes["error.type"] == kind
    assert found.chat.events == ()
    assert SECRET not in found.chat.to_json()


async def test_a_call_that_is_broken_off_is_marked() -> None:
    async def hanging() -> AsyncGenerator[str | Generation, None]:
        await asyncio.Event().wait()
        yield ""

    found = recorded()
    with call(found), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await found.model(hanging).generate(REQUEST)
    assert found.chat.attributes is not None
    assert found.chat.attributes["error.type"] == "cancelled"


async def test_parallel_parts_of_a_call_are_below_it_and_send_their_own_parent() -> None:
    sent: list[str] = []

    async def sending() -> AsyncGenerator[str | Generation, None]:
        await asyncio.sleep(0)
        sent.append(OUTGOING.get()["traceparent"])
        yield ANSWER

    found = recorded()
    with call(found):
        model = found.model(sending)
        await asyncio.gather(*(model.generate(REQUEST) for _ in range(5)))
    spans = [span for span in found.exporter.get_finished_spans() if span.name == "chat gpt-4"]
    assert {span.parent.span_id for span in spans if span.parent is not None} == {CALL["id"]}
    ids = {format(context.span_id, "016x") for span in spans if (context := span.get_span_context()) is not None}
    assert len(ids) == 5
    assert {one.split("-")[2] for one in sent} == ids
    assert OUTGOING.get() == {}


async def test_a_call_that_is_not_drawn_says_so_to_other_servers() -> None:
    sent: list[str] = []

    async def sending() -> AsyncGenerator[str | Generation, None]:
        sent.append(OUTGOING.get()["traceparent"])
        yield ANSWER

    found = recorded(ALWAYS_OFF)
    with call(found):
        await found.model(sending).generate(REQUEST)
    assert found.exporter.get_finished_spans() == ()
    assert int(sent[0].split("-")[3], 16) & trace.TraceFlags.SAMPLED == 0


async def test_without_a_call_nothing_is_recorded_or_sent_along() -> None:
    found = recorded()

    async def sending() -> AsyncGenerator[str | Generation, None]:
        assert OUTGOING.get() == {}
        yield ANSWER

    await found.model(sending).generate(REQUEST)
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(remote)), found.spans.child("step x", {}):
        pass
    assert found.exporter.get_finished_spans() == ()


@pytest.mark.parametrize("offered", ["", "nonsense", "00-0-0-01", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_a_caller_who_names_no_span_begins_a_trace(offered: str) -> None:
    found = recorded()
    with found.spans.root("tools/call", {"traceparent": offered}):
        pass
    (span,) = found.exporter.get_finished_spans()
    assert span.parent is None


def test_failures_of_sending_are_told_once_until_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    results = [SpanExportResult.FAILURE] * 3 + [SpanExportResult.SUCCESS] * 2 + [SpanExportResult.FAILURE]

    class Exporter(SpanExporter):
        def export(self, _: object) -> SpanExportResult:
            return results.pop(0)

    told = ToldOnce(Exporter(), "collector:4318")
    with caplog.at_level("INFO", "sibyl.tracing"):
        for _ in range(6):
            told.export([])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert caplog.records[0].message.startswith("the collector at collector:4318 took no spans")
