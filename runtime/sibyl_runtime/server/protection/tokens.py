"""Signed tokens (JWT): verified with the one algorithm that the workspace names, whatever a token says of itself."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import jwt
from starlette.types import Scope

from sibyl_runtime.errors import Unauthorized
from sibyl_runtime.server.protection.callers import Caller
from sibyl_runtime.server.protection.published_keys import PublishedKeys
from sibyl_runtime.server.request import header
from sibyl_runtime.workspace import SHARED_SECRET_ALGORITHMS, Authentication

LONGEST_TOKEN = 16_384
_NEEDS_TOKEN = "This server needs a token: send it in the header Authorization, as `Bearer TOKEN`."


class VerificationKeys(Protocol):
    """Where the key is that a token must be signed with."""

    async def key_of(self, key_id: str | None) -> Any:
        """The key, as PyJWT takes it. Raises Unauthorized, or Overloaded while it cannot be told."""

    async def close(self) -> None:
        """Release connections."""


class SharedSecret:
    """One secret for all tokens."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def key_of(self, _: str | None) -> Any:
        """The secret."""
        return self._secret

    async def close(self) -> None:
        """Nothing is open."""


class Tokens:
    """Tells callers by the token in Authorization. They are told apart by its `iss` and `sub`."""

    def __init__(self, settings: Authentication, keys: VerificationKeys) -> None:
        self._settings = settings
        self._keys = keys

    @property
    def challenge(self) -> str:
        """That a bearer token is needed."""
        return "Bearer"

    async def identify(self, scope: Scope) -> Caller:
        """The subject of the token. Raises Unauthorized, or Overloaded while no public key could be fetched."""
        token = _bearer(header(scope, b"authorization"))
        try:
            stated = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise Unauthorized("The token is not a JSON Web Token.") from None
        # Before any key is asked for: `none` and every other algorithm end here.
        if stated.get("alg") != self._settings.algorithm:
            raise Unauthorized(f"The token must be signed with {self._settings.algorithm}.")
        key = await self._keys.key_of(stated.get("kid"))
        return _caller(self._verified(token, key))

    async def close(self) -> None:
        """Release connections."""
        await self._keys.close()

    def _verified(self, token: str, key: Any) -> dict[str, Any]:
        settings = self._settings
        options: Any = {
            "require": ["exp", *settings.required_claims],
            "verify_aud": settings.audience is not None,
            "verify_iss": settings.issuer is not None,
        }
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[settings.algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway,
                options=options,
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(_refusal(error)) from None


def tokens(settings: Authentication) -> Tokens:
    """The verifier of a workspace."""
    if settings.algorithm in SHARED_SECRET_ALGORITHMS:
        return Tokens(settings, SharedSecret(settings.secret or ""))
    return Tokens(settings, PublishedKeys(settings.jwks_url or "", settings.algorithm))


def _bearer(value: bytes | None) -> str:
    if value is None:
        raise Unauthorized(_NEEDS_TOKEN)
    scheme, _, token = value.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized(_NEEDS_TOKEN)
    if len(token) > LONGEST_TOKEN:
        raise Unauthorized(f"The token is longer than {LONGEST_TOKEN:,} characters.")
    return token.strip()


def _caller(claims: dict[str, Any]) -> Caller:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        return Caller(None)
    # A digest: a subject may be somebody's address, which belongs into no log and no Redis.
    digest = hashlib.sha256(f"{claims.get('iss', '')}\n{subject}".encode("utf-8", "surrogatepass")).hexdigest()
    return Caller(f"sub:{digest[:16]}", f"sub:{digest[:16]}")


def _refusal(error: jwt.PyJWTError) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"The token lacks the claim `{error.claim}`."
    return _REFUSALS.get(type(error), "The token cannot be verified.")


_REFUSALS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token is for another audience.",
    jwt.InvalidIssuerError: "The token is from another issuer.",
    jwt.InvalidSignatureError: "The token is not signed with a key that this server knows.",
}
