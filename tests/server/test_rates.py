"""Rates over HTTP: who is counted together, what a refusal says, and what is never refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.server.protection import redis_buckets
from sibyl_runtime.server.protection.addresses import client_address, networks
from tests.server.served import Served, document, scripted, served

ONE = {"requests_per_minute": 1, "burst": 1}
KEYS = {"KEY_A": "alpha", "KEY_B": "beta"}
PROTECTED = {"type": "api_key", "keys": ["${KEY_A}", "${KEY_B}"]}
TOOL = {
    "description": "d", "pipeline": "search", "parameters": {"query": {"type": "string"}},
}  # fmt: skip


async def statuses(server: Served, *headers: dict[str, str]) -> list[int]:
    return [(await server.call({"query": "x"}, **sent)).status_code for sent in headers]


async def test_a_refusal_says_what_is_allowed_and_when_to_come_back() -> None:
    async with served(scripted(document(rate_limiting={"requests_per_minute": 30, "burst": 2}))) as server:
        first, _, refused = [await server.call({"query": "x"}) for _ in range(3)]
        counted = (await server.watch.get("/metrics")).text
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2", "1")
    assert first.headers["X-RateLimit-Reset"] == "2"
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "2"
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == ("2", "0")
    assert refused.headers["X-RateLimit-Reset"] == "4"
    assert refused.json()["error"] == {
        "code": "rate_limit_exceeded",
        "message": "Too many requests: 30 a minute are allowed, 2 at once; try again in 2 s.",
        "details": {"requests_per_minute": 30, "burst": 2, "full_after": 4},
    }
    assert len(server.runtime.calls) == 2
    assert "sibyl_mcp_rate_limit_rejections_total 1.0" in counted
    assert 'sibyl_mcp_requests_total{method="POST",status="429"} 1.0' in counted


async def test_without_the_section_nobody_is_counted() -> None:
    async with served(scripted()) as server:
        response = await server.call({"query": "x"})
    assert "X-RateLimit-Limit" not in response.headers


async def test_health_is_never_refused() -> None:
    async with served(scripted(document(rate_limiting=ONE))) as server:
        await server.call({"query": "x"})
        assert [(await server.api.get("/health/ready")).status_code for _ in range(3)] == [200, 200, 200]


async def test_every_other_route_counts_also_one_that_does_not_exist() -> None:
    async with served(scripted(document(rate_limiting=ONE))) as server:
        assert (await server.api.get("/nowhere")).status_code == 404
        assert (await server.api.get("/mcp/tools")).status_code == 429


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [200, 200, 429, 429]),
        ({"by_api_key": False}, [200, 429, 429, 429]),
        ({"by_api_key": False, "by_ip": False}, [200, 429, 429, 429]),
        ({"enabled": False}, [200, 200, 200, 200]),
    ],
)
async def test_who_is_counted_together(settings: dict[str, Any], expected: list[int]) -> None:
    text = document(authentication=PROTECTED, rate_limiting={**ONE, **settings})
    a, b = {"X-API-Key": "alpha"}, {"X-API-Key": "beta"}
    async with served(scripted(text, environ=KEYS)) as server:
        assert await statuses(server, a, b, a, b) == expected


async def test_guesses_of_keys_are_counted_and_do_not_lock_out_who_has_one() -> None:
    text = document(authentication=PROTECTED, rate_limiting={"requests_per_minute": 1, "burst": 2})
    guess, right = {"X-API-Key": "guess"}, {"X-API-Key": "alpha"}
    async with served(scripted(text, environ=KEYS)) as server:
        assert await statuses(server, guess, {}, guess, guess, right) == [401, 401, 429, 429, 200]


@pytest.mark.parametrize(
    ("trusted", "expected"), [(["127.0.0.0/8"], [200, 200, 429]), ([], [200, 429, 429])], ids=["proxy", "stranger"]
)
async def test_a_forwarded_address_is_believed_of_a_proxy_alone(trusted: list[str], expected: list[int]) -> None:
    text = document(rate_limiting={**ONE, "trusted_proxies": trusted})
    one, two = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}
    async with served(scripted(text)) as server:
        assert await statuses(server, one, two, one) == expected


async def test_a_tool_may_have_a_rate_of_its_own_for_each_caller() -> None:
    text = document(
        authentication=PROTECTED,
        tools=[{"name": "slow", "rate_limit": ONE, **TOOL}, {"name": "fast", **TOOL}],
    )
    async with served(scripted(text, environ=KEYS)) as server:
        codes = [
            (await server.call({"query": "x"}, tool=tool, **{"X-API-Key": key})).status_code
            for tool, key in (("slow", "alpha"), ("slow", "alpha"), ("fast", "alpha"), ("slow", "beta"))
        ]
        refused = await server.call({"query": "x"}, tool="slow", **{"X-API-Key": "alpha"})
    assert codes == [200, 429, 200, 200]
    assert refused.json()["error"]["message"].startswith('Too many calls of "slow": 1 a minute are allowed')
    assert [refused.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")] == ["1", "0", "60"]


async def test_a_refusal_tells_of_the_bucket_that_refused() -> None:
    text = document(
        rate_limiting={"requests_per_minute": 60, "burst": 9},
        tools=[{"name": "slow", "rate_limit": ONE, **TOOL}],
    )
    async with served(scripted(text)) as server:
        answered, refused = [await server.call({"query": "x"}, tool="slow") for _ in range(2)]
    assert (answered.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Limit"]) == ("9", "1")
    assert refused.headers.get_list("X-RateLimit-Limit") == ["1"]


async def test_a_guess_is_told_of_the_bucket_of_its_address() -> None:
    text = document(authentication=PROTECTED, rate_limiting={"requests_per_minute": 60, "burst": 3})
    async with served(scripted(text, environ=KEYS)) as server:
        guess = await server.call({"query": "x"}, **{"X-API-Key": "guess"})
        as_openai = await server.api.post("/v1/chat/completions", headers={"X-API-Key": "guess"}, json={})
    assert guess.status_code == as_openai.status_code == 401
    assert guess.headers["WWW-Authenticate"]
    assert [one.headers["X-RateLimit-Remaining"] for one in (guess, as_openai)] == ["2", "1"]


async def test_without_a_rate_a_guess_is_told_of_none() -> None:
    async with served(scripted(document(authentication=PROTECTED), environ=KEYS)) as server:
        guess = await server.call({"query": "x"}, **{"X-API-Key": "guess"})
    assert (guess.status_code, "X-RateLimit-Limit" in guess.headers) == (401, False)


async def test_two_servers_share_their_rates_in_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a machine that is busy with tests Redis may take longer than a service would wait for it.
    monkeypatch.setattr(redis_buckets, "TIMEOUT", 20.0)
    text = document(
        rate_limiting={"requests_per_minute": 1, "burst": 2, "storage": "redis", "redis_url": "${REDIS_URL}"}
    )
    environ = {"REDIS_URL": redis_url}
    async with served(scripted(text, environ=environ)) as one, served(scripted(text, environ=environ)) as two:
        assert [*await statuses(one, {}), *await statuses(two, {}), *await statuses(one, {})] == [200, 200, 429]


def scope(peer: str, *forwarded: str) -> dict[str, Any]:
    return {"client": (peer, 1), "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded]}


PROXIES = networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.7, 198.51.100.1, 10.2.2.2"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.7", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("2001:db8::1", [], "2001:db8::/64"),
    ],
)
def test_which_address_is_believed(peer: str, forwarded: list[str], address: str) -> None:
    assert client_address(scope(peer, *forwarded), PROXIES) == address


@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=40), max_size=4))
def test_a_stranger_cannot_choose_his_address(forwarded: list[str]) -> None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    assert client_address({"client": ("203.0.113.9", 1), "headers": headers}, PROXIES) == "203.0.113.9"
