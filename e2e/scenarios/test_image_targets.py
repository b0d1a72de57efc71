"""The runtime's images with what an extra brings: each does what it is built for, as the user of a pod."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.images.build import Built, ensure_images
from e2e.images.container import Container, container_of
from e2e.images.recipe import FAISS, OTEL, RUNTIME, TARGETS
from sibyl_operator.api.disk_cache import CACHE_DIRECTORY
from sibyl_operator.desired.pod import WRITABLE_DIRECTORIES

MEGABYTE = 1_000_000
MOST_ADDED = {FAISS.name: 75, OTEL.name: 15}

SEARCH = """
import faiss, numpy
index = faiss.index_factory(2, "IVF2,Flat", faiss.METRIC_INNER_PRODUCT)
vectors = numpy.eye(2, dtype=numpy.float32).repeat(50, axis=0)
index.train(vectors)
index.add(vectors)
print(index.search(vectors[:1], 1)[0][0][0])
"""

# Nothing listens there: that the exporter tries is the proof that all of it is in the image.
EXPORT = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint="http://127.0.0.1:9/v1/traces", timeout=1)))
provider.get_tracer("t").start_span("asked").end()
"""


@pytest.fixture(scope="module")
def built() -> dict[str, Built]:
    images = (RUNTIME, *TARGETS)
    return {image.name: one for image, one in zip(images, ensure_images(images), strict=True)}


@pytest.fixture(params=[image.name for image in TARGETS])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def container(built: dict[str, Built], target: str) -> Iterator[Container]:
    with container_of(built[target].archive, ("/tmp", CACHE_DIRECTORY)) as container:
        yield container


def test_the_extra_does_its_work(container: Container, target: str) -> None:
    if target == FAISS.name:
        result = container.run("python", "-c", SEARCH, env=WRITABLE_DIRECTORIES)
        assert (result.exit_code, result.stdout.strip()) == (0, "1.0"), result.stderr
    else:
        result = container.run("python", "-c", EXPORT, env=WRITABLE_DIRECTORIES)
        assert (result.exit_code, "Failed to export spans" in result.stderr) == (0, True), result.stderr


def test_an_extra_adds_no_more_than_the_documents_say(built: dict[str, Built], target: str) -> None:
    added = built[target].sizes.total - built[RUNTIME.name].sizes.total
    assert 0 < added < MOST_ADDED[target] * MEGABYTE
