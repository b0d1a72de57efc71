"""GET /kpis and the gauges of a real server, after real requests."""

from __future__ import annotations

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.server.served import scripted, served

KPIS = [
    {"name": "p95_latency", "target": 3.0},
    {"name": "availability", "threshold": 0.999, "window": "30d"},
    {"name": "cache_hit_rate", "target": 0.5},
    {"name": "memory_usage", "target": 80},
]
DOCUMENT = yaml.safe_dump({"name": "docs", "observability": {"kpis": KPIS}})


async def test_the_kpis_are_served_on_both_ports_as_they_are_exported() -> None:
    async with served(scripted(DOCUMENT)) as server:
        for _ in range(3):
            assert (await server.call({"query": "x"})).status_code == 200
        bodies = [(await client.get("/kpis")).json() for client in (server.api, server.watch)]
        text = (await server.watch.get("/metrics")).text
    shown = {kpi["name"]: kpi for kpi in bodies[0]["kpis"]}
    assert list(shown) == [kpi["name"] for kpi in KPIS]
    assert [kpi["name"] for kpi in bodies[1]["kpis"]] == list(shown)
    seconds = shown["availability"].pop("measured_seconds")
    assert 0 <= seconds < 60
    assert shown["availability"] == {
        "name": "availability", "value": 1.0, "target": 0.999, "met": True, "better": "higher",
        "window_seconds": 30 * 86_400,
    }  # fmt: skip
    assert (shown["p95_latency"]["met"], shown["p95_latency"]["better"]) == (True, "lower")
    assert 0 < shown["p95_latency"]["value"] <= 3.0
    assert (shown["cache_hit_rate"]["value"], shown["cache_hit_rate"]["met"]) == (None, None)
    assert 0 < shown["memory_usage"]["value"] < 100
    exported = {
        (sample.name, sample.labels["kpi"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("sibyl_kpi_")
    }
    assert exported["sibyl_kpi_value", "p95_latency"] == shown["p95_latency"]["value"]
    assert exported["sibyl_kpi_target", "cache_hit_rate"] == 0.5
    assert exported["sibyl_kpi_met", "availability"] == 1.0


async def test_the_kpis_need_a_key_where_the_api_does() -> None:
    mcp = {"authentication": {"type": "api_key", "keys": ["k"]}}
    async with served(scripted(yaml.safe_dump({"name": "docs", "mcp": mcp}))) as server:
        assert (await server.api.get("/kpis")).status_code == 401
        assert (await server.api.get("/kpis", headers={"X-API-Key": "k"})).status_code == 200
        assert (await server.watch.get("/kpis")).status_code == 200
