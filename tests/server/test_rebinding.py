"""Which requests reach /mcp by their headers Host and Origin: programs by any name, pages only when they are named."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.errors import SibylError
from sibyl_runtime.server.rebinding import ForbiddenOrigin, MisdirectedRequest, check_origin
from sibyl_runtime.workspace.mcp import TransportSecurity
from tests.server.served import document, scripted, served
from tests.server.test_mcp_server import call_of

LISTED = {"allowed_hosts": ["docs.example.com", "*.team.svc", "[fd00::1]"]}
PAGES = {"allowed_origins": ["https://app.example.com"]}

PASS: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({}, "127.0.0.1:8000", None),
    ({}, "localhost:34567", None),
    ({}, "docs-runtime", None),
    ({}, "docs-runtime.team:8000", None),
    ({}, "docs-runtime.team.svc.cluster.local:8000", None),
    ({}, "docs.example.com", None),
    ({}, None, None),
    ({}, "127.0.0.1:8000", "http://127.0.0.1:8000"),
    ({}, "localhost:8000", "http://localhost:6274"),
    ({}, "[::1]:8000", "http://[::1]:3000"),
    ({}, "app.localhost", "http://app.localhost"),
    (PAGES, "docs.example.com", "https://app.example.com"),
    (PAGES, "docs.example.com", "HTTPS://APP.example.com"),
    (LISTED, "docs.example.com:8443", None),
    (LISTED, "DOCS.example.com", "https://docs.example.com".upper()),
    (LISTED, "docs-runtime.team.svc", None),
    (LISTED, "[fd00::1]:8000", None),
    (LISTED, "127.0.0.1", None),
    ({"dns_rebinding_protection": False}, "evil.example.com", "http://evil.example.com"),
]
REFUSED: list[tuple[dict[str, Any], str | None, str | None, type[SibylError]]] = [
    ({}, "evil.example.com", "http://evil.example.com", ForbiddenOrigin),
    ({}, "evil.example.com:8000", "http://evil.example.com:8000", ForbiddenOrigin),
    ({}, "127.0.0.1:8000", "http://evil.example.com", ForbiddenOrigin),
    ({}, "127.0.0.1:8000", "null", ForbiddenOrigin),
    ({}, "127.0.0.1:8000", "", ForbiddenOrigin),
    ({}, "127.0.0.1:8000", "http://127.0.0.1.evil.example.com", ForbiddenOrigin),
    ({}, "127.0.0.1:8000", "http://localhost@evil.example.com", ForbiddenOrigin),
    ({}, "127.0.0.1:8000", "http://[", ForbiddenOrigin),
    ({}, "docs-runtime", "http://docs-runtime", ForbiddenOrigin),
    (PAGES, "docs.example.com", "http://app.example.com", ForbiddenOrigin),
    (PAGES, "docs.example.com", "https://app.example.com:444", ForbiddenOrigin),
    (LISTED, "evil.example.com", None, MisdirectedRequest),
    (LISTED, "team.svc", None, MisdirectedRequest),
    (LISTED, "eviltteam.svc", None, MisdirectedRequest),
    (LISTED, None, None, MisdirectedRequest),
    (LISTED, "evil.example.com", "http://localhost", MisdirectedRequest),
    (LISTED, "docs.example.com", "http://evil.example.com", ForbiddenOrigin),
]


@pytest.mark.parametrize(("settings", "host", "origin"), PASS, ids=str)
def test_programs_pages_of_this_machine_and_named_pages_pass(
    settings: dict[str, Any], host: str | None, origin: str | None
) -> None:
    check_origin(TransportSecurity.model_validate(settings), host=host, origin=origin)


@pytest.mark.parametrize(("settings", "host", "origin", "error"), REFUSED, ids=str)
def test_other_pages_and_other_names_are_refused(
    settings: dict[str, Any], host: str | None, origin: str | None, error: type[SibylError]
) -> None:
    with pytest.raises(error, match=r"mcp\.transport_security\.allowed_(hosts|origins)"):
        check_origin(TransportSecurity.model_validate(settings), host=host, origin=origin)


@given(host=st.text(), origin=st.text(), listed=st.booleans())
def test_no_header_is_a_fault(host: str, origin: str, listed: bool) -> None:
    settings = TransportSecurity.model_validate(LISTED if listed else {})
    with contextlib.suppress(ForbiddenOrigin, MisdirectedRequest):
        check_origin(settings, host=host, origin=origin)


@given(name=st.from_regex(r"[a-z]{1,20}(\.[a-z]{2,20}){1,3}", fullmatch=True), port=st.integers(1, 65535))
def test_no_page_reaches_the_server_under_a_name_of_its_own(name: str, port: int) -> None:
    """What rebinding looks like: the page's name in both headers, whatever it is."""
    if name.endswith(".localhost"):
        return
    with pytest.raises(ForbiddenOrigin):
        check_origin(TransportSecurity(), host=f"{name}:{port}", origin=f"http://{name}:{port}")


async def test_the_endpoint_answers_a_refusal_with_its_status() -> None:
    call = call_of("2026-07-28")
    page = {**call["headers"], "Origin": "http://evil.example.com"}
    async with served(scripted(document(transport_security={"allowed_hosts": ["docs.example.com"]}))) as server:
        wrong = await server.api.post("/mcp", json=call["json"], headers=page)
        other = await server.api.post("/mcp", json=call["json"], headers={**page, "Host": "evil.example.com"})
        right = await server.api.post("/mcp", **call)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "forbidden")
    assert (other.status_code, other.json()["error"]["code"]) == (421, "misdirected_request")
    assert right.status_code == 200
