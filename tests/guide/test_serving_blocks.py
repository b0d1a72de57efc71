"""What the guide says of targets, compression and content networks, over real HTTP."""

from __future__ import annotations

import re

import pytest

from tests.guide.running import TOOL, Place, block, with_guide
from tests.guide.table import shows
from tests.support.openai_server import completion

pytestmark = with_guide
QUESTION = "Which bird flies from pole to pole?"
TEXTS = {"birds.txt": "The Arctic tern is the bird that flies from pole to pole."}


@shows(
    21,
    sets="`kpis` by `name`, `metric`, `target` and `percentile`",
    effect="After three calls `/kpis` has all seven with their targets and a measured value; each latency target is an "
    "edge of the histogram of that metric, so that it is judged exactly.",
)
async def test_every_target_is_measured(place: Place) -> None:
    written = block(21)["observability"]["kpis"]
    async with place.served(place.document(block(21)), TEXTS) as served:
        for number in range(3):
            response = await served.api.post(f"/mcp/tools/{TOOL}", json={"query": f"{QUESTION} {number}"})
            assert response.status_code == 200, response.text
        shown = (await served.api.get("/kpis")).json()["kpis"]
        exported = (await served.watch.get("/metrics")).text
    assert [(kpi["name"], kpi["target"]) for kpi in shown] == [(kpi["name"], kpi["target"]) for kpi in written]
    values = {kpi["name"]: kpi["value"] for kpi in shown}
    assert [name for name, value in values.items() if value is None] == []
    for name in ("p50_latency", "p95_latency", "p99_latency"):
        assert 0 < values[name] <= 5
    # 100 tokens read and 20 written by gpt-3.5-turbo, at $0.5 and $1.5 the million.
    assert values["cost_per_query"] == pytest.approx(0.00008)
    assert {kpi["name"]: kpi["met"] for kpi in shown}["cost_per_query"] is True
    edges = set(re.findall(r'sibyl_mcp_tool_duration_seconds_bucket\{[^}]*le="([^"]+)"', exported))
    assert {"1.0", "3.0", "5.0"} <= edges


@shows(
    541,
    sets="`transport` http, `enabled`, `algorithm` gzip, `min_size` 1024",
    effect="An answer above 1,024 bytes comes compressed, a shorter one as it is.",
)
async def test_long_answers_are_compressed_and_short_ones_are_not(place: Place) -> None:
    place.llm.reply_with(completion("Short."), completion("A long answer. " * 100))
    async with place.served(place.document(block(541)), TEXTS) as served:
        short, long = [
            await served.api.post(f"/mcp/tools/{TOOL}", json={"query": f"{QUESTION} {number}"}) for number in range(2)
        ]
    assert (len(short.content) < 1024, short.headers.get("Content-Encoding")) == (True, None)
    assert (len(long.content) > 1024, long.headers.get("Content-Encoding")) == (True, "gzip")
    assert int(long.headers["Content-Length"]) < len(long.content) / 2


@shows(
    551,
    sets="`enabled`, `provider` cloudflare, `cache_static`",
    effect="`/openapi.json` carries the headers by which Cloudflare keeps it; an answer is never kept.",
)
async def test_a_content_network_keeps_what_is_static(place: Place) -> None:
    async with place.served(place.document(block(551)), TEXTS) as served:
        static = await served.api.get("/openapi.json")
        answer = await served.api.post(f"/mcp/tools/{TOOL}", json={"query": QUESTION})
    assert static.headers["Cache-Control"] == "public, max-age=300"
    assert static.headers["Cloudflare-CDN-Cache-Control"] == "max-age=3600"
    assert answer.headers["Cache-Control"] == "no-store"
