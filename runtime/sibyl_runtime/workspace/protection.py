"""How the server is protected: who may call, how often, from which pages, and what is compressed or kept on the way."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from sibyl_runtime.workspace.base import StrictModel, choice
from sibyl_runtime.workspace.text import HeaderName, Text, refers_to_environment

DIGEST_PREFIX: Final = "sha256:"
SHARED_SECRET_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_ORIGIN = re.compile(r"^(\*|https?://[^/?#\s]+)$")

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]


def is_key_digest(text: str) -> bool:
    """True for `sha256:` and 64 small hexadecimal digits: it tells which key is meant, and is none."""
    return _DIGEST.match(text) is not None


def _key(text: str) -> str:
    if text.startswith(DIGEST_PREFIX) and not is_key_digest(text):
        raise PydanticCustomError(
            "text_rule",
            "must be {allowed}",
            {"allowed": "sha256: and 64 small hexadecimal digits, as `sibyl key hash` prints them"},
        )
    return text


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        if not refers_to_environment(text):
            allowed = "an address or a network, such as 10.0.0.0/8"
            raise PydanticCustomError("text_rule", "must be {allowed}", {"allowed": allowed}) from None
    return text


def _origin(text: str) -> str:
    if not _ORIGIN.match(text) and not refers_to_environment(text):
        allowed = "an origin without a path, such as https://app.example.com, or *"
        raise PydanticCustomError("text_rule", "must be {allowed}", {"allowed": allowed})
    return text


Key = Annotated[Text, AfterValidator(_key)]
Network = Annotated[str, AfterValidator(_network)]
Origin = Annotated[str, AfterValidator(_origin)]


class RateLimit(StrictModel):
    """Calls allowed in a time: a bucket of `burst` calls that fills again at an even rate."""

    requests_per_minute: int = Field(60, ge=1, le=1_000_000, description="Calls a minute, in the long run.")
    burst: int = Field(10, ge=1, le=1_000_000, description="Calls at once, after a pause.")


class KeyMetadata(StrictModel):
    """What is known of one API key, and what it may do."""

    name: Text | None = Field(None, description="Name of its holder, for the log; none: unnamed.")
    permissions: list[Text] = Field(
        ["*"],
        description="Tools that it may call, as patterns such as search_*; store_documents and prune_documents stand "
        "for the routes under /documents.",
    )
    rate_limit: RateLimit | None = Field(None, description="Its own rate, in place of mcp.rate_limiting.")


class Authentication(StrictModel):
    """Who may call. Without this section everybody may."""

    type: Literal["api_key", "jwt", "oauth2"] = choice(
        "api_key", "How callers prove who they are.", planned_values=("oauth2",)
    )
    header: HeaderName = Field("X-API-Key", description="Header that carries the key.")
    keys: list[Key] = Field(
        [], description="Keys that are let in: references such as ${API_KEY_1}, or digests that `sibyl key new` prints."
    )
    keys_file: Text | None = Field(
        None, description="File with more keys, one digest and its name a line; read again whenever it changes."
    )
    key_metadata: dict[Text, KeyMetadata] = Field(
        {}, description="Names, permissions and rates, by key as it is written in keys, or by name in keys_file."
    )
    secret: Text | None = Field(None, description="Secret of tokens signed with HS256, HS384 or HS512.")
    algorithm: Algorithm = Field("HS256", description="The one algorithm that tokens may be signed with.")
    jwks_url: Text | None = Field(None, description="Where the public keys of the other algorithms are (JWKS).")
    audience: Text | None = Field(None, description="The `aud` that tokens must have; none: any or none.")
    issuer: Text | None = Field(None, description="The `iss` that tokens must have; none: any or none.")
    required_claims: list[Text] = Field([], description="Claims that a token must have, besides `exp`.")
    leeway: int = Field(30, ge=0, le=300, description="Seconds by which clocks may differ.")


class RateLimiting(StrictModel):
    """Requests allowed in a time, for each caller. In memory each pod counts for itself."""

    enabled: bool = Field(True, description="Limit.")
    algorithm: Literal["token_bucket", "sliding_window", "cost_based"] = choice(
        "token_bucket", "How requests are counted.", planned_values=("sliding_window", "cost_based")
    )
    requests_per_minute: int = Field(60, ge=1, le=1_000_000, description="Requests a minute, in the long run.")
    burst: int = Field(10, ge=1, le=1_000_000, description="Requests at once, after a pause.")
    by_api_key: bool = Field(True, description="A bucket for each key, or each subject of tokens.")
    by_ip: bool = Field(True, description="A bucket for each address of callers without one; false: one for all.")
    trusted_proxies: list[Network] = Field(
        [], description="Addresses of proxies whose X-Forwarded-For is believed; none: the address of the connection."
    )
    storage: Literal["memory", "redis"] = Field("memory", description="Where buckets are: in each pod, or shared.")
    redis_url: Text | None = Field(None, description="The Redis, for storage redis.")


class Compression(StrictModel):
    """Compression of responses; event streams are never compressed."""

    enabled: bool = Field(True, description="Compress for clients that accept it.")
    algorithm: Literal["gzip"] = Field("gzip", description="How.")
    min_size: int = Field(1024, ge=0, le=1 << 30, description="Smallest response that is compressed, in bytes.")


class Cdn(StrictModel):
    """A content delivery network in front of the server: what it may keep is told by headers."""

    enabled: bool = Field(True, description="Tell it what it may keep: nothing but static files.")
    provider: Literal["cloudflare", "fastly", "cloudfront", "other"] = Field(
        "other",
        description="Which one: cloudflare gets Cloudflare-CDN-Cache-Control, fastly Surrogate-Control, others "
        "Cache-Control alone.",
    )
    cache_static: bool = Field(True, description="Let it keep static files.")


class Cors(StrictModel):
    """Pages of other origins whose scripts may call."""

    enabled: bool = Field(True, description="Answer browsers that ask.")
    allow_origins: list[Origin] = Field(min_length=1, description="Origins of those pages; * means any.")
    allow_methods: list[Text] = Field(["GET", "POST"], description="Methods that they may use.")
    allow_headers: list[Text] = Field(
        [
            "Authorization",
            "Content-Type",
            "Last-Event-ID",
            "MCP-Protocol-Version",
            "Mcp-Session-Id",
            "X-API-Key",
            "X-Request-ID",
            "traceparent",
            "tracestate",
        ],
        description="Headers that they may send; the defaults are those of this API, of MCP and of tracing.",
    )
    allow_credentials: bool = Field(False, description="Let browsers send cookies; needs origins that are named.")
    max_age: int = Field(600, ge=0, le=86_400, description="Seconds for which browsers may remember the answer.")
