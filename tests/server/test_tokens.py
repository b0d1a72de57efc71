"""Signed tokens: one algorithm, from one issuer, for this server, and in time; keys that rotate."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sibyl_runtime.errors import Overloaded, Unauthorized
from sibyl_runtime.server.protection.published_keys import (
    FETCH_SECONDS,
    FRESH_SECONDS,
    PAUSE_SECONDS,
    STALE_SECONDS,
    PublishedKeys,
    usable_keys,
)
from sibyl_runtime.server.protection.tokens import tokens
from sibyl_runtime.workspace import Authentication
from tests.server.served import document, scripted, served
from tests.server.static_server import Static, static_server

SECRET = "0123456789abcdef0123456789abcdef"
FAR = 4_000_000_000
CLAIMS: Mapping[str, Any] = {"sub": "ann", "exp": FAR, "iss": "https://issuer", "aud": "sibyl"}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
WITH_SECRET = document(
    authentication={
        "type": "jwt", "secret": "${JWT_SECRET}", "audience": "sibyl", "issuer": "https://issuer",
        "required_claims": ["sub"],
    }
)  # fmt: skip


def signed(claims: Mapping[str, Any] = CLAIMS, *, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(dict(claims), key, algorithm=algorithm, headers=header)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key != name}


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def status(token: str | None, workspace: str = WITH_SECRET) -> tuple[int, str]:
    async with served(scripted(workspace, environ={"JWT_SECRET": SECRET})) as server:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        response = await server.call({"query": "x"}, **headers)
        if response.status_code == 200:
            return 200, ""
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert server.runtime.calls == []
        return response.status_code, response.json()["error"]["message"]


async def test_a_token_that_is_right_is_let_in() -> None:
    assert await status(signed()) == (200, "")


UNSIGNED = f"{part({'alg': 'none'})}.{part(CLAIMS)}."
KEY = "The token is not signed with a key that this server knows."
REFUSED: list[tuple[str, str | None, str]] = [
    ("none", None, "This server needs a token: send it in the header Authorization, as `Bearer TOKEN`."),
    ("no token", "abc", "The token is not a JSON Web Token."),
    ("unsigned", UNSIGNED, "The token must be signed with HS256."),
    ("None", UNSIGNED.replace(part({"alg": "none"}), part({"alg": "None"})), "The token must be signed with HS256."),
    ("HS512", signed(key=SECRET * 2, algorithm="HS512"), "The token must be signed with HS256."),
    ("another secret", signed(key=SECRET[::-1]), KEY),
    ("claims of another token", ".".join([signed().rsplit(".", 2)[0], part(CLAIMS), "AAAA"]), KEY),
    ("expired", signed({**CLAIMS, "exp": 1}), "The token has expired."),
    ("for ever", signed(without("exp")), "The token lacks the claim `exp`."),
    ("not yet", signed({**CLAIMS, "nbf": FAR}), "The token is not valid yet."),
    ("another audience", signed({**CLAIMS, "aud": "other"}), "The token is for another audience."),
    ("no audience", signed(without("aud")), "The token lacks the claim `aud`."),
    ("another issuer", signed({**CLAIMS, "iss": "https://other"}), "The token is from another issuer."),
    ("no subject", signed(without("sub")), "The token lacks the claim `sub`."),
    ("too long", signed({**CLAIMS, "x": "y" * 13_000}), "The token is longer than 16,384 characters."),
    ("a list as time", signed({**CLAIMS, "exp": [FAR]}), "The token cannot be verified."),
    ("endless", signed({**CLAIMS, "exp": float("inf")}), "The token cannot be verified."),
]


@pytest.mark.parametrize(("token", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_a_token_that_is_wrong_is_refused_with_the_reason(token: str | None, message: str) -> None:
    assert await status(token) == (401, message)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=60))
async def test_no_text_is_taken_for_a_token(text: str) -> None:
    verifier = tokens(Authentication(type="jwt", secret=SECRET))
    with pytest.raises(Unauthorized):
        await verifier.identify({"headers": [(b"authorization", b"Bearer " + text.encode("latin-1"))]})


async def test_clocks_may_differ_by_the_leeway() -> None:
    late = signed({**CLAIMS, "exp": int(time.time()) - 20})
    assert (await status(late))[0] == 200
    strict = document(authentication={"type": "jwt", "secret": "${JWT_SECRET}", "audience": "sibyl", "leeway": 0})
    assert await status(late, strict) == (401, "The token has expired.")


async def test_each_subject_has_its_own_rate_whatever_token_it_shows() -> None:
    workspace = document(
        authentication={"type": "jwt", "secret": "${JWT_SECRET}", "audience": "sibyl"},
        rate_limiting={"requests_per_minute": 1, "burst": 1},
    )
    async with served(scripted(workspace, environ={"JWT_SECRET": SECRET})) as server:
        codes = [
            (await server.call({"query": "x"}, Authorization=f"Bearer {signed({**CLAIMS, **claims})}")).status_code
            for claims in ({}, {"exp": FAR + 1}, {"sub": "bob"})
        ]
    assert codes == [200, 429, 200]


def public(key: Any, **facts: Any) -> dict[str, Any]:
    kinds: dict[type, Any] = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((made for kind, made in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    return {**json.loads(algorithm.to_jwk(key.public_key())), **facts}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


@asynccontextmanager
async def published(*keys: dict[str, Any]) -> AsyncIterator[Static]:
    async with static_server(key_set(*keys)) as server:
        yield server


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("algorithm", "key"), [("RS256", RSA_KEY), ("PS256", RSA_KEY), ("ES256", EC_KEY), ("EdDSA", ED_KEY)]
)
async def test_a_token_signed_with_a_published_key_is_let_in_and_with_another_one_is_not(
    algorithm: str, key: Any
) -> None:
    async with published(public(key, kid="one")) as issuer:
        workspace = document(authentication={"type": "jwt", "algorithm": algorithm, "jwks_url": issuer.url})
        assert await status(signed(key=key, algorithm=algorithm, kid="one"), workspace) == (200, "")
        forged = signed(key=OTHER_RSA_KEY, algorithm="RS256", kid="one")
        assert (await status(forged, workspace))[0] == 401


async def test_a_public_key_is_never_taken_for_a_shared_secret() -> None:
    """The oldest trick: sign with HS256, and with the public key as the secret."""
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, claims = part({"alg": "HS256", "typ": "JWT", "kid": "one"}), part(CLAIMS)
    mac = hmac.new(pem, f"{header}.{claims}".encode(), hashlib.sha256).digest()
    forged = f"{header}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    async with published(public(RSA_KEY, kid="one")) as issuer:
        workspace = document(authentication={"type": "jwt", "algorithm": "RS256", "jwks_url": issuer.url})
        assert await status(forged, workspace) == (401, "The token must be signed with RS256.")


async def test_keys_that_are_meant_for_something_else_are_left_out() -> None:
    good = public(RSA_KEY, kid="good")
    others = [
        public(EC_KEY, kid="ec"), public(RSA_KEY, kid="enc", use="enc"), public(RSA_KEY, kid="ps", alg="PS256"),
        {"kty": "oct", "k": "AAAA", "kid": "oct"}, {"kty": "RSA", "kid": "broken"}, {},
    ]  # fmt: skip
    assert [key.key_id for key in usable_keys(key_set(good, *others), "RS256")] == ["good"]


async def test_a_new_key_is_found_and_an_old_one_forgotten_without_a_restart() -> None:
    clock = Clock()
    async with published(public(RSA_KEY, kid="one")) as issuer:
        keys = PublishedKeys(issuer.url, "RS256", clock)
        await keys.key_of("one")
        issuer.body = key_set(public(OTHER_RSA_KEY, kid="two"))
        await keys.key_of("one")
        assert issuer.asked == 1
        clock.now += PAUSE_SECONDS
        assert (await keys.key_of("two")).key_id == "two"
        assert issuer.asked == 2
        with pytest.raises(Unauthorized):
            await keys.key_of("one")


async def test_invented_key_ids_do_not_flood_the_issuer() -> None:
    clock = Clock()
    async with published(public(RSA_KEY, kid="one")) as issuer:
        keys = PublishedKeys(issuer.url, "RS256", clock)
        for number in range(20):
            with pytest.raises(Unauthorized):
                await keys.key_of(f"invented-{number}")
        assert issuer.asked == 1


async def test_an_issuer_that_is_away_stops_nobody_for_a_while_and_everybody_after_it() -> None:
    clock = Clock()
    async with published(public(RSA_KEY, kid="one")) as issuer:
        keys = PublishedKeys(issuer.url, "RS256", clock)
        await keys.key_of("one")
        issuer.status = 500
        clock.now += FRESH_SECONDS + 1
        await keys.key_of("one")
        clock.now += STALE_SECONDS
        with pytest.raises(Overloaded, match=r"cannot be fetched \(mcp\.authentication\.jwks_url\)"):
            await keys.key_of("one")
        issuer.status = 200
        clock.now += PAUSE_SECONDS
        await keys.key_of("one")
        await keys.close()


async def test_nobody_waits_for_an_issuer_that_does_not_answer_while_its_keys_are_known() -> None:
    clock = Clock()
    async with published(public(RSA_KEY, kid="one")) as issuer:
        keys = PublishedKeys(issuer.url, "RS256", clock)
        await keys.key_of("one")
        issuer.answering.clear()
        clock.now += FRESH_SECONDS + 1
        async with asyncio.timeout(FETCH_SECONDS / 2):
            for _ in range(3):
                await keys.key_of("one")
        await keys.close()
        issuer.answering.set()


async def test_keys_are_renewed_beside_the_requests() -> None:
    clock = Clock()
    async with published(public(RSA_KEY, kid="one")) as issuer:
        keys = PublishedKeys(issuer.url, "RS256", clock)
        await keys.key_of("one")
        issuer.body = key_set(public(OTHER_RSA_KEY, kid="two"))
        clock.now += FRESH_SECONDS + 1
        await keys.key_of("one")
        assert keys._renewal is not None
        await keys._renewal
        await keys.key_of("two")
        with pytest.raises(Unauthorized):
            await keys.key_of("one")
        assert issuer.asked == 2
        await keys.close()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"keys": 1}', b'{"keys": []}', b"x" * (1 << 20) + b"y"])
async def test_an_answer_that_is_no_key_set_is_503(body: bytes) -> None:
    async with static_server(body) as issuer:
        workspace = document(authentication={"type": "jwt", "algorithm": "RS256", "jwks_url": issuer.url})
        async with served(scripted(workspace)) as server:
            token = signed(key=RSA_KEY, algorithm="RS256", kid="one")
            response = await server.call({"query": "x"}, Authorization=f"Bearer {token}")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
