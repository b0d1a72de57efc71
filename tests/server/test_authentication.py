"""API keys: missing and wrong are told apart, health stays open, nothing leaks."""

from __future__ import annotations

import pytest

from sibyl_runtime.errors import StartupError, Unauthorized
from sibyl_runtime.server.protection.keys import api_keys
from sibyl_runtime.workspace import Authentication
from tests.server.served import document, scripted, served

PROTECTED = document(authentication={"type": "api_key", "header": "X-API-Key", "keys": ["${KEY_A}", "${KEY_B}"]})
KEYS = {"KEY_A": "alpha-key", "KEY_B": "beta-key"}


async def test_a_request_without_a_key_is_told_to_send_one() -> None:
    async with served(scripted(PROTECTED, environ=KEYS)) as server:
        response = await server.call({"query": "x"})
    assert response.status_code == 401
    assert response.json()["error"] == {
        "code": "unauthorized",
        "message": "This server needs an API key: send it in the header X-API-Key.",
        "details": {},
    }
    assert response.headers["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'
    assert server.runtime.calls == []


async def test_a_wrong_key_is_told_so_and_not_repeated() -> None:
    async with served(scripted(PROTECTED, environ=KEYS)) as server:
        response = await server.call({"query": "x"}, **{"X-API-Key": "alpha-keyX"})
    assert response.status_code == 401
    message = "The API key that was sent is not one that this server knows."
    assert response.json()["error"]["message"] == message
    assert "alpha" not in response.text


@pytest.mark.parametrize("key", KEYS.values())
async def test_every_key_of_the_list_is_let_in(key: str) -> None:
    async with served(scripted(PROTECTED, environ=KEYS)) as server:
        assert (await server.call({"query": "x"}, **{"x-api-key": key})).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_needs_no_key(path: str) -> None:
    async with served(scripted(PROTECTED, environ=KEYS)) as server:
        assert (await server.api.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/mcp/tools", "/config", "/openapi.json", "/nowhere", "/healthy"])
async def test_everything_else_needs_one(path: str) -> None:
    async with served(scripted(PROTECTED, environ=KEYS)) as server:
        assert (await server.api.get(path)).status_code == 401


async def test_another_header_can_be_chosen() -> None:
    other = document(authentication={"type": "api_key", "header": "X-Team-Key", "keys": ["${KEY_A}"]})
    async with served(scripted(other, environ=KEYS)) as server:
        assert (await server.call({"query": "x"}, **{"X-Team-Key": "alpha-key"})).status_code == 200
        refused = await server.call({"query": "x"}, **{"X-API-Key": "alpha-key"})
    assert refused.json()["error"]["message"] == "This server needs an API key: send it in the header X-Team-Key."


@pytest.mark.parametrize("keys", [[""], ["good", ""]])
def test_an_empty_key_is_refused_at_start(keys: list[str]) -> None:
    with pytest.raises(StartupError) as refused:
        api_keys(Authentication.model_construct(keys=keys), keys)
    assert refused.value.message == (
        "mcp.authentication.keys: an empty key would let everybody in. "
        "Give each key a value, or remove mcp.authentication to serve without keys."
    )


def test_a_key_is_compared_whole() -> None:
    keys = api_keys(Authentication(keys=["alpha"]), ["${KEY}"])
    keys.holder(b"alpha")
    for wrong in (b"", b"alph", b"alphaa", b"ALPHA"):
        with pytest.raises(Unauthorized):
            keys.holder(wrong)
